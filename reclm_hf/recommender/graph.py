"""The normalised user-item graph, kept in plain buffers: sparse tensors survive neither saving nor the meta device."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import nn


def normalized_adjacency(history: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """D^-1/2 A D^-1/2 of the bipartite graph, users first, then items (LightGCN, arXiv 2002.02126, eq. 3).

    Args:
        history: [U, I] SciPy CSR of ones.

    Returns:
        adj_idx: [2, 2 * nnz] int32, rows sorted. adj_val: [2 * nnz] float32.
    """
    n_users, _ = history.shape
    coo = history.tocoo()
    user, item = coo.row.astype(np.int64), coo.col.astype(np.int64)
    weight = 1.0 / np.sqrt(np.bincount(user)[user] * np.bincount(item)[item])
    rows = np.concatenate([user, item + n_users])
    columns = np.concatenate([item + n_users, user])
    order = np.lexsort((columns, rows))
    index = np.stack([rows[order], columns[order]]).astype(np.int32)
    value = np.concatenate([weight, weight])[order].astype(np.float32)
    return torch.from_numpy(index), torch.from_numpy(value)


class _SymmetricProduct(torch.autograd.Function):
    """A @ x for symmetric sparse A: the gradient is A @ g, with no transposed copy of A."""

    @staticmethod
    def forward(context: Any, adjacency: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        context.adjacency = adjacency
        return adjacency @ x

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, context.adjacency @ gradient.contiguous()


def propagate(adjacency: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """One propagation step, [N, d] -> [N, d], N = U + I."""
    return _SymmetricProduct.apply(adjacency, x)


class Graph(nn.Module):
    """Holds the adjacency as `adj_idx` and `adj_val` buffers and builds the sparse matrix on first use."""

    def __init__(self, nnz: int) -> None:
        super().__init__()
        self.register_buffer("adj_idx", torch.zeros(2, nnz, dtype=torch.int32))
        self.register_buffer("adj_val", torch.zeros(nnz))
        self._built: tuple[int, torch.Tensor] | None = None

    def set(self, adj_idx: torch.Tensor, adj_val: torch.Tensor) -> None:
        """Replace the graph; see `normalized_adjacency` for the shapes."""
        self.adj_idx, self.adj_val, self._built = adj_idx, adj_val, None

    def __deepcopy__(self, memo: dict[int, Any]) -> Graph:
        # Without the built matrix: sparse tensors cannot be copied, and it is built again when it is asked for.
        copied = Graph(0)
        copied.set(self.adj_idx.clone(), self.adj_val.clone())
        memo[id(self)] = copied
        return copied

    def matrix(self, n_nodes: int) -> torch.Tensor:
        """[N, N] float32 sparse CSR; nodes beyond the stored ones have no edges (items added later)."""
        if self._built is None or self._built[0] != n_nodes or self._built[1].device != self.adj_val.device:
            counts = torch.bincount(self.adj_idx[0].long(), minlength=n_nodes)
            pointers = torch.zeros(n_nodes + 1, dtype=torch.int32, device=counts.device)
            pointers[1:] = counts.cumsum(0)
            with warnings.catch_warnings():
                # "Sparse CSR tensor support is in beta": said once a process, to nobody's use.
                warnings.filterwarnings("ignore", message="Sparse")
                matrix = torch.sparse_csr_tensor(
                    pointers,
                    self.adj_idx[1].contiguous(),
                    self.adj_val.float(),
                    (n_nodes, n_nodes),
                    check_invariants=False,
                )
            self._built = (n_nodes, matrix)
        return self._built[1]
