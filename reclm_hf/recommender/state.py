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
