"""`RecLMRecommender`: a collaborative-filtering backbone over ID embeddings, item text and profiles.

Sizes in comments: U users, I items, d embedding width, d_t text width, D representation width, B batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import CONFIG_NAME, ModelOutput, cached_file
from transformers.utils.hub import resolve_revision

from .backbone_bias_mf import BiasMF
from .backbone_lightgcn import LightGCN
from .catalog import CATALOG_FILE, TENSORS_FILE, USERS_FILE, Catalog, CatalogRecommender
from .configuration_reclm_recommender import RecLMRecommenderConfig
from .floors import Floors, HistoryState, by_warmth
from .fusion import ProfileFusion, mlp
from .graph import Graph
from .serving import ServingMixin

CATALOG_FILES = (CATALOG_FILE, USERS_FILE, TENSORS_FILE)
_HUB_OPTIONS = ("revision", "subfolder", "token", "cache_dir", "local_files_only", "force_download", "proxies")
BACKBONES: dict[str, type[nn.Module]] = {"bias_mf": BiasMF, "lightgcn": LightGCN}


@dataclass
class RecLMRecommenderOutput(ModelOutput):
    """Losses of one batch, scalars; `loss` is their sum."""

    loss: torch.Tensor | None = None
    bpr_loss: torch.Tensor | None = None
    auxiliary_loss: torch.Tensor | None = None
    l2_loss: torch.Tensor | None = None


class Representations(NamedTuple):
    """score(u, i) = user[u] . item[i] + item_bias[i]. user: [U, D], item: [I, D], item_bias: [I]."""

    user: torch.Tensor
    item: torch.Tensor
    item_bias: torch.Tensor


class ScoreParts(NamedTuple):
    """The backbone's representations (with every item bias), and the weights [I, 1] of the two text terms.

    text_weight: of user_text . item_text. profile_weight: of user_profile . item_text. None where there is no term.
    """

    backbone: Representations
    text_weight: torch.Tensor | None
    profile_weight: torch.Tensor | None


class RecLMRecommender(ServingMixin, CatalogRecommender, PreTrainedModel):
    """A recommender that is saved, loaded and shared like any transformers model.

    Build one with `reclm_hf.recommender.build.build_recommender`, load one with `from_pretrained`. Buffers hold
    everything that scoring needs beside the weights: item text, history means, popularity, graph and profiles.
    """

    config: RecLMRecommenderConfig
    config_class = RecLMRecommenderConfig
    base_model_prefix = "recommender"
    main_input_name = "user_index"
    graph: Graph | None
    item_text: torch.Tensor
    text_mean: torch.Tensor
    profile_mean: torch.Tensor
    item_warm: torch.Tensor
    user_text: torch.Tensor
    popularity: torch.Tensor
    text_popularity_weight: torch.Tensor
    text_popularity_bias: torch.Tensor
    user_profile: torch.Tensor

    def __init__(self, config: RecLMRecommenderConfig) -> None:
        super().__init__(config)
        d, n_users, n_items = config.embedding_dim, config.n_users, config.n_items
        self.user_embedding = nn.Embedding(n_users, d)
        self.item_embedding = nn.Embedding(n_items, d)
        self.project_text = mlp(config.text_dim, d)  # T_raw, eq. 1
        self.backbone = BACKBONES[config.backbone](config.n_layers)
        self.item_bias = nn.Embedding(n_items, 1) if self.backbone.has_item_bias else None
        self.fusion = ProfileFusion(d, config.profile_dim) if config.augmented else None
        self.floors = Floors(config.text_dim) if config.floors else None
        # The profile's own path into text space, for cold and for warm items; starts with weight zero.
        self.profile_gain = nn.Parameter(torch.zeros(2)) if self._profile_path(config) else None
        self.graph = Graph(config.nnz) if self.backbone.needs_graph else None
        self._register_state(config)
        self.catalog: Any = None  # set by build_recommender and from_pretrained
        self.post_init()

    @staticmethod
    def _profile_path(config: RecLMRecommenderConfig) -> bool:
        return config.augmented and config.profile_text_path and config.profile_dim == config.text_dim

    def _register_state(self, config: RecLMRecommenderConfig) -> None:
        self.register_buffer("item_text", torch.zeros(config.n_items, config.text_dim))  # centred, unit length
        self.register_buffer("text_mean", torch.zeros(config.text_dim))
        self.register_buffer("profile_mean", torch.zeros(config.profile_dim))
        self.register_buffer("item_warm", torch.zeros(config.n_items))
        if config.floors:
            self.register_buffer("user_text", torch.zeros(config.n_users, config.text_dim))
            self.register_buffer("popularity", torch.zeros(config.n_items))
            self.register_buffer("text_popularity_weight", torch.zeros(config.text_dim))
            self.register_buffer("text_popularity_bias", torch.zeros(1))
        if config.augmented:
            # Centred, unit length; zeros for users without a profile.
            self.register_buffer("user_profile", torch.zeros(config.n_users, config.profile_dim))

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            if module.embedding_dim == 1:
                init.zeros_(module.weight)
            else:
                init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, ProfileFusion):
            # The identity on the embedding beside a small profile part.
            d = module.fuse.out_features
            init.copy_(module.fuse.weight[:, :d], torch.eye(d, device=module.fuse.weight.device))

    # -- scoring ----------------------------------------------------------------------------------------------------

    def state(self) -> HistoryState:
        """The history state of the buffers, which the model is served with."""
        adjacency = None if self.graph is None else self.graph.matrix(self.config.n_users + self.config.n_items)
        if self.floors is None:
            empty = self.item_warm.new_zeros(0)
            return HistoryState(empty, self.item_warm, empty, empty, adjacency)
        expected = self.item_text @ self.text_popularity_weight + self.text_popularity_bias
        return HistoryState(self.user_text, self.item_warm, self.popularity, expected, adjacency)

    def encode(self, state: HistoryState | None = None) -> Representations:
        """All users and items at once, every term of the score as one dot product.

        Args:
            state: None takes the model's own; training episodes pass theirs.
        """
        state = self.state() if state is None else state
        parts = self.encode_parts(state)
        user, item = [parts.backbone.user], [parts.backbone.item]
        if parts.text_weight is not None:
            user.append(state.user_text)
            item.append(self.item_text * parts.text_weight)
        if parts.profile_weight is not None:
            user.append(self.user_profile)
            item.append(self.item_text * parts.profile_weight)
        if len(user) == 1:
            return parts.backbone
        return Representations(torch.cat(user, dim=1), torch.cat(item, dim=1), parts.backbone.item_bias)

    def encode_parts(self, state: HistoryState) -> ScoreParts:
        """The terms apart, so that training need not push gradients through fixed text vectors."""
        user = self.user_embedding.weight  # [U, d]
        if self.fusion is not None:
            user = self.fusion(user, self.user_profile)
        warm = state.item_warm.unsqueeze(1)  # [I, 1]
        if self.training and self.config.id_dropout:
            warm = warm * (torch.rand_like(warm) >= self.config.id_dropout)
        item = self.item_embedding.weight * warm + self.project_text(self.item_text)  # [I, d]
        user, item = self.backbone(user, item, state.adjacency)
        bias = item.new_zeros(len(item)) if self.item_bias is None else (self.item_bias.weight * warm).squeeze(1)
        if self.floors is None:
            return ScoreParts(Representations(user, item, bias), None, None)
        gate = by_warmth(self.floors.gate, state)  # [I, 1]
        bias = bias * gate.squeeze(1) + self.floors.item_bias(state, self.item_text, self.config.cold_offset)
        return ScoreParts(
            Representations(user, item * gate, bias),
            by_warmth(self.floors.cosine, state),
            None if self.profile_gain is None else by_warmth(self.profile_gain, state),
        )

    @torch.no_grad()
    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """float32 [B, C] scores of user rows (int64 [B]) for item rows (int64 [C]) in the id space of the catalogue."""
        user, item, bias = self._served()
        rows = torch.as_tensor(np.asarray(items), device=item.device)
        scores = user[torch.as_tensor(np.asarray(users), device=user.device)] @ item[rows].T + bias[rows]
        return scores.float().cpu().numpy()

    @torch.no_grad()
    def mean_user_scores(self, items: np.ndarray) -> np.ndarray:
        """float32 [C]: scores of the mean user (over users with history), the row that tells what is personal."""
        user, item, bias = self._served()
        known = torch.as_tensor(np.diff(self.catalog.seen_indptr) > 0, device=user.device)
        rows = torch.as_tensor(np.asarray(items), device=item.device)
        return (item[rows] @ user[known].mean(0) + bias[rows]).float().cpu().numpy()

    @torch.no_grad()
    def _served(self) -> Representations:
        # Scoring in blocks asks again and again; the version counters of all tensors say whether anything changed.
        tensors = (*self.parameters(), *self.buffers())
        version = (*((id(tensor), tensor._version) for tensor in tensors), self.config.cold_offset)
        if getattr(self, "_cache", None) is None or self._cache[0] != version:
            training = self.training
            self.eval()
            self._cache: Any = (version, self.encode())
            self.train(training)
        return self._cache[1]

    # -- training ---------------------------------------------------------------------------------------------------

    def forward(
        self,
        user_index: torch.Tensor,
        positive_index: torch.Tensor,
        negative_index: torch.Tensor,
        **kwargs: Any,
    ) -> RecLMRecommenderOutput:
        """Bayesian personalised ranking (Rendle et al. 2009) on triples; all arguments are int64 [B]."""
        user, item, bias = self.encode()
        chosen = user[user_index]
        positive = (chosen * item[positive_index]).sum(-1) + bias[positive_index]
        negative = (chosen * item[negative_index]).sum(-1) + bias[negative_index]
        bpr = -functional.logsigmoid(positive - negative).mean()
        touched = (
            self.user_embedding(user_index).square().sum()
            + self.item_embedding(positive_index).square().sum()
            + self.item_embedding(negative_index).square().sum()
        )
        l2 = self.config.l2 * touched / len(user_index)
        auxiliary = bpr.new_zeros(())
        return RecLMRecommenderOutput(loss=bpr + l2 + auxiliary, bpr_loss=bpr, auxiliary_loss=auxiliary, l2_loss=l2)

    # -- files ------------------------------------------------------------------------------------------------------

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Write config, weights and catalogue; with `push_to_hub=True` all of them travel.

        Raises:
            ValueError: there is no catalogue.
            OSError: a file could not be written (disk full, no permission).
        """
        if self.catalog is None:
            raise ValueError(
                "This model has no catalogue, so nobody could recommend with it: set `model.catalog` first."
            )
        try:
            self.catalog.save(save_directory)
            super().save_pretrained(save_directory, *args, **kwargs)
        except SafetensorError as error:
            raise OSError(f"{save_directory}: could not be written ({error}). Free some space, save again.") from error

    def _get_files_timestamps(self, working_dir: str | PathLike[str]) -> dict[str, float]:
        # transformers uploads what changed since this call, and the catalogue was written just before it.
        found = super()._get_files_timestamps(working_dir)
        return {name: stamp for name, stamp in found.items() if name not in CATALOG_FILES}

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | Path, *args: Any, **kwargs: Any
    ) -> RecLMRecommender:
        """Load weights and catalogue from a folder or a Hub repository, with one revision, token and cache.

        `revision`, `subfolder`, `token`, `cache_dir`, ... go for both; weights are read from safetensors only.

        Raises:
            OSError: the folder or the repository, or a file in it, is missing.
        """
        shared = {key: kwargs[key] for key in ("token", "local_files_only", "cache_dir") if key in kwargs}
        # Resolved once: weights and catalogue are of one commit even where the branch moves on in between.
        kwargs["revision"] = resolve_revision(pretrained_model_name_or_path, kwargs.get("revision"), **shared)
        kwargs["use_safetensors"] = True
        # First, since what is no recommender has no catalogue, and transformers would report every weight it lacks.
        catalog = _load_catalog(pretrained_model_name_or_path, kwargs)
        model = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        loaded: Any = model[0] if isinstance(model, tuple) else model
        loaded.catalog = catalog
        return model


def _load_catalog(source: str | Path, options: dict[str, Any]) -> Catalog:
    folder = Path(source) / (options.get("subfolder") or "")
    if not Path(source).is_dir():
        shared = {key: options[key] for key in _HUB_OPTIONS if key in options}
        paths = [cached_file(str(source), name, **shared) for name in CATALOG_FILES]
        folder = Path(str(paths[0])).parent
    elif not (folder / CONFIG_NAME).is_file():
        raise FileNotFoundError(
            f"{folder / CONFIG_NAME} is missing: the folder does not hold a whole saved recommender"
        )
    return Catalog.load(folder)
