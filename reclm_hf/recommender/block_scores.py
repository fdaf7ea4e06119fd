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
    rows, columns = (torch.as_tensor(index, device=device) for index in (users, items))
    if all_in_order(items, n_items):
        scores = encoded.scores(backbone, rows, slice(None))
    elif encoded.pair is None and n_items * len(rows) < _USERS_A_COPY * len(columns):
        scores = encoded.scores(backbone, rows, slice(None))[:, columns]
    else:
        scores = encoded.scores(backbone, rows, columns)
    return scores.float().cpu().numpy()
