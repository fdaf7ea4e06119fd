"""Users of similar taste: exact cosine over given user vectors, in blocks (RecLM section 2.3.2)."""

from __future__ import annotations

import numpy as np

_BLOCK = 1024
NEIGHBORS = 3


def top_neighbors(vectors: np.ndarray, n: int = NEIGHBORS, *, block: int = _BLOCK) -> np.ndarray:
    """[U, n] int32 rows of the most similar other users, best first; -1 where there is none.

    No U x U matrix is made: memory is `block` x U.

    Args:
        vectors: [U, d] float user vectors; who trained them is not asked. A zero vector (no history) has no
            neighbours and is nobody's neighbour.

    Raises:
        ValueError: n < 1, or vectors that are not finite.
    """
    if n < 1:
        raise ValueError(f"n={n}: ask for at least one neighbour.")
    vectors = np.asarray(vectors, dtype=np.float32)
    if not np.isfinite(vectors).all():
        raise ValueError("The user vectors hold NaN or infinite values; check the model that they come from.")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    known = norms[:, 0] > 0
    unit = vectors / np.where(norms > 0, norms, 1.0)
    allowed = np.flatnonzero(known)
    found = np.full((len(vectors), n), -1, dtype=np.int32)
    width = min(n, max(len(allowed) - 1, 0))
    if width == 0:
        return found
    place = np.full(len(vectors), -1)
    place[allowed] = np.arange(len(allowed))
    for start in range(0, len(vectors), block):
        rows = np.arange(start, min(start + block, len(vectors)))
        scores = unit[rows] @ unit[allowed].T
        own = place[rows] >= 0
        scores[np.flatnonzero(own), place[rows][own]] = -np.inf
        best = np.argpartition(-scores, width - 1, axis=1)[:, :width]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        found[rows, :width] = allowed[np.take_along_axis(best, order, axis=1)]
    found[~known] = -1
    return found
