"""NCF's ReLU layers over all pairs of users and items.

left is [B, d], right [C, d]: their sum is the first layer of a pair before its ReLU.
"""

from __future__ import annotations

import numpy as np
import torch

from .kernels import RELU_LAYER, RELU_PRODUCT, RELU_SUMS

# Cells of one block of hidden values, [d, users, items] float32: with those of the next layer they stay in the cache.
_BLOCK_CELLS = 2**17
# Hidden values from which on the compiled loops are worth the start of their compiler, some 10 ms of torch. Only the
# size decides, so that the same question has the same answer to the last bit.
_COMPILED_CELLS = 2**24


def relu_sums(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """[B, C]: the sum of the hidden values of each pair. Compiled only where no gradient is recorded."""
    kernel = RELU_SUMS.compiled() if _compilable(left, right) else None
    if kernel is None:
        # The sum of relu(x) = (x + |x|) / 2 over |a - (-b)| is a city-block distance: no hidden values are stored.
        distance = torch.cdist(left, -right, p=1.0)
        return (distance + left.sum(1).unsqueeze(1) + right.sum(1).unsqueeze(0)) / 2
    sums = left.new_empty(len(left), len(right))
    kernel(_array(left), _array(right.T), sums.numpy())
    return sums


def two_layers(
    left: torch.Tensor, right: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, last: torch.Tensor
) -> torch.Tensor:
    """[B, C]: last . relu(weight @ relu(hidden) + bias) of each pair; weight is [K, d], bias and last [K].

    Without gradients. Hidden values are laid out [d, pairs]: the product with them is twice as fast as with [pairs, d].
    """
    scores = left.new_empty(len(left), len(right))
    compiled = _compilable(left, right)
    width = max(1, _BLOCK_CELLS // left.shape[1])
    for columns, into in zip(right.split(width), scores.split(width, dim=1), strict=True):
        size = max(1, _BLOCK_CELLS // max(1, columns.numel()))
        block = _Block(min(size, len(left)), columns.T.contiguous(), weight, bias, last, compiled)
        for rows, found in zip(left.split(size), into.split(size), strict=True):
            if len(rows) < block.n:  # the last ones are fewer
                block = _Block(len(rows), block.right, weight, bias, last, compiled)
            found.copy_(block.scores(rows))
    return scores


class _Block:
    """Room for the hidden values of n users with C items, whose part of the first layer `right` [d, C] is."""

    def __init__(
        self, n: int, right: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, last: torch.Tensor, compiled: bool
    ) -> None:
        d, n_items = right.shape
        self.n, self.right, self.weight, self.bias, self.last = n, right, weight, bias, last
        self.first = right.new_empty(d, n, n_items)
        self.pairs = self.first.view(d, n * n_items)
        self.second = right.new_empty(len(weight), n * n_items)
        self.sums = right.new_empty(n * n_items)
        self.found = self.sums.view(n, n_items)
        kernels = (RELU_LAYER.compiled(), RELU_PRODUCT.compiled()) if compiled else (None, None)
        self.layer, self.product = kernels
        if compiled:  # views of the tensors above
            self.arrays = [_array(tensor) for tensor in (right, self.first, self.second, bias, last, self.sums)]

    def scores(self, left: torch.Tensor) -> torch.Tensor:
        """[n, C] for `left` [n, d]; overwritten by the next call."""
        if self.layer is None or self.product is None:
            torch.add(left.T.contiguous().unsqueeze(2), self.right.unsqueeze(1), out=self.first).relu_()
            torch.mm(self.weight, self.pairs, out=self.second)
            torch.mv(self.second.add_(self.bias.unsqueeze(1)).relu_().T, self.last, out=self.sums)
            return self.found
        right, first, second, bias, last, sums = self.arrays
        self.layer(_array(left), right, first)
        torch.mm(self.weight, self.pairs, out=self.second)
        self.product(second, bias, last, sums)
        return self.found


def _compilable(left: torch.Tensor, right: torch.Tensor) -> bool:
    if torch.is_grad_enabled() or left.numel() * len(right) < _COMPILED_CELLS:
        return False
    return all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in (left, right))


def _array(tensor: torch.Tensor) -> np.ndarray:
    """float32, contiguous: a kernel is compiled once for each layout."""
    return tensor.detach().contiguous().numpy()
