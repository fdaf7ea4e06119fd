"""Scores of a block of users, with no copy of the item table where none is needed."""

from __future__ import annotations

import numpy as np
import torch

from .backbone import Backbone
from .ranking import all_in_order
from .representations import Representations

# To copy the row of an item costs about as much as to score it for so many users.
_USERS_A_COPY = 8


@torch.no_grad()
def block_scores(encoded: Representations, backbone: Backbone, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """float32 [B, C] scores of user rows (int64 [B]) for item rows (int64 [C]).

    All items are scored out of the table as it lies, and so is the larger part of them for a few users.
    """
    device, n_items = encoded.item_bias.device, len(encoded.item_bias)
    users, items = np.asarray(users), np.asarray(items)
    rows = torch.as_tensor(users, device=device)
    if all_in_order(items, n_items):
        return encoded.scores(backbone, rows, slice(None)).float().cpu().numpy()
    columns = torch.as_tensor(items, device=device)
    if encoded.pair is None and n_items * len(rows) < _USERS_A_COPY * len(columns):
        scores = encoded.scores(backbone, rows, slice(None))[:, columns]
    else:
        scores = encoded.scores(backbone, rows, columns)
    return scores.float().cpu().numpy()


class BlockScorer:
    """Scores of blocks of users for the same items, which are looked up once; each block overwrites the one before."""

    def __init__(self, encoded: Representations, backbone: Backbone, items: np.ndarray) -> None:
        """Args: items: int64 [C] item rows."""
        columns = torch.as_tensor(np.asarray(items), device=encoded.item_bias.device)
        self._encoded, self._backbone = encoded, backbone
        self._item, self._bias = encoded.item[columns].T, encoded.item_bias[columns]
        self._biased = bool(self._bias.any())
        self._pair = None if encoded.pair is None else (encoded.pair.item[columns], encoded.pair.gate[columns])
        self._room = self._item.new_empty(0, len(columns))

    @torch.no_grad()
    def __call__(self, users: np.ndarray) -> np.ndarray:
        """float32 [B, C] of user rows (int64 [B])."""
        rows = torch.as_tensor(users, device=self._bias.device)
        if len(rows) > len(self._room):
            self._room = self._item.new_empty(len(rows), self._item.shape[1])
        scores = torch.mm(self._encoded.user[rows], self._item, out=self._room[: len(rows)])
        if self._biased:
            scores += self._bias
        if self._pair is not None and self._encoded.pair is not None:
            item, gate = self._pair
            scores.addcmul_(self._backbone.pair_scores(self._encoded.pair.user[rows], item), gate)
        return scores.float().cpu().numpy()
