"""Features of a history that floors and recommenders share: popularity, history means, centring, text -> popularity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .splits import Split

_DAY = 86_400_000_000  # microseconds


def decay_weights(split: Split, half_life_days: float | None) -> np.ndarray:
    """[n] float64 weight of every history row, 2^(-age / half-life); all ones for None or without timestamps."""
    if half_life_days is None or split.history_time is None:
        return np.ones(len(split.history_user))
    if half_life_days <= 0:
        raise ValueError(f"half_life_days={half_life_days} must be positive (days), or None for plain counts.")
    cut = split.cut if split.cut is not None else int(split.history_time.max())
    return np.exp2((split.history_time - cut) / (half_life_days * _DAY))


def decayed_popularity(split: Split, half_life_days: float | None = None) -> np.ndarray:
    """[I] float32 sum of the decay weights of an item's history rows; plain counts for None."""
    weights = decay_weights(split, half_life_days)
    return np.bincount(split.history_item, weights=weights, minlength=split.n_items).astype(np.float32)


def normalize_rows(vectors: np.ndarray) -> np.ndarray:
    """[n, d] rows scaled to length 1; zero rows stay zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(norms > 0, norms, 1.0)).astype(np.float32)


def history_mean(split: Split, vectors: np.ndarray, half_life_days: float | None = None) -> np.ndarray:
    """[U, d] float32 normalised (decayed) sum of a user's history vectors; zeros for users without history.

    Args:
        vectors: [I, d] item vectors.
    """
    matrix = split.history_matrix()
    if half_life_days is not None:
        order = np.lexsort((split.history_item, split.history_user))
        matrix.data = decay_weights(split, half_life_days)[order].astype(np.float32)
    return normalize_rows(matrix @ np.asarray(vectors, dtype=np.float32))


def center(vectors: np.ndarray, warm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Subtract the mean over warm items and renormalise: ([I, d] float32, mean [d] float32).

    Sentence encoders put all texts of one domain into a narrow cone; without centring most of a cosine is common.
    """
    mean = vectors[warm].mean(axis=0).astype(np.float32)
    return normalize_rows(vectors - mean), mean


@dataclass(frozen=True)
class TextPopularity:
    """A linear map from item vectors to log1p popularity. weight: [d] float32; bias: scalar."""

    weight: np.ndarray
    bias: float

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """[n] float32 expected log1p popularity of items with vectors [n, d]."""
        return (vectors @ self.weight + self.bias).astype(np.float32)


def fit_text_popularity(vectors: np.ndarray, popularity: np.ndarray, warm: np.ndarray, ridge: float) -> TextPopularity:
    """Ridge regression of log1p(popularity) on the vectors of warm items; the intercept is not penalised.

    Args:
        vectors: [I, d]; popularity: [I]; warm: [I] bool; ridge: penalty, > 0.
    """
    if ridge <= 0:
        raise ValueError(f"ridge={ridge} must be positive.")
    x = np.asarray(vectors[warm], dtype=np.float64)
    y = np.log1p(np.asarray(popularity[warm], dtype=np.float64))
    x_mean, y_mean = x.mean(axis=0), y.mean()
    x = x - x_mean
    weight = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ (y - y_mean))
    return TextPopularity(weight.astype(np.float32), float(y_mean - x_mean @ weight))
