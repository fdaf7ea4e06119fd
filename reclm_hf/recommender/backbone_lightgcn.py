"""LightGCN: linear propagation over the user-item graph, mean over layers (He et al. 2020, arXiv 2002.02126)."""

from __future__ import annotations

import torch
from torch import nn

from .graph import propagate


class LightGCN(nn.Module):
    """e^(k+1) = A e^(k); the representation is the mean of e^(0) ... e^(K) (eq. 3 and 4 there).

    Shapes: user_init [U, d], item_init [I, d], adjacency [U + I, U + I] -> [U, d], [I, d].
    """

    needs_graph = True
    has_item_bias = False

    def __init__(self, n_layers: int) -> None:
        super().__init__()
        self.n_layers = n_layers

    def forward(
        self, user_init: torch.Tensor, item_init: torch.Tensor, adjacency: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class."""
        if adjacency is None:
            raise ValueError("LightGCN needs the adjacency: build the model with `set_history`.")
        layer = torch.cat([user_init, item_init])  # [U + I, d]
        total = layer
        for _ in range(self.n_layers):
            layer = propagate(adjacency, layer)
            total = total + layer
        mean = total / (self.n_layers + 1)
        return mean[: len(user_init)], mean[len(user_init) :]
