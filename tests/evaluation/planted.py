"""Small splits and models with known scores for the tests of the evaluation."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from reclm_hf.data.splits import Split

Pair = Sequence[int]


def make_split(history: Collection[Pair], targets: Collection[Pair], n_users: int, n_items: int) -> Split:
    """A split of (user, item) pairs; items of the targets that nobody has in the history are cold."""
    history_user, history_item = (np.array(column, dtype=np.int32) for column in _columns(history))
    target_user, target_item = (np.array(column, dtype=np.int32) for column in _columns(targets))
    warm = np.zeros(n_items, dtype=bool)
    warm[history_item] = True
    cold = np.zeros(n_items, dtype=bool)
    cold[target_item] = True
    return Split(
        name="test",
        cut=None,
        user_ids=np.array([f"user-{number:03d}" for number in range(n_users)], dtype=object),
        item_ids=np.array([f"item-{number:03d}" for number in range(n_items)], dtype=object),
        history_user=history_user,
        history_item=history_item,
        history_time=None,
        target_user=target_user,
        target_item=target_item,
        warm=warm,
        cold=cold & ~warm,
        users_without_history=0,
    )


def random_split(seed: int = 0, n_users: int = 60, n_items: int = 90, n_cold: int = 15) -> Split:
    """Random history and targets; the last `n_cold` items are never in the history, some users have no targets."""
    rng = np.random.default_rng(seed)
    known = rng.random((n_users, n_items)) < 0.15
    known[:, n_items - n_cold :] = False
    known[0, : n_items - n_cold] = True  # every other item is warm
    wanted = (rng.random((n_users, n_items)) < 0.1) & ~known
    wanted[rng.random(n_users) < 0.2] = False
    wanted[1, n_items - n_cold :] = True
    return make_split(np.argwhere(known).tolist(), np.argwhere(wanted).tolist(), n_users, n_items)


class FixedScores:
    """A model that reads its scores from a [U, I] matrix and remembers what it was asked for."""

    def __init__(self, scores: np.ndarray, name: str = "fixed") -> None:
        self.scores = np.asarray(scores, dtype=np.float32)
        self.name = name
        self.asked: list[np.ndarray] = []

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        assert users.dtype == np.int64
        assert items.dtype == np.int64
        self.asked.append(users)
        return self.scores[np.ix_(users, items)]


def random_scores(split: Split, seed: int = 0) -> np.ndarray:
    """[U, I] float32 standard normal scores."""
    return np.random.default_rng(seed).standard_normal((split.n_users, split.n_items), dtype=np.float32)


def _columns(pairs: Collection[Pair]) -> tuple[list[int], list[int]]:
    return [user for user, _ in pairs], [item for _, item in pairs]
