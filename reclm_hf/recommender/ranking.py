"""From scores to ranked lists: ties, the k best, seen items, blocks of users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

# One block of scores: 2**22 float32 cells are 16 MiB. Larger blocks are slower, their memory is fetched anew each time.
BLOCK_CELLS = 2**22
# So many users at least, or a model would look all its items up again for a handful of them.
BLOCK_USERS = 16
# Rows of so many columns are ranked one by one, by the maxima of chunks: below, many rows at once are faster.
_LONG_ROW = 2**15
_CHUNKS_A_PLACE = 64  # chunks for each of the k places; with more of them, fewer cells lie above the bound
_NAN = "scores contain NaN: they cannot be ranked; check the model's weights and features"


def block_users(n_items: int) -> int:
    """How many users are scored at a time against `n_items` items, so that memory stays bounded."""
    return max(BLOCK_USERS, BLOCK_CELLS // max(1, n_items))


@lru_cache(maxsize=4)
def tie_order(n_items: int, seed: int = 0) -> np.ndarray:
    """Rank of each item among items of equal score, int64 [n_items]: a permutation, the lower rank comes first.

    Ids often carry age, so ties must not be broken by position. The ranks come from one stream of random numbers,
    so items appended later do not change the order among the earlier ones. The array is remembered and read-only.
    """
    draws = np.random.default_rng(seed).random(n_items)
    order = np.empty(n_items, dtype=np.int64)
    order[np.argsort(draws, kind="stable")] = np.arange(n_items, dtype=np.int64)
    order.flags.writeable = False
    return order


@lru_cache(maxsize=4)
def every_item(n_items: int) -> np.ndarray:
    """The positions of all items, int64 [n_items]; remembered and read-only."""
    positions = np.arange(n_items, dtype=np.int64)
    positions.flags.writeable = False
    return positions


def all_in_order(items: np.ndarray, n_items: int) -> bool:
    """Whether `items` (int64 [C]) are all the positions below `n_items` in order, so that tables need no copy."""
    if len(items) != n_items:
        return False
    if items is every_item(n_items):
        return True
    return n_items == 0 or bool(items[0] == 0 and items[-1] == n_items - 1 and (items[1:] > items[:-1]).all())


def top_k(scores: np.ndarray, k: int, tie_order: np.ndarray) -> np.ndarray:
    """Columns of the k highest scores of each row, best first, int64 [B, min(k, C)].

    `scores` is [B, C]; `tie_order` [C] decides among equal scores (lower first), also at the k-th place, so the
    result depends on nothing else. Entries of -inf are allowed and come last.

    Raises ValueError where k < 1, where the shapes disagree, or where a score is NaN.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if scores.ndim != 2 or tie_order.shape != (scores.shape[1],):
        raise ValueError(f"scores must be [B, C] and tie_order [C], got {scores.shape} and {tie_order.shape}")
    n_rows, n_columns = scores.shape
    k = min(k, n_columns)
    if n_rows == 0 or k == 0:
        return np.empty((n_rows, k), dtype=np.int64)
    if n_columns >= _LONG_ROW and k * _CHUNKS_A_PLACE <= n_columns // 2:
        return np.stack([_top_of_long(row, k, tie_order) for row in scores])
    if np.isnan(scores).any():
        raise ValueError(_NAN)
    return _top(scores, k, tie_order)


def _top_of_long(scores: np.ndarray, k: int, tie_order: np.ndarray) -> np.ndarray:
    """`top_k` of one row of many columns, [C] -> int64 [k]: the plain rule on the few cells that can be among them.

    The maxima of chunks are scores of different cells, so the k-th highest score is no lower than the k-th highest
    maximum. Here chunk j holds the columns j, j + n, j + 2 n and so on, out of n chunks.
    """
    n_chunks = k * _CHUNKS_A_PLACE
    whole = len(scores) // n_chunks * n_chunks
    maxima = scores[:whole].reshape(-1, n_chunks).max(axis=0)  # NaN where a chunk holds one
    if np.isnan(maxima).any() or np.isnan(scores[whole:]).any():
        raise ValueError(_NAN)
    bound = np.partition(maxima, n_chunks - k)[n_chunks - k]
    near = np.flatnonzero(scores >= bound)
    return near[_top(scores[None, near], k, tie_order[near])[0]]


