"""What a backbone is: initial representations of users and items in, those that are scored out."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import nn

from .configuration_reclm_recommender import RecLMRecommenderConfig
from .graph import Adjacency

Tables = tuple[torch.Tensor, torch.Tensor]


class Support(NamedTuple):
    """What a recommender of some configuration can do, and what it needs for it.

    item_text: it reads item texts. known_users: it ranks for users of the training data. cold_items: it ranks items
    without history. new_users_by_history, new_users_by_profile: it ranks for people who were not in the training data,
    from the items they chose or from a profile text. graph: it propagates over the user-item graph.
    """

    item_text: bool
    known_users: bool
    cold_items: bool
    new_users_by_history: bool
    new_users_by_profile: bool
    graph: bool


class Backbone(nn.Module):
    """The parts that backbones share; the defaults are those of an inner product without a graph.

    Class attributes:
        title, source: what tables call it, and the paper.
        needs_graph: whether it propagates over the user-item graph.
        has_item_bias: whether the score has an item bias (not in `reference`).
        scores_pairs: whether it scores pairs by itself instead of by an inner product.
        contrastive: whether it has views for an auxiliary loss.
    """

    title: ClassVar[str]
    source: ClassVar[str]
    needs_graph: ClassVar[bool] = False
    has_item_bias: ClassVar[bool] = False
    scores_pairs: ClassVar[bool] = False
    contrastive: ClassVar[bool] = False

    def __init__(self, config: RecLMRecommenderConfig) -> None:
        super().__init__()
        self.reference = config.reference

    @classmethod
    def width(cls, config: RecLMRecommenderConfig) -> int:
        """w, the width of the initial representations."""
        return config.embedding_dim

    @classmethod
    def support(cls, config: RecLMRecommenderConfig) -> Support:
        """What a recommender with this backbone can do."""
        # A placebo mode has weights for profile vectors, but for none that were written from a text.
        profile = config.floors or (config.user_profiles and config.profile_mode == "llm")
        return Support(True, True, True, True, profile, cls.needs_graph)

    def forward(self, user: torch.Tensor, item: torch.Tensor, adjacency: Adjacency | None) -> Tables:
        """user [U, w] and item [I, w] -> the representations that are scored, [U, w] and [I, w]."""
        return user, item

    def rows(self, initial: Tables, adjacency: Adjacency | None, users: torch.Tensor, items: torch.Tensor) -> Tables:
        """Those of `forward` that a batch asks for: rows users [B] and items [C], int64 -> [B, w] and [C, w].

        Backbones without a graph are given these rows only, and have nothing to choose.
        """
        return initial

    def item_layers(self, user: torch.Tensor, item: torch.Tensor, adjacency: Adjacency | None) -> list[torch.Tensor]:
        """[I, w] item rows that a user attached to the graph hears from, one a layer; none without a graph."""
        return []

    def attach_users(
        self, user: torch.Tensor, history: torch.Tensor | None, layers: list[torch.Tensor], degree: torch.Tensor | None
    ) -> torch.Tensor:
        """Representations of users who were not in training, as if they had been nodes of the graph.

        Args:
            user: [B, w] initial representations. history: [B, I] sparse CSR of ones, or None for no history.
            layers: of `item_layers`. degree: [I] float, entries of each item in the adjacency.

        Returns:
            [B, w].
        """
        return user

    def views(self, user: torch.Tensor, item: torch.Tensor, adjacency: Adjacency | None) -> tuple[Tables, Tables]:
        """Two random views of all users and items, for backbones that are `contrastive`."""
        raise NotImplementedError(f"{type(self).__name__} has no views.")

    def pair_scores(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        """[B, w] x [C, w] -> [B, C] scores of all pairs, for backbones with `scores_pairs`."""
        raise NotImplementedError(f"{type(self).__name__} scores by an inner product.")

    def matched_scores(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        """[B, w] and [B, w] -> [B] scores of the pairs in line, for backbones with `scores_pairs`."""
        raise NotImplementedError(f"{type(self).__name__} scores by an inner product.")
