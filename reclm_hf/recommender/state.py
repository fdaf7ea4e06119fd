"""What a model is scored from beside its weights."""

from __future__ import annotations

from typing import NamedTuple

import torch

from .graph import Adjacency


class HistoryState(NamedTuple):
    """What is known at one cut. The buffers hold the state a model is served with; training episodes bring their own.

    Attributes:
        item_text: [I, d_t] centred text vectors of length 1.
        item_warm: [I] float, 1 for items with history.
        user_profile: [U, profile_dim] centred, length 1, zeros without a profile; empty without profiles of users.
        item_profile: [I, profile_dim] likewise.
        adjacency: over [U + I] nodes, or None for backbones without a graph.
        user_text: [U, d_t] normalised mean of the user's history vectors, zeros without history; this and the
            following are empty in presets without floors.
        popularity: [I] log share of decayed popularity among warm items.
        text_popularity: [I] what the texts let expect of it, in standard deviations over warm items.
    """

    item_text: torch.Tensor
    item_warm: torch.Tensor
    user_profile: torch.Tensor
    item_profile: torch.Tensor
    adjacency: Adjacency | None
    user_text: torch.Tensor
    popularity: torch.Tensor
    text_popularity: torch.Tensor

    def rows(self, users: torch.Tensor, items: torch.Tensor, vectors: bool = True) -> HistoryState:
        """The state of some users [B] and items [C], int64; without the graph, whose nodes are all of them.

        Args:
            vectors: False leaves the text and profile vectors of the items and the users empty.
        """
        if not vectors:
            none = self.item_text.new_zeros(0, self.item_text.shape[1])
            self = self._replace(item_text=none, user_profile=none, item_profile=none, user_text=none)
        user = self.user_profile, self.user_text
        item = self.item_text, self.item_profile, self.popularity, self.text_popularity
        # Tables that a configuration has no use for are empty.
        profile, text = (table[users] if len(table) else table for table in user)
        item_text, item_profile, popularity, expected = (table[items] if len(table) else table for table in item)
        return HistoryState(item_text, self.item_warm[items], profile, item_profile, None, text, popularity, expected)
