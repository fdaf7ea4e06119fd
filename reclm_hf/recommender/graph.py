"""The normalised user-item graph, kept in plain buffers: sparse tensors survive neither saving nor the meta device."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from .bipartite import Bipartite, Product


def normalized_adjacency(history: Any, self_loops: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """D^-1/2 A D^-1/2 of the bipartite graph, users first, then items (LightGCN, arXiv 2002.02126, eq. 3).

    Args:
        history: [U, I] SciPy CSR of ones.
        self_loops: normalise A + I instead (the preset `reference`); every node then has an entry.

    Returns:
        adj_idx: [2, n] int32, sorted by row, then column. adj_val: [n] float32.
    """
    n_users, n_items = history.shape
    coo = history.tocoo()
    user, item = coo.row.astype(np.int64), coo.col.astype(np.int64) + n_users
    rows, columns = np.concatenate([user, item]), np.concatenate([item, user])
    if self_loops:
        nodes = np.arange(n_users + n_items)
        rows, columns = np.concatenate([rows, nodes]), np.concatenate([columns, nodes])
    order = np.lexsort((columns, rows))
    rows, columns = rows[order], columns[order]
    degree = np.bincount(rows, minlength=n_users + n_items)
    value = 1.0 / np.sqrt(degree[rows] * degree[columns])
    return torch.from_numpy(np.stack([rows, columns]).astype(np.int32)), torch.from_numpy(value.astype(np.float32))


class Adjacency:
    """A square sparse matrix of symmetric structure, [N, N], and what views of it need.

    Attributes:
        row, column: [n] int32, sorted by row, then column. value: [n] float32. n_nodes: N = U + I.
    """

    def __init__(self, index: torch.Tensor, value: torch.Tensor, n_nodes: int) -> None:
        self.row, self.column, self.value, self.n_nodes = index[0], index[1], value, n_nodes
        counts = torch.bincount(self.row.long(), minlength=n_nodes)
        self.degree = counts  # [N] entries of a row, a self-loop counts
        self._pointers = torch.zeros(n_nodes + 1, dtype=torch.int32, device=value.device)
        self._pointers[1:] = counts.cumsum(0)
        self._halves: Bipartite | None = None

    @cached_property
    def matrix(self) -> torch.Tensor:
        """[N, N] float32 sparse CSR."""
        return self.with_values(self.value)

    @cached_property
    def twin(self) -> torch.Tensor:
        """[n] int64: where the entry (c, r) stands for the entry (r, c)."""
        # Sorted by column, then row, the entries of a symmetric structure are the transposed ones in order.
        return torch.argsort(self.column.long() * self.n_nodes + self.row.long())

    def halves(self, n_users: int) -> Bipartite:
        """The blocks between users and items; users are the first `n_users` nodes."""
        if self._halves is None:
            with _no_warning():
                self._halves = Bipartite(torch.stack([self.row, self.column]), self.value, self.n_nodes, n_users)
        return self._halves

    def with_values(self, value: torch.Tensor) -> torch.Tensor:
        """[N, N] sparse CSR of the same structure; entries of value 0 are kept."""
        with _no_warning():
            return torch.sparse_csr_tensor(
                self._pointers,
                self.column.contiguous(),
                value.float(),
                (self.n_nodes, self.n_nodes),
                check_invariants=False,
            )

    def propagate(self, x: torch.Tensor) -> torch.Tensor:
        """A @ x, [N, d] -> [N, d]."""
        return Product.apply(self.matrix, self.matrix, x)

    def propagate_with(self, value: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The same for other values [n] of the same structure, symmetric or not."""
        return Product.apply(self.with_values(value), self.with_values(value[self.twin]), x)


@contextmanager
def _no_warning() -> Iterator[None]:
    """Without "Sparse CSR tensor support is in beta", which is said once a process, to nobody's use."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse")
        yield


class Graph(nn.Module):
    """Holds the adjacency as `adj_idx` and `adj_val` buffers and builds the sparse matrix on first use."""

    def __init__(self, nnz: int) -> None:
        super().__init__()
        self.register_buffer("adj_idx", torch.zeros(2, nnz, dtype=torch.int32))
        self.register_buffer("adj_val", torch.zeros(nnz))
        self._built: Adjacency | None = None

    def set(self, adj_idx: torch.Tensor, adj_val: torch.Tensor) -> None:
        """Replace the graph; see `normalized_adjacency` for the shapes."""
        self.adj_idx, self.adj_val, self._built = adj_idx, adj_val, None

    def __deepcopy__(self, memo: dict[int, Any]) -> Graph:
        # Without the built matrix: sparse tensors cannot be copied, and it is built again when it is asked for.
        copied = Graph(0)
        copied.set(self.adj_idx.clone(), self.adj_val.clone())
        memo[id(self)] = copied
        return copied

    def adjacency(self, n_nodes: int) -> Adjacency:
        """The adjacency over `n_nodes` nodes; those beyond the stored ones have no edges (items added later)."""
        built = self._built
        if built is None or built.n_nodes != n_nodes or built.value.device != self.adj_val.device:
            built = self._built = Adjacency(self.adj_idx, self.adj_val, n_nodes)
        return built
