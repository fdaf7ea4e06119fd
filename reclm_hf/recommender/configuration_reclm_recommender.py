"""Configuration of `RecLMRecommender`. The structure is chosen by `preset`; single fields exist to build presets."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig

# What each preset sets; an explicit argument wins, so that a saved configuration reads back as it was.
PRESETS: dict[str, dict[str, Any]] = {
    # The textbook models: ID embeddings beside item features, layer mean, item bias in BiasMF, linear separate Psi.
    "standard": {"floors": False, "loss": "bpr", "id_dropout": 0.0, "l2": 1e-5, "profile_text_path": False},
    # Contains its floors: text cosine, decayed popularity and text -> popularity, trained in episodes.
    "floor_residual": {"floors": True, "loss": "softmax", "id_dropout": 0.3, "l2": 0.0, "profile_text_path": True},
}
BACKBONE_NAMES = ("bias_mf", "lightgcn")
PROFILE_MODES = ("none", "constant", "shuffled", "raw_text", "llm")


class RecLMRecommenderConfig(PreTrainedConfig):
    """What a recommender is made of.

    Args:
        backbone: `bias_mf` or `lightgcn`.
        preset: `standard` or `floor_residual`; sets `floors`, `loss`, `id_dropout`, `l2`, `profile_text_path`.
        profile_mode: what stands in the place of the user profiles: `llm`, `none`, or a placebo.
        n_users, n_items: U and I, sizes of the id space.
        embedding_dim: d. text_dim: d_t, width of item text vectors. profile_dim: width of profile vectors.
        n_layers: propagation layers of graph backbones.
        nnz: entries of the normalised adjacency; 0 for backbones without a graph.
        half_life_days: of the decayed popularity in `floor_residual`; None counts all time alike.
        cold_offset: where `floor_residual` puts a cold item of average text against the log share of popularity of
            the warm ones; like the half-life it is chosen on validation.
        l2: weight of the squared norm of the embeddings of a batch.
        id_dropout: share of item ID embeddings dropped in training, so that cold items are practised.
        text_encoder, text_encoder_revision, text_max_length: the encoder whose vectors the weights expect, so that
            `add_items` cannot end up in another space; the centring mean is a buffer of the model.

    Raises:
        ValueError: an unknown backbone, preset or profile mode.
    """

    model_type = "reclm_recommender"

    def __init__(
        self,
        backbone: str = "lightgcn",
        preset: str = "standard",
        profile_mode: str = "none",
        n_users: int = 0,
        n_items: int = 0,
        embedding_dim: int = 32,
        text_dim: int = 384,
        profile_dim: int = 384,
        n_layers: int = 2,
        nnz: int = 0,
        half_life_days: float | None = 7.0,
        cold_offset: float = -11.0,
        text_encoder: str = "sentence-transformers/all-MiniLM-L6-v2",
        text_encoder_revision: str | None = None,
        text_max_length: int = 128,
        seed: int = 0,
        floors: bool | None = None,
        loss: str | None = None,
        id_dropout: float | None = None,
        l2: float | None = None,
        profile_text_path: bool | None = None,
        **kwargs: Any,
    ) -> None:
        for label, value, known in (
            ("backbone", backbone, BACKBONE_NAMES),
            ("preset", preset, tuple(PRESETS)),
            ("profile_mode", profile_mode, PROFILE_MODES),
        ):
            if value not in known:
                raise ValueError(f"{label}={value!r} is not known; choose one of {', '.join(known)}.")
        defaults = PRESETS[preset]
        self.backbone = backbone
        self.preset = preset
        self.profile_mode = profile_mode
        self.n_users = n_users
        self.n_items = n_items
        self.embedding_dim = embedding_dim
        self.text_dim = text_dim
        self.profile_dim = profile_dim
        self.n_layers = n_layers
        self.nnz = nnz
        self.half_life_days = half_life_days
        self.cold_offset = cold_offset
        self.text_encoder = text_encoder
        self.text_encoder_revision = text_encoder_revision
        self.text_max_length = text_max_length
        self.seed = seed
        self.floors = defaults["floors"] if floors is None else floors
        self.loss = defaults["loss"] if loss is None else loss
        self.id_dropout = defaults["id_dropout"] if id_dropout is None else id_dropout
        self.l2 = defaults["l2"] if l2 is None else l2
        self.profile_text_path = defaults["profile_text_path"] if profile_text_path is None else profile_text_path
        super().__init__(**kwargs)

    @property
    def augmented(self) -> bool:
        """Whether profile vectors (real or placebo) enter the user side."""
        return self.profile_mode != "none"
