"""Loops that numba compiles where it is installed (`pip install reclm-hf[fast]`).

Each stands beside a path of numpy or torch that gives the same; that one serves where numba is absent. numba starts
at the first use only: it takes half a second, once a process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class Kernel:
    """A plain Python function of arrays, compiled at its first use and kept on disk for the next process."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._compiled: Callable[..., Any] | None = None

    def started(self) -> bool:
        """Whether it was used before, so that using it again costs nothing but the work."""
        return self._compiled is not None

    def compiled(self) -> Callable[..., Any] | None:
        """The function to call instead, or None where there is no compiler."""
        # transformers demands the imports of custom code that are not in `try`.
        try:
            import numba
        except ImportError:  # also raised by a numba that is too old for the numpy beside it
            return None
        if getattr(numba.config, "DISABLE_JIT", 0):
            return None
        if self._compiled is None:
            try:
                self._compiled = numba.njit(cache=True, nogil=True)(self.function)
            except RuntimeError:  # no folder that the compiled code could be kept in
                self._compiled = numba.njit(nogil=True)(self.function)
        return self._compiled


def _relu_sums(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    """out[b, c] = sum over k of relu(left[b, k] + right[k, c]). float32 [B, d], [d, C] -> [B, C]."""
    width = 256  # so many columns of `right` stay in the first cache for all rows
    zero = np.float32(0)
    for first in range(0, right.shape[1], width):
        last = min(first + width, right.shape[1])
        for row in range(len(left)):
            sums = out[row, first:last]
            sums[:] = zero
            for k in range(len(right)):
                own, other = left[row, k], right[k, first:last]
                for column in range(len(sums)):
                    value = own + other[column]
                    sums[column] += zero if value < zero else value  # NaN is kept


def _relu_layer(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    """out[k, b, c] = relu(left[b, k] + right[k, c]). float32 [B, d], [d, C] -> [d, B, C]."""
    zero = np.float32(0)
    for k in range(len(right)):
        other = right[k]
        for row in range(len(left)):
            own, values = left[row, k], out[k, row]
            for column in range(len(values)):
                value = own + other[column]
                values[column] = zero if value < zero else value


def _relu_product(hidden: np.ndarray, bias: np.ndarray, weight: np.ndarray, out: np.ndarray) -> None:
    """out[n] = sum over k of weight[k] x relu(hidden[k, n] + bias[k]). float32 [K, N], [K], [K] -> [N]."""
    width = 1024
    zero = np.float32(0)
    for first in range(0, len(out), width):
        sums = out[first : first + width]
        sums[:] = zero
        for k in range(len(hidden)):
            values, shift, factor = hidden[k, first : first + width], bias[k], weight[k]
            for n in range(len(sums)):
                value = values[n] + shift
                sums[n] += factor * (zero if value < zero else value)


def _untouched(users: np.ndarray, draws: np.ndarray, start: np.ndarray, gaps: np.ndarray, free: np.ndarray) -> Any:
    """Place of the drawn untouched item of each user, int64 [n]; see `sampling.NegativeSampler`."""
    places = np.empty(len(users), dtype=np.int64)
    for n in range(len(users)):
        user = users[n]
        draw = np.int64(draws[n] * free[user])
        low, high = start[user], start[user + 1]
        while low < high:
            middle = (low + high) // 2
            if gaps[middle] <= draw:
                low = middle + 1
            else:
                high = middle
        places[n] = draw + low - start[user]
    return places


RELU_SUMS = Kernel(_relu_sums)
RELU_LAYER = Kernel(_relu_layer)
RELU_PRODUCT = Kernel(_relu_product)
UNTOUCHED = Kernel(_untouched)
