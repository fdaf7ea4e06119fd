"""EASE^R: a linear item-item model in closed form (Steck 2019, "Embarrassingly Shallow Autoencoders")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .base import Floor

if TYPE_CHECKING:
    from ..data.splits import Split


@dataclass(eq=False)
class EASE(Floor):
    """Scores X B with B = I - P diag(P)^-1, P = (X'X + ridge I)^-1 (Steck 2019, eq. 8).

    Only items with at least `min_count` history rows take part, because the inverse costs the cube of their number
    (about 0.3 s for 3,000 items, 8 s for 8,000 on one core) and B its square in memory; the other warm items score
    0, as an item without co-interactions does. Cold items share a score below all others.
    """

    name: ClassVar[str] = "ease"
    recommends_cold: ClassVar[bool] = False
    search_space: ClassVar[dict[str, list[Any]]] = {"ridge": [1000, 500, 200, 100, 50]}

    ridge: float = 200
    min_count: int = 3

    def _fit(self, split: Split, vectors: np.ndarray) -> dict[str, np.ndarray]:
        counts = np.bincount(split.history_item, minlength=split.n_items)
        # Without any item that reaches min_count the model would be empty; then all warm items take part.
        enough = counts >= min(self.min_count, counts.max())
        history = split.history_matrix()[:, np.flatnonzero(enough)]
        weights = item_weights((history.T @ history).toarray(), self.ridge)
        column = np.full(split.n_items, -1, dtype=np.int32)
        column[enough] = np.arange(enough.sum())
        # No score can be lower than the longest history full of the most negative weight.
        lowest = -1.0 - np.diff(history.indptr).max() * np.abs(weights).max()
        return {"weights": weights, "column": column, "lowest": np.array([lowest], dtype=np.float32)}

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Predicted interactions: float32 [B, C]."""
        state = self.state
        column = state["column"][items]
        known = column >= 0
        history = self.history_rows(users)[:, np.flatnonzero(state["column"] >= 0)]
        scores = np.zeros((len(users), len(items)), dtype=np.float32)
        scores[:, known] = history @ state["weights"][:, column[known]]
        scores[:, ~state["warm"][items]] = state["lowest"][0]
        return scores


def item_weights(gram: np.ndarray, ridge: float) -> np.ndarray:
    """B of EASE^R, float32 [n, n] with a zero diagonal, from the Gram matrix X'X [n, n].

    By Cholesky in float32: with ridge >= 1 the result agrees with float64 to about 1e-5.

    Raises ValueError unless ridge > 0.
    """
    import torch

    if ridge <= 0:
        raise ValueError(f"ridge={ridge} must be positive")
    matrix = torch.from_numpy(gram.astype(np.float32, copy=True))
    matrix.diagonal().add_(ridge)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(matrix)).numpy()
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return np.ascontiguousarray(weights, dtype=np.float32)
