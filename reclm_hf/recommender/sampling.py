"""Exact negative sampling without rejection and without a loop."""

from __future__ import annotations

from typing import Any

import numpy as np


class NegativeSampler:
    """Draws items uniformly from those that a user has not touched.

    The r-th untouched item of a user is r + (number of touched items before it). With the touched items s_0 < s_1 ...
    of each user stored as s_k - k, which never decreases, that number is one binary search over all users at once.

    Args:
        history: [U, I] SciPy CSR of ones with sorted column indices.
        items: [C] int item rows negatives are drawn from, ascending (the warm items); every touched item must be
            among them.

    Raises:
        ValueError: no user has an untouched item.
    """

    def __init__(self, history: Any, items: np.ndarray) -> None:
        self.items = np.asarray(items, dtype=np.int64)
        position = np.full(history.shape[1], -1, dtype=np.int64)
        position[self.items] = np.arange(len(self.items))
        touched = position[history.indices]
        if (touched < 0).any():
            raise ValueError("The history holds items that negatives are not drawn from; pass all items with history.")
        degree = np.diff(history.indptr)
        self.start = history.indptr[:-1].astype(np.int64)
        self.free = len(self.items) - degree  # [U] untouched items
        if not (self.free > 0).any():
            raise ValueError("Every user has touched every item: there are no negatives to train on.")
        user = np.repeat(np.arange(history.shape[0]), degree)
        rank = np.arange(len(touched)) - np.repeat(self.start, degree)
        self.width = len(self.items) + 1
        self.keys = user * self.width + (touched - rank)

    def sample(self, users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """[n] int64 item rows, one for each of `users` [n]; users without untouched items must be left out before."""
        draw = (rng.random(len(users)) * self.free[users]).astype(np.int64)
        before = np.searchsorted(self.keys, users * self.width + draw, side="right") - self.start[users]
        return self.items[draw + before]
