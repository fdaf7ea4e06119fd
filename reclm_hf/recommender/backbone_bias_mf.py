"""BiasMF: matrix factorisation with an item bias (Koren et al. 2009); a user bias would cancel in ranking."""

from __future__ import annotations

import torch
from torch import nn


class BiasMF(nn.Module):
    """The representations are the inputs; all of the model is in them and in the item bias.

    Shapes: user_init [U, d], item_init [I, d] -> the same.
    """

    needs_graph = False
    has_item_bias = True

    def __init__(self, n_layers: int) -> None:
        super().__init__()

    def forward(
        self, user_init: torch.Tensor, item_init: torch.Tensor, adjacency: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class."""
        return user_init, item_init
