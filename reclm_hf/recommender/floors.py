"""The floors that the preset `floor_residual` contains: text cosine, decayed popularity, text -> popularity.

Every term is a dot product of a user part and an item part, or an item bias. Popularity and its text estimate keep
the weight they have in closed form: trained on past blocks, they drift towards those blocks and lose what the last
days say. Training only adds to them.
"""

from __future__ import annotations

import torch
from torch import nn

from .state import HistoryState

COSINE_SCALE = 5.0


class Floors(nn.Module):
    """Learned weights beside the closed-form floors; pairs hold the weight for cold and for warm items."""

    def __init__(self, text_dim: int) -> None:
        super().__init__()
        self.cosine = nn.Parameter(torch.tensor([0.7 * COSINE_SCALE, 0.0]))
        self.gate = nn.Parameter(torch.zeros(2))  # of the backbone
        self.head = nn.Parameter(torch.zeros(2, text_dim))  # linear text -> bias

    def item_bias(self, state: HistoryState, cold_offset: float) -> torch.Tensor:
        """[I]: decayed popularity for warm items, its text estimate for cold ones, and the learned head."""
        base = torch.where(state.item_warm > 0, state.popularity, state.text_popularity + cold_offset)
        head = COSINE_SCALE * (state.item_text @ self.head.T)  # [I, 2]
        return base + torch.where(state.item_warm > 0, head[:, 1], head[:, 0])


def by_warmth(weights: torch.Tensor, state: HistoryState) -> torch.Tensor:
    """[I, 1]: the second of two weights for warm items, the first for cold ones."""
    return torch.where(state.item_warm > 0, weights[1], weights[0]).unsqueeze(1)
