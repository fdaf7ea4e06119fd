"""The floors that the preset `floor_residual` contains: text cosine, decayed popularity, text -> popularity.

Every term is a dot product of a user part and an item part, or an item bias, so that the whole model stays one
maximum inner product.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn


class HistoryState(NamedTuple):
    """What is known at one cut. The buffers hold the state a model is served with; training episodes bring their own.

    Attributes:
        user_text: [U, d_t] normalised mean of the user's history vectors, zeros without history.
        item_warm: [I] float, 1 for items with history.
        popularity: [I, H] log1p of the decayed popularity, one column a half-life.
        text_popularity: [I, H] what the ridge on item texts expects of that.
        adjacency: [U + I, U + I] sparse CSR, or None for backbones without a graph.
    """

    user_text: torch.Tensor
    item_warm: torch.Tensor
    popularity: torch.Tensor
    text_popularity: torch.Tensor
    adjacency: torch.Tensor | None


class Floors(nn.Module):
    """Weights of the floor terms, [1] or [H] each. Gates let the backbone in, for cold and for warm items apart."""

    def __init__(self, n_half_lives: int) -> None:
        super().__init__()
        self.cosine = nn.Parameter(torch.zeros(2))  # cold, warm
        self.gate = nn.Parameter(torch.zeros(2))  # cold, warm
        self.warm_popularity = nn.Parameter(torch.zeros(n_half_lives))
        self.warm_text = nn.Parameter(torch.zeros(n_half_lives))
        self.cold_text = nn.Parameter(torch.zeros(n_half_lives))
        self.cold_offset = nn.Parameter(torch.zeros(1))

    def item_bias(self, state: HistoryState) -> torch.Tensor:
        """[I]: popularity (and its text estimate) for warm items, the text estimate and an offset for cold ones."""
        warm_bias = state.popularity @ self.warm_popularity + state.text_popularity @ self.warm_text
        cold_bias = state.text_popularity @ self.cold_text + self.cold_offset
        return torch.where(state.item_warm > 0, warm_bias, cold_bias)

    @staticmethod
    def by_warmth(weights: torch.Tensor, state: HistoryState) -> torch.Tensor:
        """[I, 1]: the second of two weights for warm items, the first for cold ones."""
        return torch.where(state.item_warm > 0, weights[1], weights[0]).unsqueeze(1)
