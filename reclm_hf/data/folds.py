"""Two halves of a history by time, so that a profile need not be written from the positives it is trained with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .splits import Split
from .tables import TableError

N_FOLDS = 2


def fold_of_rows(split: Split) -> np.ndarray:
    """[n] int8: 0 for the earlier half of the history rows, 1 for the later one.

    Raises:
        TableError: the history has no times, or half of it happened at its first instant.
    """
    if split.history_time is None:
        raise TableError("Folds by time need timestamps: use profile_fit='full' for data without times.")
    # Rows of one instant stay together, or a profile could see half of what happened at once.
    boundary = np.sort(split.history_time)[len(split.history_time) // 2]
    fold = (split.history_time >= boundary).astype(np.int8)
    if fold.all():
        raise TableError(f"{split.name}: half of the interactions are of the first instant: use profile_fit='full'.")
    return fold


def time_folds(split: Split) -> list[Split]:
    """The two folds, each a `Split` whose history is one half, with the same cut and no targets.

    `warm` stays that of the whole history: what is known before the cut.

    Raises:
        TableError: the history has no times.
    """
    fold = fold_of_rows(split)
    return [_part(split, fold == number, f"{split.name}-fold-{number}") for number in range(N_FOLDS)]


def _part(split: Split, chosen: np.ndarray, name: str) -> Split:
    assert split.history_time is not None
    return replace(
        split,
        name=name,
        history_user=split.history_user[chosen],
        history_item=split.history_item[chosen],
        history_time=split.history_time[chosen],
        target_user=split.target_user[:0],
        target_item=split.target_item[:0],
        cold=np.zeros_like(split.cold),
        users_without_history=0,
    )
