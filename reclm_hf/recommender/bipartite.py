"""The two halves of the user-item graph, so that only those rows are propagated which a batch's scores depend on."""

from __future__ import annotations

from typing import Any

import torch

from .losses import sizes_are_waited_for
from .precision import in_full

# A batch whose users hold a larger share of the edges takes the product over all users, which has less overhead.
_SLICED_SHARE = 0.25


class Half:
    """The rows of one side: entries (r, c) of [rows, columns] float32, CSR, and the same transposed.

    Attributes:
        matrix: [rows, columns] sparse CSR. pointers: [rows + 1] int32. column: [n] int32. value: [n] float32.
    """

    def __init__(self, row: torch.Tensor, column: torch.Tensor, value: torch.Tensor, shape: tuple[int, int]) -> None:
        self.column, self.value = column.contiguous(), value.contiguous()
        self.pointers = torch.zeros(shape[0] + 1, dtype=torch.int32, device=value.device)
        self.pointers[1:] = torch.bincount(row.long(), minlength=shape[0]).cumsum(0)
        self.matrix = torch.sparse_csr_tensor(self.pointers, self.column, self.value, shape, check_invariants=False)


class Bipartite:
    """D^-1/2 A D^-1/2 as its off-diagonal blocks and its diagonal.

    Attributes:
        users: half with the rows of the users, [U, I]. items: half with the rows of the items, [I, U].
        user_loops, item_loops: [U, 1] and [I, 1] self-loops, or None without any.
    """

    def __init__(self, index: torch.Tensor, value: torch.Tensor, n_nodes: int, n_users: int) -> None:
        """Args: index: [2, n] int32, sorted by row, then column; users are the first `n_users` nodes."""
        row, column = index
        shape = (n_users, n_nodes - n_users)
        ours, theirs = (row < n_users) & (column >= n_users), (row >= n_users) & (column < n_users)
        self.users = Half(row[ours], column[ours] - n_users, value[ours], shape)
        self.items = Half(row[theirs] - n_users, column[theirs], value[theirs], shape[::-1])
        own = row == column
        loops = value.new_zeros(n_nodes, 1).index_copy(0, row[own].long(), value[own].unsqueeze(1))
        self.user_loops: torch.Tensor | None
        self.item_loops: torch.Tensor | None
        self.user_loops, self.item_loops = loops.split(shape) if own.any() else (None, None)

    def to_users(self, item: torch.Tensor, user: torch.Tensor) -> torch.Tensor:
        """[I, d] and [U, d] of one layer -> [U, d] of the next."""
        return _with_loops(Product.apply(self.users.matrix, self.items.matrix, item), self.user_loops, user)

    def to_items(self, item: torch.Tensor, user: torch.Tensor) -> torch.Tensor:
        """[I, d] and [U, d] of one layer -> [I, d] of the next."""
        return _with_loops(Product.apply(self.items.matrix, self.users.matrix, user), self.item_loops, item)

    def some_users(self, rows: torch.Tensor) -> SomeUsers:
        """The rows [B] int64 of `to_users`, whichever way is the cheaper."""
        return SomeUsers(self, rows)


class SomeUsers:
    """`Bipartite.to_users` for the rows [B] of a batch."""

    def __init__(self, graph: Bipartite, rows: torch.Tensor) -> None:
        self.half, self.transposed, self.rows = graph.users, graph.items, rows
        self.loops = None if graph.user_loops is None else graph.user_loops[rows]
        self.sliced = not sizes_are_waited_for(rows.device) and self._slice()

    def _slice(self) -> bool:
        pointers = self.half.pointers.long()
        start = pointers[self.rows]
        counts = pointers[self.rows + 1] - start
        total = int(counts.sum())
        if total > _SLICED_SHARE * len(self.half.value):
            return False
        self.place = torch.repeat_interleave(counts, output_size=total)
        entry = torch.arange(total) + (start - (counts.cumsum(0) - counts))[self.place]
        self.column, self.value = self.half.column[entry].long(), self.half.value[entry].unsqueeze(1)
        return True

    def next(self, item: torch.Tensor, user: torch.Tensor) -> torch.Tensor:
        """[I, d] of one layer and these users' rows [B, d] of it -> their rows [B, d] of the next."""
        if self.sliced:
            weighted = self.value * item.index_select(0, self.column)
            heard = weighted.new_zeros(len(self.rows), item.shape[1]).index_add(0, self.place, weighted)
        else:
            heard = Product.apply(self.half.matrix, self.transposed.matrix, item)[self.rows]
        return _with_loops(heard, self.loops, user)


class Product(torch.autograd.Function):
    """A @ x with A's transpose at hand: the gradient is A' @ g, and nothing is transposed on the way."""

    @staticmethod
    def forward(context: Any, matrix: torch.Tensor, transposed: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        context.transposed = transposed
        with in_full(x.device):  # sparse products know no half precision
            return matrix @ x.to(matrix.dtype)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[None, None, torch.Tensor]:
        return None, None, context.transposed @ gradient.contiguous()


def _with_loops(heard: torch.Tensor, loops: torch.Tensor | None, own: torch.Tensor) -> torch.Tensor:
    return heard if loops is None else torch.addcmul(heard, loops, own)
