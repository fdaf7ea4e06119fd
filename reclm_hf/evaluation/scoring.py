"""Scores of a model in blocks of users: a users x items matrix never exists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Pairs = tuple[np.ndarray, np.ndarray]

# One block of scores has at most this many cells (2**24 float32 are 64 MiB), however large the catalogue is.
_BLOCK_CELLS = 2**24


class Scorer(Protocol):
    """What can be evaluated: scores of users (int64 [B]) for items (int64 [C]) as float32 [B, C].

    A scorer may also have `block_scorer(items) -> Callable[[users], scores]`, which does once what every block of
    users needs. It must give the scores of `score`; each call may overwrite what the one before gave.
    """

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Block:
    """Scores of some users for all candidates, valid until the next block is asked for.

    Attributes:
        users: [B] int64. scores: [B, C] float32, perhaps read-only; nothing is masked.
        history: [U, I] CSR of what is known. column: [I] int64, see `candidate_columns`.
    """

    users: np.ndarray
    scores: np.ndarray
    history: csr_array
    column: np.ndarray

    @property
    def seen(self) -> Pairs:
        """(rows, columns) of `scores` where the user knows the item."""
        return stored_pairs(self.history[self.users], self.column)


def model_name(model: object) -> str:
    """The model's `name`, or that of its class."""
    name = getattr(model, "name", None)
    return name if isinstance(name, str) and name else type(model).__name__


def score_blocks(
    model: Scorer, users: np.ndarray, items: np.ndarray, history: csr_array, block_size: int
) -> Iterator[Block]:
    """Score `users` for the candidates `items`, at most `block_size` users at a time.

    Args:
        users: [n] int. items: [C] int64. history: [U, I] CSR of the interactions that are known.

    Raises:
        ValueError: scores of another shape than users x items (the message names the model); block_size < 1.
    """
    if block_size < 1:
        raise ValueError(f"block_size={block_size} must be at least 1: it is the number of users scored at a time.")
    column = candidate_columns(items, history.shape[1])
    prepare = getattr(model, "block_scorer", None)
    score: Callable[[np.ndarray], np.ndarray] = prepare(items) if prepare else lambda rows: model.score(rows, items)
    size = max(1, min(block_size, _BLOCK_CELLS // max(1, len(items))))
    for start in range(0, len(users), size):
        block = users[start : start + size].astype(np.int64)
        yield Block(block, _checked_scores(model, score(block), block, items), history, column)


def candidate_columns(items: np.ndarray, n_items: int) -> np.ndarray:
    """[I] int64: the place of each item among the candidates `items`, -1 for the others."""
    column = np.full(n_items, -1, dtype=np.int64)
    column[items] = np.arange(len(items))
    return column


def stored_pairs(rows: csr_array, column: np.ndarray) -> Pairs:
    """(row of the block, column of the candidate) of the stored entries that are candidates."""
    columns = column[rows.indices]
    kept = columns >= 0
    return np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))[kept], columns[kept]


def require_rankable(scores: np.ndarray, model: str) -> None:
    """Raises ValueError, naming the model, where scores are NaN or +inf; -inf is allowed."""
    # NaN and +inf both survive a maximum, so one cheap pass finds the rare bad block.
    if scores.size and not scores.max() < np.inf:
        bad = "NaN" if np.isnan(scores).any() else "+inf"
        raise ValueError(
            f"{model}: the scores contain {bad}, so they cannot be ranked. Check its weights and features; "
            "-inf is the score of an item that must not be recommended."
        )


def _checked_scores(model: Scorer, given: np.ndarray, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    scores = np.asarray(given, dtype=np.float32)
    if scores.shape != (len(users), len(items)):
        raise ValueError(
            f"{model_name(model)}.score gave shape {scores.shape} for {len(users)} users and {len(items)} items: "
            "it must give one row a user and one column an item."
        )
    return scores
