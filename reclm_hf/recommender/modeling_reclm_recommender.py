"""`RecLMRecommender`: a collaborative-filtering backbone over ID embeddings, item text and profiles.

Sizes in comments: U users, I items, d embedding width, w backbone width, d_t text width, D representation width,
B batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from .backbone import Backbone, Tables
from .backbone_bias_mf import BiasMF
from .backbone_lightgcn import LightGCN
from .backbone_ncf import NCF
from .backbone_sgl import SGL
from .backbone_simgcl import SimGCL
from .batch_rows import BatchRows, distinct
from .block_scores import BlockScorer, block_scores
from .catalog import CatalogRecommender
from .configuration_reclm_recommender import RecLMRecommenderConfig
from .floors import Floors, by_warmth
from .fusion import ProfileFusion, SharedFusion, mlp
from .graph import Graph
from .losses import bpr, info_nce, squared_norm
from .persistence import PersistenceMixin
from .representations import Memory, PairTables, Representations, ScoreParts, T
from .serving import ServingMixin
from .shares import WHOLE, Share
from .state import HistoryState
from .weights import initialise

BACKBONES: dict[str, type[Backbone]] = {
    "bias_mf": BiasMF,
    "ncf": NCF,
    "lightgcn": LightGCN,
    "sgl": SGL,
    "simgcl": SimGCL,
}


@dataclass
class RecLMRecommenderOutput(ModelOutput):
    """Losses of one batch, scalars; `loss` is their sum."""

    loss: torch.Tensor | None = None
    bpr_loss: torch.Tensor | None = None
    auxiliary_loss: torch.Tensor | None = None
    l2_loss: torch.Tensor | None = None


class RecLMRecommender(ServingMixin, PersistenceMixin, CatalogRecommender, PreTrainedModel):
    """A recommender that is saved, loaded and shared like any transformers model.

    Build one with `reclm_hf.recommender.build.build_recommender`, load one with `from_pretrained`. Buffers hold
    everything that scoring needs beside the weights: item text, history means, popularity, graph and profiles.
    """

    config: RecLMRecommenderConfig
    config_class = RecLMRecommenderConfig
    base_model_prefix = "recommender"
    main_input_name = "user_index"
    backbone: Backbone
    graph: Graph | None
    item_text: torch.Tensor
    text_mean: torch.Tensor
    profile_mean: torch.Tensor
    item_warm: torch.Tensor
    item_profile_mean: torch.Tensor
    user_profile: torch.Tensor
    item_profile: torch.Tensor
    user_text: torch.Tensor
    popularity: torch.Tensor
    text_popularity_weight: torch.Tensor
    text_popularity_bias: torch.Tensor

    def __init__(self, config: RecLMRecommenderConfig) -> None:
        super().__init__(config)
        backbone = BACKBONES[config.backbone]
        width, reference = backbone.width(config), config.reference
        self.user_embedding = nn.Embedding(config.n_users, width)
        self.user_bias = nn.Embedding(config.n_users, 1) if reference and config.backbone == "bias_mf" else None
        self.item_embedding = None if reference else nn.Embedding(config.n_items, width)
        self.item_bias = nn.Embedding(config.n_items, 1) if backbone.has_item_bias and not reference else None
        self.project_text = mlp(config.text_dim, width)  # T_raw, eq. 1
        self.backbone = backbone(config)
        # The base variant of the authors' code carries the layers of the augmented one.
        self.shared_fusion = SharedFusion(width, config.profile_dim) if reference else None
        separate = not reference
        self.fusion = ProfileFusion(width, config.profile_dim) if separate and config.user_profiles else None
        self.item_fusion = ProfileFusion(width, config.profile_dim) if separate and config.item_profiles else None
        self.floors = Floors(config.text_dim) if config.floors else None
        # The profile's own path into text space, for cold and for warm items; starts with weight zero.
        self.profile_gain = nn.Parameter(torch.zeros(2)) if self._profile_path(config) else None
        self.graph = Graph(config.nnz) if backbone.needs_graph else None
        self._register_state(config)
        self._memory = Memory()
        self.catalog: Any = None  # set by build_recommender and from_pretrained
        self.post_init()

    @staticmethod
    def _profile_path(config: RecLMRecommenderConfig) -> bool:
        return config.user_profiles and config.profile_text_path and config.profile_dim == config.text_dim

    def _register_state(self, config: RecLMRecommenderConfig) -> None:
        self.register_buffer("item_text", torch.zeros(config.n_items, config.text_dim))  # centred, unit length
        self.register_buffer("text_mean", torch.zeros(config.text_dim))
        self.register_buffer("profile_mean", torch.zeros(config.profile_dim))
        self.register_buffer("item_profile_mean", torch.zeros(config.profile_dim))
        self.register_buffer("item_warm", torch.zeros(config.n_items))
        # Centred, unit length; zeros without a profile. Without rows where a side has none.
        self.register_buffer("user_profile", torch.zeros(config.n_users * config.user_profiles, config.profile_dim))
        self.register_buffer("item_profile", torch.zeros(config.n_items * config.item_profiles, config.profile_dim))
        if config.floors:
            self.register_buffer("user_text", torch.zeros(config.n_users, config.text_dim))
            self.register_buffer("popularity", torch.zeros(config.n_items))
            self.register_buffer("text_popularity_weight", torch.zeros(config.text_dim))
            self.register_buffer("text_popularity_bias", torch.zeros(1))

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        uniform = module is self.user_bias or (self.user_bias is not None and module is self.user_embedding)
        initialise(module, self.config.reference, uniform)

    # -- scoring ----------------------------------------------------------------------------------------------------

    def state(self) -> HistoryState:
        """The history state of the buffers, which the model is served with."""
        empty = self.item_warm.new_zeros(0)
        graph = None if self.graph is None else self.graph.adjacency(self.config.n_users + self.config.n_items)
        known = (self.item_text, self.item_warm, self.user_profile, self.item_profile, graph)
        if self.floors is None:
            return HistoryState(*known, empty, empty, empty)
        expected = self.item_text @ self.text_popularity_weight + self.text_popularity_bias
        return HistoryState(*known, self.user_text, self.popularity, expected)

    def encode(self, state: HistoryState | None = None) -> Representations:
        """All users and items at once, every term but the backbone's pair score as one inner product.

        Args:
            state: None takes the model's own; training episodes pass theirs.
        """
        state = self.state() if state is None else state
        return self._joined(self.encode_parts(state), state)

    @staticmethod
    def _joined(parts: ScoreParts, state: HistoryState) -> Representations:
        user, item = [parts.backbone.user], [parts.backbone.item]
        if parts.text_weight is not None:
            user.append(state.user_text)
            item.append(state.item_text * parts.text_weight)
        if parts.profile_weight is not None:
            user.append(state.user_profile)
            item.append(state.item_text * parts.profile_weight)
        if len(user) == 1:
            return parts.backbone
        return parts.backbone._replace(user=torch.cat(user, dim=1), item=torch.cat(item, dim=1))

    def encode_parts(self, state: HistoryState, batch: BatchRows | None = None) -> ScoreParts:
        """The terms apart; see `ScoreParts`.

        Args:
            batch: the rows to encode, users [B] and items [C]; None encodes all.
        """
        warm = state.item_warm.unsqueeze(1)  # [I, 1]
        if self.training and self.config.id_dropout:
            warm = warm * (torch.rand_like(warm) >= self.config.id_dropout)
        scored, used = (state, warm) if batch is None else (batch.state, warm[batch.items])
        if batch is None or self.backbone.needs_graph:  # every node may be heard
            initial = self._initial(state, warm, self.user_embedding.weight, _weight(self.item_embedding))
        else:
            initial = self._initial(scored, used, batch.user_ids, batch.item_ids)
        if batch is None:
            user, item = self.backbone(*initial, state.adjacency)
        else:
            user, item = self.backbone.rows(initial, state.adjacency, batch.users, batch.items)
        bias = item.new_zeros(len(item))
        if self.item_bias is not None:
            table = self.item_bias.weight if batch is None else self.item_bias(batch.items)
            bias = (table * used).squeeze(1)
        gate = torch.ones_like(used)
        if self.floors is not None:
            gate = by_warmth(self.floors.gate, scored)  # [C, 1]
            bias = bias * gate.squeeze(1) + self.floors.item_bias(scored, self.config.cold_offset)
        if self.backbone.scores_pairs:
            pair = PairTables(user, item, gate.squeeze(1))
            encoded = Representations(user[:, :0], item[:, :0], bias, pair)
        else:
            encoded = Representations(user, item if self.floors is None else item * gate, bias)
        if self.floors is None:
            return ScoreParts(encoded, initial, None, None)
        profile_weight = None if self.profile_gain is None else by_warmth(self.profile_gain, scored)
        return ScoreParts(encoded, initial, by_warmth(self.floors.cosine, scored), profile_weight)

    def _initial(
        self, state: HistoryState, warm: torch.Tensor, user_ids: torch.Tensor, item_ids: torch.Tensor | None
    ) -> Tables:
        return self.initial_users(user_ids, state.user_profile), self._initial_items(state, warm, item_ids)

    def initial_users(self, embedding: torch.Tensor, profile: torch.Tensor) -> torch.Tensor:
        """x_u of eq. 2, [n, w], from ID embeddings [n, w] and profile vectors [n, profile_dim] (unused without)."""
        if not self.config.user_profiles:
            return embedding
        if self.shared_fusion is not None:
            return self.shared_fusion.user(embedding, profile)
        assert self.fusion is not None
        return self.fusion(embedding, profile)

    def _initial_items(self, state: HistoryState, warm: torch.Tensor, ids: torch.Tensor | None) -> torch.Tensor:
        """f_v of eq. 1 and 2 beside the item's ID embedding (ids), [n, w]. warm: [n, 1], 0 where there is no ID."""
        features = self.project_text(state.item_text)
        if self.config.reference:
            if self.config.item_profiles and self.shared_fusion is not None:
                features = self.shared_fusion.item(features, state.item_profile)
            return functional.normalize(features, dim=-1)
        if self.item_fusion is not None:
            features = self.item_fusion(features, state.item_profile)
        assert ids is not None
        return ids * warm + features

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """float32 [B, C] scores of user rows (int64 [B]) for item rows (int64 [C]) in the id space of the catalogue."""
        return block_scores(self.served(), self.backbone, users, items)

    def block_scorer(self, items: np.ndarray) -> BlockScorer:
        """`score` for many blocks of users and the same items; see `BlockScorer`."""
        return BlockScorer(self.served(), self.backbone, items)

    @torch.no_grad()
    def mean_user_scores(self, items: np.ndarray) -> np.ndarray:
        """float32 [C]: scores of the mean user (over users with history), the row that tells what is personal."""
        encoded = self.served()
        known = torch.as_tensor(np.diff(self.catalog.seen_indptr) > 0, device=encoded.item_bias.device)
        pair = encoded.user if encoded.pair is None else encoded.pair.user
        mean = encoded.with_users(encoded.user[known].mean(0, keepdim=True), pair[known].mean(0, keepdim=True))
        columns = torch.as_tensor(np.asarray(items), device=known.device)
        return mean.scores(self.backbone, columns.new_zeros(1), columns)[0].float().cpu().numpy()

    @torch.no_grad()
    def served(self) -> Representations:
        """`encode()` in evaluation mode, computed again only after a weight or a buffer changed."""
        return self.remembered("served", lambda: self.encode().by_column())

    def remembered(self, name: str, make: Callable[[], T]) -> T:
        """`make()` in evaluation mode and without gradients; called again only after a weight or a buffer changed."""
        # Scoring in blocks asks again and again; the version counters of all tensors say whether anything changed.
        held = (tensor for part in self.modules() for tensor in (*part._parameters.values(), *part._buffers.values()))
        version = (*((id(tensor), tensor._version) for tensor in held if tensor is not None), self.config.cold_offset)
        return self._memory.get(version, name, lambda: self._evaluated(make))

    def train(self, mode: bool = True) -> RecLMRecommender:
        """As in `torch.nn.Module`; what was computed for serving is forgotten when training begins."""
        # Fused optimizers, such as the default one of transformers' Trainer, do not count what they write.
        if mode:
            self._memory.forget()
        return super().train(mode)

    def _evaluated(self, make: Callable[[], T]) -> T:
        # Only within the memory's lock: another thread would take the mode in between for the model's own.
        if not self.training:
            return make()
        self.eval()
        try:
            return make()
        finally:
            super().train()  # nothing was learned in between

    # -- training ---------------------------------------------------------------------------------------------------

    def forward(
        self,
        user_index: torch.Tensor,
        positive_index: torch.Tensor,
        negative_index: torch.Tensor,
        user_profile: torch.Tensor | None = None,
        share: Share = WHOLE,
        l2_gradient: bool = True,
        **kwargs: Any,
    ) -> RecLMRecommenderOutput:
        """BPR on triples, the L2 term, and InfoNCE between two views for SGL and SimGCL.

        Args:
            user_index, positive_index, negative_index: int64 [B].
            user_profile: [U, profile_dim] profiles to train this batch with, instead of the model's own.
            share: which of several processes this is; their losses add up to the loss of the batch.
            l2_gradient: False leaves the gradient of the L2 term over all parameters (`reference`) to the
                `weight_decay` of an optimizer, 2 x l2; the loss is the same.
        """
        state = self.state() if user_profile is None else self.state()._replace(user_profile=user_profile)
        triples = (share.of(index) for index in (user_index, positive_index, negative_index))
        batch = self._batch(state, *triples)
        parts = self.encode_parts(state, batch)
        positive, negative = self._joined(parts, batch.state).compared(self.backbone, batch)
        ranking = bpr(positive, negative) / len(user_index)
        if self.item_embedding is None:
            with torch.set_grad_enabled(l2_gradient and torch.is_grad_enabled()):
                l2 = self.config.l2 / share.size * squared_norm(list(self.parameters()))
        else:
            l2 = self.config.l2 * batch.squared_norm() / len(user_index)
        auxiliary = self.contrastive_loss(parts.initial, state, user_index, positive_index, share)
        return RecLMRecommenderOutput(
            loss=ranking + l2 + auxiliary, bpr_loss=ranking, auxiliary_loss=auxiliary, l2_loss=l2
        )

    def _batch(
        self, state: HistoryState, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> BatchRows:
        items, place = distinct(torch.cat([positives, negatives]), self.config.n_items)
        item_ids = None if self.item_embedding is None else self.item_embedding(items)
        # A graph takes the vectors of all nodes in, and without floors no others are asked for.
        rows = state.rows(users, items, vectors=self.floors is not None or not self.backbone.needs_graph)
        return BatchRows(users, items, place, self.user_embedding(users), item_ids, rows)

    def contrastive_loss(
        self,
        initial: Tables,
        state: HistoryState,
        users: torch.Tensor,
        items: torch.Tensor,
        share: Share = WHOLE,
    ) -> torch.Tensor:
        """The weighted InfoNCE of the batch's users and items; 0 for backbones without views."""
        if not self.backbone.contrastive or not self.config.ssl_weight:
            return initial[0].new_zeros(())
        assert state.adjacency is not None
        views = self.backbone.views(*initial, state.adjacency)
        # The authors' tables have no nodes without history; a self-loop alone makes none of one.
        known = (state.adjacency.degree > 1).split([len(table) for table in initial])
        settings = (self.config.ssl_temperature, self.config.reference)
        losses = [
            info_nce(first, second, anchors, *settings, rows, share)
            for first, second, anchors, rows in zip(*views, (users, items), known, strict=True)
        ]
        return self.config.ssl_weight * (losses[0] + losses[1])


def _weight(table: nn.Embedding | None) -> torch.Tensor | None:
    return None if table is None else table.weight
