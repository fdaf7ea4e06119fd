"""What the second turn of a dialogue asks about (the design's section 4): half Yes, half No, drawn alike.

Both are taken from the items that the first turn shows in a neighbour's list. A Yes is in the person's own history too,
and is taken out of the person's list; a No never was in that history. So being shown by a neighbour, which is the
collaborative signal, tells nothing by itself. What a person chooses after the cut is not looked at: some No may become
a Yes later, as in any sampling of negatives.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

POPULARITY_RATIO = 1.25
"""How much more popular one item of a matched pair may be than the other."""

FEWEST_ITEMS = 2
"""The person's list holds as many items at least."""

UNFIT = "does not fit the tokens"

SHORTCUTS = ("popularity", "shown_by", "had_by", "place", "read")


class Skip(Exception):
    """No dialogue can be made of a user; the message is the reason as it is counted."""


def user_rng(seed: int, user_id: str) -> np.random.Generator:
    """A generator of one user's own: nobody else's draws, and no order of rows, change it."""
    digest = hashlib.sha256(f"{seed}\x00{user_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def pools(
    shown: Sequence[Sequence[int]], own: Collection[int], excluded: Collection[int], item_ids: np.ndarray
) -> tuple[list[int], list[int]]:
    """Items that may be asked about: those of the own history, and the others; in the order of their ids.

    Args:
        shown: the neighbours' lists as the first turn shows them. own: the person's whole history.
        excluded: items that must not be asked about.

    Raises:
        Skip: one of the two is empty.
    """
    there = sorted({item for items in shown for item in items}, key=lambda item: str(item_ids[item]))
    if not any(item in own for item in there):
        raise Skip("no item in common with what neighbours are shown with")
    allowed = [item for item in there if item not in excluded]
    positives = [item for item in allowed if item in own]
    negatives = [item for item in allowed if item not in own]
    if not positives:
        raise Skip("the profile was written from every item in common")
    if not negatives:
        raise Skip("no other item of a neighbour's to ask about")
    return positives, negatives


def draw_pairs(
    positives: Sequence[int],
    negatives: Sequence[int],
    n: int,
    rng: np.random.Generator,
    popularity: np.ndarray | None = None,
) -> list[tuple[int, int]]:
    """Up to `n` pairs (Yes, No), no item twice.

    Args:
        popularity: [I] interactions before the cut; given, only pairs of similar popularity are drawn, where the
            person's own interaction with the Yes does not count.

    Raises:
        Skip: no pair is of similar popularity.
    """
    if popularity is None:
        yes, no = rng.permutation(positives).tolist(), rng.permutation(negatives).tolist()
        return list(zip(yes, no, strict=False))[:n]
    allowed = [
        (yes, no)
        for yes in positives
        for no in negatives
        if abs(math.log(popularity[yes] / (popularity[no] + 1))) <= math.log(POPULARITY_RATIO)
    ]
    if not allowed:
        raise Skip("no pair of similar popularity")
    drawn: list[tuple[int, int]] = []
    taken: set[int] = set()
    for place in rng.permutation(len(allowed)).tolist():
        if len(drawn) < n and not taken & set(allowed[place]):
            drawn.append(allowed[place])
            taken.update(allowed[place])
    return drawn


def take_out(target: Sequence[int], pairs: Sequence[tuple[int, int]]) -> tuple[list[int], list[tuple[int, int]]]:
    """The person's list without what is asked about as a Yes, and the pairs for which enough of it is left.

    Raises:
        Skip: not even one pair leaves `FEWEST_ITEMS`.
    """
    left, kept = list(target), []
    for yes, no in pairs:
        rest = [item for item in left if item != yes]
        if len(rest) >= FEWEST_ITEMS:
            left = rest
            kept.append((yes, no))
    if not kept:
        raise Skip("nothing left of the history once the Yes is taken out")
    return left, kept


def shortcut_aucs(facts: pd.DataFrame) -> dict[str, float]:
    """How well single facts tell Yes from No: the area under the ROC curve, .5 for not at all.

    Args:
        facts: of `Instructions`. Columns `label` and `SHORTCUTS`: how many others chose the candidate, how many
            neighbours show it and have it, its best place in their lists (recent ones score high), whether the person's
            profile was written from it.
    """
    labels = facts["label"].to_numpy(dtype=bool)
    yes, no = int(labels.sum()), int((~labels).sum())
    if not yes or not no:
        return dict.fromkeys(SHORTCUTS, float("nan"))
    ranks = {name: facts[name].astype("float64").rank().to_numpy() for name in SHORTCUTS}
    return {name: float((rank[labels].sum() - yes * (yes + 1) / 2) / (yes * no)) for name, rank in ranks.items()}
