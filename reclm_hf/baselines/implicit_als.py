"""Latent factors of implicit feedback by alternating least squares (Hu, Koren and Volinsky 2008)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

ALPHA = 10.0
ITERATIONS = 10
# Rows whose systems are built at once: 4,096 systems of rank 32 are 16 MiB.
_BLOCK_ROWS = 4096


def als_factors(history: csr_array, rank: int, shrinkage: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Factors x, y that minimise sum_ui c_ui (p_ui - x_u y_i)^2 + ridge (|x|^2 + |y|^2).

    Preference p is 1 for a pair of the history and 0 otherwise, confidence c = 1 + ALPHA p (Hu et al. 2008, eq. 3).
    The ridge is `shrinkage` times the largest singular value of the matrix of c p: at 1 all factors vanish, whatever
    the size of the data. Rows without history have zero factors. Needs 4 max(U, I) rank^2 bytes.

    Args:
        history: [U, I] binary, not empty. rank: >= 1. shrinkage: in (0, 1). seed: of the first item factors.

    Returns:
        Users [U, rank] and items [I, rank], float32.

    Raises:
        ValueError: a rank or a shrinkage outside its range.
    """
    if rank < 1 or not 0 < shrinkage < 1:
        raise ValueError(f"rank={rank} must be at least 1 and shrinkage={shrinkage} between 0 and 1")
    ridge = shrinkage * (1 + ALPHA) * _largest_singular_value(history)
    users, items = history.tocsr(), history.T.tocsr()
    draws = np.random.default_rng(seed).standard_normal((history.shape[1], rank))
    y = (draws / rank).astype(np.float32)
    for _ in range(ITERATIONS):
        x = _half_step(users, y, ridge)
        y = _half_step(items, x, ridge)
    return x, y


def _half_step(matrix: csr_array, other: np.ndarray, ridge: float) -> np.ndarray:
    """Factors of the rows of `matrix` given those of its columns (Hu et al. 2008, eq. 4): float32 [rows, rank]."""
    rank = other.shape[1]
    common = other.T @ other + np.float32(ridge) * np.eye(rank, dtype=np.float32)
    # Line i holds y_i y_i', so that one sparse product adds them up for each row.
    outer = (other[:, :, None] * other[:, None, :]).reshape(len(other), rank * rank)
    found = np.empty((matrix.shape[0], rank), dtype=np.float32)
    for start in range(0, matrix.shape[0], _BLOCK_ROWS):
        block = matrix[start : start + _BLOCK_ROWS]
        systems = common + np.float32(ALPHA) * (block @ outer).reshape(-1, rank, rank)
        right = np.float32(1 + ALPHA) * (block @ other)
        found[start : start + _BLOCK_ROWS] = np.linalg.solve(systems, right[:, :, None])[:, :, 0]
    return found


def _largest_singular_value(history: csr_array, steps: int = 30) -> float:
    """By power iteration; from a vector of ones it cannot miss the leading vector of a matrix without negatives."""
    vector = np.ones(history.shape[1])
    for _ in range(steps):
        vector = history.T @ (history @ vector)
        vector /= np.linalg.norm(vector)
    return float(np.linalg.norm(history @ vector))
