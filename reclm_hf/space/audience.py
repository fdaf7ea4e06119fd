"""Where a new item would rank for people who are known, without ranking anything anew for each visitor.

An item that nobody has chosen changes no score but its own. So the scores of the catalogue are computed once, and the
rank of a new item is one more than the number of scores above its own: counted, not sorted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..recommender.ranking import block_users, tie_order
from .once import Once

if TYPE_CHECKING:
    from ..recommender.modeling_reclm_recommender import RecLMRecommender
    from .world import World

MOST_USERS = 2_000
MOST_CELLS = 2**25
"""Scores that are kept, float32: 128 MiB. A catalogue of 100,000 items asks 335 users."""

_SEED = 0
_BLOCK = 2**20  # cells compared at a time


class Asked(NamedTuple):
    """The users who are asked about a new item, and their scores.

    users: int64 [n] positions. scores: float32 [n, I] in four groups of columns, -inf for what the user has chosen.
    ends: where the groups end: warm items, those of them that win a tie against a new item, cold items, and those of
    them that win one. Equal scores are ranked by `tie_order`.
    """

    users: np.ndarray
    scores: np.ndarray
    ends: tuple[int, int, int, int]

    @property
    def n_cold(self) -> int:
        return self.ends[3] - self.ends[1]


def ranks(asked: Asked, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of a new item, int64 [n] each: among all that the user has not chosen, and among the cold items of these.

    Args:
        scores: float32 [n], of the item for the users asked.
    """
    counts = np.zeros((len(asked.users), 4), dtype=np.int64)
    level = np.asarray(scores, dtype=np.float32)[:, None]
    # x >= y is x > the number just below y: ties that the other item wins count as well.
    levels = (level, np.nextafter(level, np.float32(-np.inf))) * 2
    block = max(1, _BLOCK // max(1, asked.scores.shape[1]))
    for start in range(0, len(counts), block):
        rows = slice(start, start + block)
        begin = 0
        for group, end in enumerate(asked.ends):
            above = asked.scores[rows, begin:end] > levels[group][rows]
            counts[rows, group] = np.count_nonzero(above, axis=1)
            begin = end
    return 1 + counts.sum(axis=1), 1 + counts[:, 2:].sum(axis=1)


def _ask(world: World) -> Asked:
    model = world.model
    catalog = model.catalog
    known = np.flatnonzero(np.diff(catalog.seen_indptr) > 0)
    most = min(MOST_USERS, max(1, MOST_CELLS // max(1, catalog.n_items)))
    if len(known) > most:
        known = np.sort(np.random.default_rng(_SEED).choice(known, most, replace=False))
    columns, ends = _columns(model)
    column = np.empty(catalog.n_items, dtype=np.int64)
    column[columns] = np.arange(catalog.n_items)
    scores = np.empty((len(known), catalog.n_items), dtype=np.float32)
    size = block_users(catalog.n_items)
    for start in range(0, len(known), size):
        scores[start : start + size] = model.score(known[start : start + size], columns)
    for row, user in enumerate(known):
        scores[row, column[catalog.seen(int(user))]] = -np.inf
    return Asked(known, scores, ends)


def _columns(model: RecLMRecommender) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Positions of all items in the order of the four groups, and where each of these ends."""
    cold = model.item_warm.cpu().numpy() == 0
    order = tie_order(len(cold) + 1)
    group = 2 * cold + (order[:-1] < order[-1])
    first, second, third, fourth = np.cumsum(np.bincount(group, minlength=4)).tolist()
    return np.argsort(group, kind="stable"), (first, second, third, fourth)


asked = Once(_ask)
"""Users with history, at most `MOST_USERS` chosen by a fixed seed, and their scores."""
