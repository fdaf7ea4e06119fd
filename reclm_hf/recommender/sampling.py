"""Exact negative sampling without rejection."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .kernels import UNTOUCHED

# Fewer draws do not wait for the compiler to start.
_MANY_DRAWS = 2**21
# Random integers are taken modulo the number of untouched items: no item is more likely than another by 2^-30 of it.
_RANDOM = 2**62


class NegativeSampler:
    """Draws items uniformly from those that a user has not touched.

    The r-th untouched item of a user is r + (number of touched items before it). With the touched items s_0 < s_1 ...
    of each user stored as s_k - k, which never decreases, that number is a binary search in the user's row.

    Args:
        history: [U, I] SciPy CSR of ones with sorted column indices.
        items: [C] int item rows negatives are drawn from, ascending (the warm items); every touched item must be
            among them.

    Attributes:
        items: [C] int64. start: [U + 1] int64, where the row of a user starts in `gaps`. gaps: [n] int32 (int64 from
        2^31 interactions on), s_k - k. free: [U] int64, untouched items of each user.

    Raises:
        ValueError: no user has an untouched item, or a touched item is not among `items`.
    """

    def __init__(self, history: Any, items: np.ndarray) -> None:
        self.items = np.asarray(items, dtype=np.int64)
        narrow = np.int32 if history.nnz + len(self.items) < 2**31 else np.int64
        position = np.full(history.shape[1], -1, dtype=narrow)
        position[self.items] = np.arange(len(self.items), dtype=narrow)
        self.gaps = position[history.indices]
        if len(self.gaps) and self.gaps.min() < 0:
            raise ValueError("The history holds items that negatives are not drawn from; pass all items with history.")
        self.start = history.indptr.astype(np.int64)
        degree = np.diff(self.start)
        self.free = len(self.items) - degree
        if not (self.free > 0).any():
            raise ValueError("Every user has touched every item: there are no negatives to train on.")
        # In place: with ten million interactions every array beside it counts.
        self.gaps += np.repeat(self.start[:-1].astype(narrow), degree)
        self.gaps -= np.arange(len(self.gaps), dtype=narrow)
        self._bits = int(degree.max()).bit_length()

    def sample(self, users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """[n] int64 item rows, one for each of `users` [n]; users without untouched items must be left out before."""
        users, draws = np.asarray(users, dtype=np.int64), rng.random(len(users))
        if len(users) >= _MANY_DRAWS or UNTOUCHED.started():
            kernel = UNTOUCHED.compiled()
            if kernel is not None:
                return self.items[kernel(users, draws, self.start, self.gaps, self.free)]
        return self.items[self._places(users, (draws * self.free[users]).astype(np.int64))]

    def _places(self, users: np.ndarray, draw: np.ndarray) -> np.ndarray:
        """The same search for all draws [n] at once: how many touched items come before, bit after bit."""
        first = self.start[users]
        degree = self.start[users + 1] - first
        before = np.zeros(len(users), dtype=np.int64)
        for bit in reversed(range(self._bits)):
            more = before + (1 << bit)
            # Beyond the user's own row the value is another's, or beyond the end; it does not count.
            fits = (self.gaps.take(first + more - 1, mode="clip") <= draw) & (more <= degree)
            before += fits * (1 << bit)
        return draw + before


class DeviceNegativeSampler:
    """The same distribution from tensors on any device; nothing is copied to the host or waited for.

    Args:
        sampler: whose histories and items these are. device: where the tables live, int64: one number an interaction.
    """

    def __init__(self, sampler: NegativeSampler, device: torch.device | str) -> None:
        degree = np.diff(sampler.start)
        self.width = len(sampler.items) + 1
        # With a range of its own for each user, one search over all keys is a search in the user's row.
        keys = np.repeat(np.arange(len(degree), dtype=np.int64) * self.width, degree)
        keys += sampler.gaps
        self.keys, self.start, self.free, self.items = (
            torch.from_numpy(array).to(device) for array in (keys, sampler.start, sampler.free, sampler.items)
        )

    def sample(self, users: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """[n] int64 item rows, one for each of `users` int64 [n] on the device; `generator` is of the same device.

        Users without untouched items must be left out before.
        """
        draw = torch.randint(_RANDOM, users.shape, generator=generator, device=users.device) % self.free[users]
        before = torch.searchsorted(self.keys, users * self.width + draw, right=True) - self.start[users]
        return self.items[draw + before]
