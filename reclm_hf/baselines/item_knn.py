"""Item kNN: cosine similarity of co-interactions with shrinkage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .base import Floor

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from ..data.splits import Split

COLD_SCORE = -1.0


@dataclass(eq=False)
class ItemKNN(Floor):
    """Score of an item = sum of its similarities to the user's items that are among its `k` nearest items.

    sim(i, j) = n_ij / (sqrt(n_i n_j) + shrink), n_ij users in common; an item is not its own neighbour.
    Scores are >= 0 for warm items; cold items share -1.
    """

    name: ClassVar[str] = "item_knn"
    recommends_cold: ClassVar[bool] = False
    search_space: ClassVar[dict[str, list[Any]]] = {"k": [100, 200, 400], "shrink": [50, 10, 100]}

    k: int = 200
    shrink: float = 10

    def _fit(self, split: Split, vectors: np.ndarray) -> dict[str, np.ndarray]:
        similarity = nearest_items(split.history_matrix(), self.k, self.shrink)
        return {
            "indptr": similarity.indptr.astype(np.int64),
            "indices": similarity.indices.astype(np.int32),
            "similarity": similarity.data.astype(np.float32),
        }

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Sums of similarities: float32 [B, C]."""
        from scipy.sparse import csr_array

        state, n_items = self.state, self.catalog.n_items
        # Row i holds the neighbours of item i.
        nearest = csr_array((state["similarity"], state["indices"], state["indptr"]), shape=(n_items, n_items))
        scores = (self.history_rows(users) @ nearest[items].T).toarray().astype(np.float32, copy=False)
        scores[:, ~state["warm"][items]] = COLD_SCORE
        return scores


def nearest_items(history: csr_array, k: int, shrink: float) -> csr_array:
    """Similarities to the k nearest items of each item, [I, I] CSR, row i for item i.

    Args:
        history: [U, I] binary. k: neighbours kept an item. shrink: added to the denominator, >= 0.
    """
    if k < 1 or shrink < 0:
        raise ValueError(f"k={k} must be at least 1 and shrink={shrink} at least 0")
    common = (history.T @ history).tocsr()
    counts = common.diagonal()
    common.setdiag(0)
    common.eliminate_zeros()
    common.sort_indices()
    rows = np.repeat(np.arange(common.shape[0]), np.diff(common.indptr))
    common.data = common.data / (np.sqrt(counts[rows] * counts[common.indices]) + shrink)
    indptr = common.indptr
    for row in np.flatnonzero(np.diff(indptr) > k):
        values = common.data[indptr[row] : indptr[row + 1]]
        # Stable: among equal similarities the earlier item stays.
        values[np.argsort(-values, kind="stable")[k:]] = 0
    common.eliminate_zeros()
    return common