def _top(scores: np.ndarray, k: int, tie_order: np.ndarray) -> np.ndarray:
    """`top_k` where 1 <= k <= C and no score is NaN."""
    n_rows, n_columns = scores.shape
    threshold = np.partition(scores, n_columns - k, axis=1)[:, n_columns - k, None]
    chosen = scores >= threshold
    # Most rows have exactly k such scores; only the others need the order of ties to tell who is in.
    crowded = np.flatnonzero(np.count_nonzero(chosen, axis=1) > k)
    if len(crowded):
        chosen[crowded] = _first_of_the_tied(scores[crowded], threshold[crowded], k, tie_order)
    positions = np.flatnonzero(chosen).reshape(n_rows, k) % n_columns
    positions = np.take_along_axis(positions, np.argsort(tie_order[positions], axis=1), axis=1)
    best_first = np.argsort(-np.take_along_axis(scores, positions, axis=1), axis=1, kind="stable")
    return np.take_along_axis(positions, best_first, axis=1)


def _first_of_the_tied(scores: np.ndarray, threshold: np.ndarray, k: int, tie_order: np.ndarray) -> np.ndarray:
    """Which k cells of each row are its highest, bool [B, C]; at the threshold [B, 1] the first in tie order."""
    columns = np.argsort(tie_order, kind="stable")
    chosen = scores > threshold
    free = k - np.count_nonzero(chosen, axis=1)
    level = np.take(scores == threshold, columns, axis=1)
    rows, places = np.nonzero(level & (np.cumsum(level, axis=1, dtype=np.int32) <= free[:, None]))
    chosen[rows, columns[places]] = True
    return chosen


@dataclass
class Recommendations:
    """Ranked lists, one a user, best item first; a list is shorter than k where fewer items could be recommended."""

    user_ids: list[str]
    item_ids: list[list[str]]
    titles: list[list[str]]
    scores: list[list[float]]

    def to_frame(self) -> pd.DataFrame:
        """One row a recommendation: user_id, rank (from 1), item_id, title, score."""
        import pandas as pd

        rows = [
            (user, rank, *entry)
            for user, *lists in zip(self.user_ids, self.item_ids, self.titles, self.scores, strict=True)
            for rank, entry in enumerate(zip(*lists, strict=True), start=1)
        ]
        return pd.DataFrame(rows, columns=["user_id", "rank", "item_id", "title", "score"])


class RankedBlock(NamedTuple):
    """Ranked lists of some users, one list after the other.

    users: int64 [B] positions. counts: int64 [B] lengths of their lists. items: int64 [sum(counts)] positions, best
    first within a list. scores: float32 [sum(counts)].
    """

    users: np.ndarray
    counts: np.ndarray
    items: np.ndarray
    scores: np.ndarray


def rank_blocks(
    score: Callable[[np.ndarray, np.ndarray], np.ndarray],
    users: np.ndarray,
    items: np.ndarray,
    k: int,
    *,
    ties: np.ndarray,
    seen: tuple[np.ndarray, np.ndarray] | None,
    block: int,
) -> Iterator[RankedBlock]:
    """The k best of `items` (int64 [C]) for each of `users` (int64 [U]), `block` users at a time.

    Args:
        score: (users [B], items [C]) -> [B, C]; -inf says that the item must not be shown.
        ties: int64 [n_items], see `tie_order`.
        seen: indptr and indices of the seen items of all users, which are left out; None leaves nothing out.

    Raises:
        ValueError: k < 1, or scores that are NaN or +inf.
    """
    every = all_in_order(items, len(ties))
    order = ties if every else ties[items]
    column = None if every or seen is None else _columns_of(items, len(ties))
    for start in range(0, len(users), block):
        chosen = users[start : start + block]
        scores = np.asarray(score(chosen, items), dtype=np.float32)
        if seen is not None:
            scores = scores.copy()  # the model may own what it returned
            _mask_seen(scores, chosen, column, *seen)
        columns = top_k(scores, k, order)
        values = np.take_along_axis(scores, columns, axis=1)
        if np.isposinf(values).any():
            raise ValueError("scores contain +inf: they cannot be shown; check the model's weights and features")
        kept = np.isfinite(values)
        yield RankedBlock(chosen, np.count_nonzero(kept, axis=1), items[columns[kept]], values[kept])


def _columns_of(items: np.ndarray, n_items: int) -> np.ndarray:
    """int32 [n_items], where each item stands among `items`, or -1."""
    column = np.full(n_items, -1, dtype=np.int32)
    column[items] = np.arange(len(items), dtype=np.int32)
    return column


def _mask_seen(
    scores: np.ndarray, users: np.ndarray, column: np.ndarray | None, indptr: np.ndarray, indices: np.ndarray
) -> None:
    """Set the cells of seen items to -inf. column: see `_columns_of`; None where every item has its own place."""
    counts = indptr[users + 1] - indptr[users]
    rows = np.repeat(np.arange(len(users)), counts)
    # Places within `indices`: each user's run starts at indptr[user].
    places = np.arange(len(rows)) + np.repeat(indptr[users] - (np.cumsum(counts) - counts), counts)
    columns = indices[places] if column is None else column[indices[places]]
    shown = columns >= 0
    scores[rows[shown], columns[shown]] = -np.inf
