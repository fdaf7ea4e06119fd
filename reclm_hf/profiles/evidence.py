"""What a user's profile is written from: own history and what similar users chose, all from before the cut (eq. 5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..data.splits import Split

if TYPE_CHECKING:
    from .prompts import ItemLine

HISTORY_ITEMS = 10
NEIGHBOR_ITEMS = 2


@dataclass(frozen=True)
class UserEvidence:
    """What one profile is written from: rows of items and users.

    Attributes:
        whole: the user's whole history, most recent first. history: the part of it that a prompt shows.
        similar: items of the neighbours that the user does not have.
    """

    user: int
    whole: list[int]
    history: list[int]
    similar: list[int]
    neighbors: list[int]


def collect_evidence(
    split: Split,
    neighbors: np.ndarray,
    users: Sequence[int] | np.ndarray,
    *,
    history_items: int = HISTORY_ITEMS,
    neighbor_items: int = NEIGHBOR_ITEMS,
) -> list[UserEvidence]:
    """The latest items of each user, and of each neighbour the latest ones that the user does not have.

    Args:
        neighbors: [U, n] int32 user rows, -1 for none; see `find_neighbors`.
    """
    known = histories(split)
    found = []
    for user in users:
        own = known[user]
        touched, similar = set(own), []
        near = [int(other) for other in neighbors[user] if other >= 0]
        for other in near:
            fresh = [item for item in known[other] if item not in touched][:neighbor_items]
            touched.update(fresh)
            similar += fresh
        found.append(UserEvidence(int(user), own, own[:history_items], similar, near))
    return found


def histories(split: Split) -> list[list[int]]:
    """Item rows of every user, most recent first."""
    order = np.argsort(split.history_user, kind="stable")
    items = split.history_item[order]
    ends = np.cumsum(np.bincount(split.history_user, minlength=split.n_users))
    return [part[::-1].tolist() for part in np.split(items, ends[:-1])]


def category_shares(split: Split, lines: Sequence[ItemLine]) -> dict[str, float]:
    """Category -> share of the interactions before the cut that carry it."""
    counts: Counter[str] = Counter()
    for item, count in enumerate(np.bincount(split.history_item, minlength=split.n_items).tolist()):
        if count:
            counts.update(dict.fromkeys(set(lines[item].categories), count))
    return {category: count / len(split.history_item) for category, count in counts.items()}
