"""What stands in the place of a profile vector: the LLM's profile, or a placebo that tells what it was worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_QUARTILES = (0.25, 0.5, 0.75)
# Modes that need no written profile.
UNWRITTEN = ("none", "raw_text")
_BLOCK_ROWS = 1024


@dataclass(frozen=True)
class ProfileSide:
    """The users, or the items, of one model: n rows.

    Attributes:
        written: [n, profile_dim] centred embedded profiles, zero rows for those without one; None where none exist.
        raw_text: [n, d_t] means of text vectors: of a user's history, or an item's own text.
        history: [n, m] SciPy CSR of ones, interactions of each row; statistics are over rows that have some, since
            items without history may be from after the cut.
    """

    written: np.ndarray | None
    raw_text: np.ndarray
    history: Any

    @property
    def known(self) -> np.ndarray:
        """[n] bool, rows with interactions."""
        return np.diff(self.history.indptr) > 0


def profile_vectors(mode: str, side: ProfileSide, seed: int = 0) -> np.ndarray | None:
    """[n, profile_dim] float32 vectors of one side for a profile mode, or None for `none`.

    - `llm`: the written profiles; `masked_titles` too, from a table that was written with titles replaced by ids.
    - `constant`: everybody has the mean profile; the base's twin in parameters.
    - `random`: draws from a normal distribution with the mean and covariance of the written profiles.
    - `shuffled`: written profiles permuted among rows whose numbers of interactions are in the same quartile.
    - `neighbour`: the written profile of the row with the most similar interactions (cosine), not one's own.
    - `raw_text`: the mean text vector of the history.

    Rows without a written profile stay zero in all modes but `constant` and `raw_text`.

    Raises:
        ValueError: an unknown mode, or profiles that the mode needs are missing.
    """
    if mode == "none":
        return None
    if mode == "raw_text":
        return side.raw_text
    if mode not in ("llm", "masked_titles", "constant", "random", "shuffled", "neighbour"):
        raise ValueError(f"profile_mode={mode!r} is not known.")
    llm = side.written
    if llm is None:
        raise ValueError(f"profile_mode={mode!r} needs written profiles: run `reclm profiles build` first.")
    if mode in ("llm", "masked_titles"):
        return llm
    rows = np.flatnonzero(np.abs(llm).sum(axis=1) > 0)
    basis = llm[rows[side.known[rows]]]
    if mode == "constant":
        return np.broadcast_to(basis.mean(axis=0), llm.shape).astype(np.float32)
    rng = np.random.default_rng(seed)
    placed = np.zeros_like(llm)
    if mode == "random":
        placed[rows] = _drawn_alike(basis, len(rows), rng)
    elif mode == "shuffled":
        placed[rows] = llm[_shuffled(rows, np.diff(side.history.indptr)[rows], rng)]
    else:
        placed[rows] = llm[_nearest(rows, side.history)]
    return placed


def _drawn_alike(vectors: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """[count, d] draws from a normal distribution with the mean and covariance of vectors [n, d]."""
    covariance = np.cov(vectors, rowvar=False, bias=True).reshape(vectors.shape[1], -1)
    values, directions = np.linalg.eigh(covariance)
    scaled = directions * np.sqrt(np.maximum(values, 0.0))
    drawn = rng.standard_normal((count, vectors.shape[1])) @ scaled.T
    return (vectors.mean(axis=0) + drawn).astype(np.float32)


def _shuffled(rows: np.ndarray, length: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    # Within quartiles of history length, because the length itself says something about a user.
    quartile = np.searchsorted(np.quantile(length, _QUARTILES), length, side="right")
    source = rows.copy()
    for number in range(4):
        members = np.flatnonzero(quartile == number)
        source[members] = rows[rng.permutation(members)]
    return source


def _nearest(rows: np.ndarray, history: Any) -> np.ndarray:
    """The other row with the highest cosine of interactions; without any in common, the next row."""
    chosen = history[rows]
    length = np.sqrt(np.maximum(np.diff(chosen.indptr), 1)).astype(np.float32)
    source = np.empty(len(rows), dtype=np.int64)
    for start in range(0, len(rows), _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, len(rows))
        similarity = (chosen[start:stop] @ chosen.T).toarray()
        similarity /= length
        similarity[np.arange(stop - start), np.arange(start, stop)] = -1.0
        best = similarity.argmax(axis=1)
        following = (np.arange(start, stop) + 1) % len(rows)
        source[start:stop] = np.where(similarity.max(axis=1) > 0, best, following)
    return rows[source]
