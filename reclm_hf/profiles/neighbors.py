"""Users of similar taste: exact cosine over given user vectors, in blocks (RecLM section 2.3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_BLOCK = 1024
NEIGHBORS = 3
BY_INTERACTIONS, BY_TEXT, BY_NOTHING = "interactions", "text", "none"


@dataclass(frozen=True)
class Neighbors:
    """Who is similar to whom, and how that is known.

    Attributes:
        rows: [U, n] int32 user rows, best first, -1 where there is none.
        by: [U] str: `interactions`, `text`, or `none` where a user has no neighbour at all.
    """

    rows: np.ndarray
    by: np.ndarray


def find_neighbors(vectors: np.ndarray, text_vectors: np.ndarray | None = None, n: int = NEIGHBORS) -> Neighbors:
    """Neighbours by interactions for users with history, by text for those without.

    Every neighbour is a user with history: nobody can be described by the choices of somebody who made none.

    Args:
        vectors: [U, d] float user vectors; a zero vector says that the user has no history.
        text_vectors: [U, d_t] float, or None. Of users with history, the mean of the text vectors of their items; of
            the others, the vector of what they said they like. A zero vector says that there is no text.

    Raises:
        ValueError: n < 1, vectors that are not finite, or two tables of different length.
    """
    rows = top_neighbors(vectors, n)
    by = np.where(rows[:, 0] >= 0, BY_INTERACTIONS, BY_NOTHING)
    if text_vectors is None:
        return Neighbors(rows, by)
    if len(text_vectors) != len(rows):
        raise ValueError(f"{len(text_vectors)} text vectors for {len(rows)} users: give one for each, zero for none.")
    known = _unit(vectors, n)[1]
    texts = np.asarray(text_vectors, dtype=np.float32)
    asking = np.flatnonzero(~known)
    rows[asking] = nearest_by_text(texts[asking], np.where(known[:, None], texts, 0.0), n)
    by[asking] = np.where(rows[asking, 0] >= 0, BY_TEXT, BY_NOTHING)
    return Neighbors(rows, by)


def nearest_by_text(asking: np.ndarray, known: np.ndarray, n: int = NEIGHBORS) -> np.ndarray:
    """[Q, n] int32 rows of `known` that are most similar to each of the people `asking`, best first; -1 for none.

    Args:
        asking: [Q, d_t] text vectors of people without history. known: [U, d_t] those of users with one. A zero row
            says that there is no text: it finds nobody, and nobody finds it.

    Raises:
        ValueError: n < 1, or vectors that are not finite.
    """
    (queries, said), (unit, offered) = _unit(asking, n), _unit(known, n)
    rows, people = np.flatnonzero(offered), np.flatnonzero(said)
    found = np.full((len(queries), n), -1, dtype=np.int32)
    found[people] = _nearest(queries[people], unit[rows], rows, n, np.full(len(people), -1), _BLOCK)
    return found


def top_neighbors(vectors: np.ndarray, n: int = NEIGHBORS, *, block: int = _BLOCK) -> np.ndarray:
    """[U, n] int32 rows of the most similar other users, best first; -1 where there is none.

    No U x U matrix is made: beside the vectors and the result, memory is `block` x `block`. Of equally similar users
    the one in the lower row comes first.

    Args:
        vectors: [U, d] float user vectors; who trained them is not asked. A zero vector (no history) has no
            neighbours and is nobody's neighbour.

    Raises:
        ValueError: n < 1, or vectors that are not finite.
    """
    unit, known = _unit(vectors, n)
    allowed = np.flatnonzero(known)
    found = np.full((len(unit), n), -1, dtype=np.int32)
    found[allowed] = _nearest(unit[allowed], unit[allowed], allowed, n, np.arange(len(allowed)), block)
    return found


def _unit(vectors: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 rows of length 1 (zero rows stay), and [U] bool: which rows are not zero."""
    if n < 1:
        raise ValueError(f"n={n}: ask for at least one neighbour.")
    vectors = np.asarray(vectors, dtype=np.float32)
    if not np.isfinite(vectors).all():
        raise ValueError("The user vectors hold NaN or infinite values; check the model that they come from.")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1.0), norms[:, 0] > 0


def _nearest(
    queries: np.ndarray, offered: np.ndarray, names: np.ndarray, n: int, own: np.ndarray, block: int
) -> np.ndarray:
    """[Q, n] names of the `offered` rows with the largest product, -1 where there are fewer.

    The scores of a block against a block are made, and of them only those that beat a query's n-th best so far are
    looked at: after the first blocks, hardly any.

    Args:
        own: [Q] the place of each query among `offered`, which is passed over; -1 for none.
    """
    found = np.full((len(queries), n), -1, dtype=np.int32)
    for start in range(0, len(queries), block):
        stop = min(start + block, len(queries))
        best = np.full((stop - start, n), -np.inf, dtype=np.float32)
        places = np.full((stop - start, n), -1, dtype=np.int64)
        for first in range(0, len(offered), block):
            scores = queries[start:stop] @ offered[first : first + block].T
            column = own[start:stop] - first
            itself = np.flatnonzero((column >= 0) & (column < scores.shape[1]))
            scores[itself, column[itself]] = -np.inf
            _merge(scores, first, best, places)
        found[start:stop] = np.append(names, -1)[places]  # -1 is the last place
    return found


def _merge(scores: np.ndarray, first: int, best: np.ndarray, places: np.ndarray) -> None:
    """Put the scores [B, C] that beat the last of `best` [B, n] in their place there; `scores` is used up."""
    n = best.shape[1]
    rows = np.flatnonzero(scores.max(axis=1) > best[:, -1])
    for _ in range(n):
        column = scores[rows].argmax(axis=1)
        better = scores[rows, column] > best[rows, -1]
        rows, column = rows[better], column[better]
        if not len(rows):
            return
        values = np.column_stack([best[rows], scores[rows, column]])
        order = np.argsort(-values, axis=1, kind="stable")[:, :n]
        best[rows] = np.take_along_axis(values, order, axis=1)
        places[rows] = np.take_along_axis(np.column_stack([places[rows], column + first]), order, axis=1)
        scores[rows, column] = -np.inf
