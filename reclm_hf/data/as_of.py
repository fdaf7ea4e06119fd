"""The state of a data set at one time, with nothing held back: what profiles for use are written from."""

from __future__ import annotations

import numpy as np

from .interactions import Interactions
from .splits import Split, make_split
from .tables import TableError


def state_as_of(data: Interactions, cut: int | None = None, *, include_test: bool = False) -> Split:
    """All interactions before `cut` as history, and no targets.

    Args:
        cut: int64 microseconds UTC; None: after the last interaction that is taken.
        include_test: take the rows of a test set that the data bring with them for history too.

    Raises:
        TableError: a cut for data without times, or nothing before it.
    """
    history = np.ones(len(data.user), dtype=bool) if data.in_test is None or include_test else ~data.in_test
    if data.timestamp is None:
        if cut is not None:
            raise TableError(f"{data.name}: has no times, so there is no state as of one. Leave the time out.")
    elif cut is not None:
        history = history & (data.timestamp < cut)
    elif history.any():
        cut = int(data.timestamp[history].max()) + 1
    if not history.any():
        raise TableError(f"{data.name}: nothing happened before the given time. Choose a later one.")
    rows = (data.user, data.item, data.timestamp)
    return make_split((data.user_ids, data.item_ids), rows, history, np.zeros_like(history), "as-of", cut)
