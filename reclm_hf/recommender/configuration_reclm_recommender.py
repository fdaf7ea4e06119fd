"""Configuration of `RecLMRecommender`. The structure is chosen by `preset`; single fields exist to build presets."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from reprlib import repr as shortened
from typing import Any

from transformers import PreTrainedConfig

BACKBONE_NAMES = ("bias_mf", "ncf", "lightgcn", "sgl", "simgcl")
PROFILE_MODES = ("none", "llm", "constant", "random", "shuffled", "neighbour", "raw_text", "masked_titles")
PROFILE_SIDES = ("both", "user", "item", "none")
PROFILE_FITS = ("full", "leave_one_out", "cross_fit")
AUGMENTATIONS = ("edge_dropout", "node_dropout", "random_walk")
LOSSES = ("bpr", "softmax")
MOST_LAYERS = 64
WIDEST = 65_536
"""Limits far beyond any use: a configuration from elsewhere must not take the memory or the day of who loads it."""

_RANGES: dict[str, tuple[float, float]] = {
    "half_life_days": (1e-9, 1e9),
    "cold_offset": (-1e6, 1e6),
    "id_dropout": (0, 1),
    "l2": (0, 1e6),
    "ssl_weight": (0, 1e6),
    "ssl_temperature": (1e-6, 1e6),
    "drop_rate": (0, 1),
    "noise": (0, 1e6),
}

# What each preset sets; an explicit argument wins, so that a saved configuration reads back as it was.
PRESETS: dict[str, dict[str, Any]] = {
    # The authors' code, for parity; `RecLMRecommenderConfig` lists its quirks.
    "reference": {
        "floors": False,
        "loss": "bpr",
        "id_dropout": 0.0,
        "l2": 1e-7,
        "profile_text_path": False,
        "ssl_weight": 1e-2,
        "ssl_temperature": 0.1,
        "drop_rate": 0.5,
        "noise": 0.9,
    },
    # The textbook models: ID embeddings beside item features, layer mean, item bias in BiasMF, linear separate Psi.
    "standard": {
        "floors": False,
        "loss": "bpr",
        "id_dropout": 0.0,
        "l2": 1e-5,
        "profile_text_path": False,
        "ssl_weight": 0.03,
        "ssl_temperature": 0.2,
        "drop_rate": 0.1,
        "noise": 0.1,
    },
    # Contains its floors: text cosine, decayed popularity and text -> popularity, trained in episodes.
    "floor_residual": {
        "floors": True,
        "loss": "softmax",
        "id_dropout": 0.3,
        "l2": 0.0,
        "profile_text_path": True,
        "ssl_weight": 0.03,
        "ssl_temperature": 0.2,
        "drop_rate": 0.1,
        "noise": 0.1,
    },
}
_BY_BACKBONE: dict[tuple[str, str], dict[str, Any]] = {
    ("reference", "sgl"): {"l2": 1e-5},
    ("reference", "simgcl"): {"l2": 1e-5},
    # Noisy views of whole rows need a lighter hand than thinned graphs; chosen on validation (training/LOG.md).
    ("standard", "simgcl"): {"ssl_weight": 0.003, "ssl_temperature": 0.5},
    ("floor_residual", "simgcl"): {"ssl_weight": 0.003, "ssl_temperature": 0.5},
}


def preset_values(preset: str, backbone: str) -> dict[str, Any]:
    """What a preset sets for a backbone."""
    return PRESETS[preset] | _BY_BACKBONE.get((preset, backbone), {})


class RecLMRecommenderConfig(PreTrainedConfig):
    """What a recommender is made of.

    The preset `reference` restates the authors' code (github.com/HKUDS/RecLM), quirks and all:

    - items have no ID embedding; their features are MLP(text), scaled to length 1;
    - BiasMF has a bias for each user and none for items: it cancels in the loss and in every ranking; its user
      embeddings start uniform on [0, 1), those of the other backbones Xavier;
    - graph backbones add self-loops (A + I, normalised), take the sum over layers, and score propagated users against
      item features that were not propagated;
    - the L2 term is over all parameters at every step, with the profile and fusion layers of the base variant, which
      has them and does not use them;
    - with profiles, one T_pro and one Psi (with ReLU, so non-negative) serve users and items; on the user side T_pro's
      output is scaled to length 1, on the item side it is not;
    - NCF is a weighted inner product plus the sum of one ReLU layer over both embeddings;
    - SGL draws two views at every step, each entry of the adjacency (self-loops and both directions) kept on its own
      with probability 1/2 and divided by it, without normalising again; InfoNCE contrasts with the whole table, for
      every positive of the batch, repeated ones too;
    - SimGCL adds noise of length .9 (original .1) with the sign of the embedding, and keeps layer 0 in its views.

    Args:
        backbone: `bias_mf`, `ncf`, `lightgcn`, `sgl` or `simgcl`.
        preset: `reference`, `standard` or `floor_residual`; sets `floors`, `loss`, `id_dropout`, `l2`,
            `profile_text_path`, `ssl_weight`, `ssl_temperature`, `drop_rate` and `noise`.
        profile_mode: what stands in the place of the profiles: `llm`, `none`, or a placebo.
        profile_sides: which sides have profiles: `user`, `item`, `both` or `none` (Table 2 of the paper).
        profile_fit: which profile of its user a positive is trained with: `full` (written from the whole history, the
            positive included), `leave_one_out` (`raw_text` only) or `cross_fit` (written from the other half of the
            history).
        n_users, n_items: U and I, sizes of the id space.
        embedding_dim: d. text_dim: d_t, width of item text vectors. profile_dim: width of profile vectors.
        n_layers: propagation layers of graph backbones.
        nnz: entries of the normalised adjacency; 0 for backbones without a graph.
        half_life_days: of the decayed popularity in `floor_residual`; None counts all time alike.
        cold_offset: where `floor_residual` puts a cold item of average text against the log share of popularity of
            the warm ones; like the half-life it is chosen on validation.
        l2: weight of the squared norm of the embeddings of a batch (`reference`: of all parameters).
        id_dropout: share of item ID embeddings dropped in training, so that cold items are practised.
        ssl_weight, ssl_temperature: of InfoNCE in SGL and SimGCL. drop_rate: share of edges or nodes that an SGL view
            lacks. noise: length of the noise of SimGCL. augmentation: of SGL: `edge_dropout`, `node_dropout` or
            `random_walk`; `reference` knows the first only.
        text_encoder, text_encoder_revision, text_max_length: the encoder whose vectors the weights expect, so that
            `add_items` cannot end up in another space; the centring mean is a buffer of the model.

    Raises:
        ValueError: an unknown backbone, preset, mode, side, fit, augmentation or loss, a size that is no whole number
            or beyond any use, a number outside its range, or a combination that means nothing; names it.
    """

    model_type = "reclm_recommender"

    def __init__(
        self,
        backbone: str = "lightgcn",
        preset: str = "standard",
        profile_mode: str = "none",
        profile_sides: str = "user",
        profile_fit: str = "full",
        n_users: int = 0,
        n_items: int = 0,
        embedding_dim: int = 32,
        text_dim: int = 384,
        profile_dim: int = 384,
        n_layers: int = 2,
        nnz: int = 0,
        half_life_days: float | None = 7.0,
        cold_offset: float = -11.0,
        augmentation: str = "edge_dropout",
        text_encoder: str = "sentence-transformers/all-MiniLM-L6-v2",
        text_encoder_revision: str | None = None,
        text_max_length: int = 128,
        seed: int = 0,
        floors: bool | None = None,
        loss: str | None = None,
        id_dropout: float | None = None,
        l2: float | None = None,
        profile_text_path: bool | None = None,
        ssl_weight: float | None = None,
        ssl_temperature: float | None = None,
        drop_rate: float | None = None,
        noise: float | None = None,
        **kwargs: Any,
    ) -> None:
        for label, value, known in (
            ("backbone", backbone, BACKBONE_NAMES),
            ("preset", preset, tuple(PRESETS)),
            ("profile_mode", profile_mode, PROFILE_MODES),
            ("profile_sides", profile_sides, PROFILE_SIDES),
            ("profile_fit", profile_fit, PROFILE_FITS),
            ("augmentation", augmentation, AUGMENTATIONS),
        ):
            if value not in known:
                raise ValueError(f"{label}={value!r} is not known; choose one of {', '.join(known)}.")
        if profile_fit == "leave_one_out" and profile_mode != "raw_text":
            raise ValueError(
                "profile_fit='leave_one_out' takes a positive out of a mean of history vectors: use it with "
                "profile_mode='raw_text'; written profiles take 'cross_fit'."
            )
        if profile_fit == "cross_fit" and profile_mode not in ("llm", "raw_text", "constant"):
            raise ValueError(
                f"profile_fit='cross_fit' means nothing with profile_mode={profile_mode!r}; use 'full', or 'llm', "
                "'raw_text' or 'constant' profiles."
            )
        if profile_fit != "full" and profile_sides not in ("user", "both"):
            raise ValueError(
                f"profile_fit={profile_fit!r} is about profiles of users; profile_sides={profile_sides!r}."
            )
        if preset == "reference" and augmentation != "edge_dropout":
            raise ValueError("preset='reference' knows augmentation='edge_dropout' only; 'standard' has the others.")
        _require_whole(0, n_users=n_users, n_items=n_items, nnz=nnz, n_layers=n_layers, seed=seed)
        widths = {"embedding_dim": embedding_dim, "text_dim": text_dim, "profile_dim": profile_dim}
        _require_whole(1, **widths, text_max_length=text_max_length)
        if n_layers < 1:
            raise ValueError(f"n_layers={n_layers} must be at least 1; 'bias_mf' is the backbone without propagation.")
        for name, size, most in (("n_layers", n_layers, MOST_LAYERS), *((*pair, WIDEST) for pair in widths.items())):
            if size > most:
                raise ValueError(f"{name}={shortened(size)}: {most} is the most.")
        defaults = preset_values(preset, backbone)
        self.backbone = backbone
        self.preset = preset
        self.profile_mode = profile_mode
        self.profile_sides = profile_sides
        self.profile_fit = profile_fit
        self.n_users = n_users
        self.n_items = n_items
        self.embedding_dim = embedding_dim
        self.text_dim = text_dim
        self.profile_dim = profile_dim
        self.n_layers = n_layers
        self.nnz = nnz
        self.half_life_days = half_life_days
        self.cold_offset = cold_offset
        self.augmentation = augmentation
        self.text_encoder = text_encoder
        self.text_encoder_revision = text_encoder_revision
        self.text_max_length = text_max_length
        self.seed = seed
        self.floors = defaults["floors"] if floors is None else floors
        self.loss = defaults["loss"] if loss is None else loss
        self.id_dropout = defaults["id_dropout"] if id_dropout is None else id_dropout
        self.l2 = defaults["l2"] if l2 is None else l2
        self.profile_text_path = defaults["profile_text_path"] if profile_text_path is None else profile_text_path
        self.ssl_weight = defaults["ssl_weight"] if ssl_weight is None else ssl_weight
        self.ssl_temperature = defaults["ssl_temperature"] if ssl_temperature is None else ssl_temperature
        self.drop_rate = defaults["drop_rate"] if drop_rate is None else drop_rate
        self.noise = defaults["noise"] if noise is None else noise
        self._require_meaning()
        _require_plain(kwargs)
        super().__init__(**kwargs)

    def _require_meaning(self) -> None:
        """Of the values that take their default from the preset too."""
        if self.loss not in LOSSES:
            raise ValueError(f"loss={shortened(self.loss)} is not known; choose one of {', '.join(LOSSES)}.")
        for name in ("floors", "profile_text_path"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}={shortened(getattr(self, name))}: give True or False.")
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if value is None and name == "half_life_days":
                continue
            number = isinstance(value, Real) and not isinstance(value, bool)
            if not number or not least <= value <= most:
                raise ValueError(f"{name}={shortened(value)}: give a number from {least:g} to {most:g}.")
        for name in ("text_encoder", "text_encoder_revision"):
            value = getattr(self, name)
            if not isinstance(value, str) and not (name == "text_encoder_revision" and value is None):
                raise ValueError(f"{name}={shortened(value)}: give a name.")

    @property
    def reference(self) -> bool:
        """Whether the structure is that of the authors' code."""
        return self.preset == "reference"

    @property
    def user_profiles(self) -> bool:
        """Whether profile vectors (real or placebo) enter the user side."""
        return self.profile_mode != "none" and self.profile_sides in ("both", "user")

    @property
    def item_profiles(self) -> bool:
        """Whether profile vectors (real or placebo) enter the item side."""
        return self.profile_mode != "none" and self.profile_sides in ("both", "item")


def _require_whole(least: int, **sizes: Any) -> None:
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name}={shortened(value)}: give a whole number, {least} or more.")


def _require_plain(others: Mapping[str, Any]) -> None:
    """Check, of transformers' own fields, those that it stumbles over or that change how weights are read."""
    if others.get("quantization_config") is not None:
        raise ValueError(
            f"quantization_config={shortened(others['quantization_config'])}: recommenders are not quantised; leave it "
            "out."
        )
    for name in ("id2label", "label2id"):
        if not isinstance(others.get(name, {}), Mapping | None):
            raise ValueError(f"{name}={shortened(others[name])}: give names and values, or leave it out.")
    if others.get("num_labels") is not None:
        _require_whole(0, num_labels=others["num_labels"])
    for name in ("dtype", "torch_dtype"):
        _require_dtype(name, others.get(name))


def _require_dtype(name: str, value: Any) -> None:
    import torch

    named = getattr(torch, value.removeprefix("torch."), None) if isinstance(value, str) else value
    if value is not None and not (isinstance(named, torch.dtype) and named.is_floating_point):
        raise ValueError(f"{name}={shortened(value)}: give the name of a floating-point type, such as 'float32'.")
