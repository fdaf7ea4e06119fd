"""The floors that the preset `floor_residual` contains: text cosine, decayed popularity, text -> popularity.

Every term is a dot product of a user part and an item part, or an item bias, so that the whole model stays one
maximum inner product. Popularity and its text estimate keep the weight they have in closed form: trained on past
blocks, they drift towards those blocks and lose what the last days say. Training only adds to them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

COSINE_SCALE = 5.0


class HistoryState(NamedTuple):
    """What is known at one cut. The buffers hold the state a model is served with; training episodes bring their own.

    Attributes:
        user_text: [U, d_t] normalised mean of the user's history vectors, zeros without history.
        item_warm: [I] float, 1 for items with history.
        popularity: [I] log share of decayed popularity among warm items.
        text_popularity: [I] what the texts let expect of it, in standard deviations over warm items.
        adjacency: [U + I, U + I] sparse CSR, or None for backbones without a graph.
    """

    user_text: torch.Tensor
    item_warm: torch.Tensor
    popularity: torch.Tensor
    text_popularity: torch.Tensor
    adjacency: torch.Tensor | None


class Floors(nn.Module):
    """Learned weights beside the closed-form floors; pairs hold the weight for cold and for warm items."""

    def __init__(self, text_dim: int) -> None:
        super().__init__()
        self.cosine = nn.Parameter(torch.tensor([0.7 * COSINE_SCALE, 0.0]))
        self.gate = nn.Parameter(torch.zeros(2))  # of the backbone
        self.head = nn.Parameter(torch.zeros(2, text_dim))  # linear text -> bias

    def item_bias(self, state: HistoryState, item_text: torch.Tensor, cold_offset: float) -> torch.Tensor:
        """[I]: decayed popularity for warm items, its text estimate for cold ones, and the learned head."""
        base = torch.where(state.item_warm > 0, state.popularity, state.text_popularity + cold_offset)
        head = COSINE_SCALE * (item_text @ self.head.T)  # [I, 2]
        return base + torch.where(state.item_warm > 0, head[:, 1], head[:, 0])


def by_warmth(weights: torch.Tensor, state: HistoryState) -> torch.Tensor:
    """[I, 1]: the second of two weights for warm items, the first for cold ones."""
    return torch.where(state.item_warm > 0, weights[1], weights[0]).unsqueeze(1)
