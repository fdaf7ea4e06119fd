"""The rows of the tables that the scores of a batch of triples depend on."""

from __future__ import annotations

from typing import NamedTuple

import torch

from .losses import sizes_are_waited_for
from .state import HistoryState


class BatchRows(NamedTuple):
    """What a batch of B triples looks up.

    users: [B] int64. items: [C] int64 rows. place: [2 B] int64 place in `items` of the positives, then of the
    negatives. user_ids: [B, w] ID embeddings. item_ids: [C, w], or None where items have none. state: of these rows.
    """

    users: torch.Tensor
    items: torch.Tensor
    place: torch.Tensor
    user_ids: torch.Tensor
    item_ids: torch.Tensor | None
    state: HistoryState

    def squared_norm(self) -> torch.Tensor:
        """Squared norm of the ID embeddings of the triples, summed; an item counts as often as it occurs."""
        total = self.user_ids.square().sum()
        if self.item_ids is not None:
            total = total + self.item_ids.square().sum(1).index_select(0, self.place).sum()
        return total


def distinct(items: torch.Tensor, n_items: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows to encode, int64 [C] ascending, and the place of each of `items` [n] (rows of `n_items`) among them.

    On an accelerator repeated rows stay: how many differ would have to be waited for.
    """
    if sizes_are_waited_for(items.device):
        return items, torch.arange(len(items), device=items.device)
    used = torch.zeros(n_items, dtype=torch.bool)
    used[items] = True
    return used.nonzero().squeeze(1), (used.cumsum(0) - 1)[items]
