"""Two consecutive snapshots of a log, the first to learn from, the second to test on (section 6.1 of the paper)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..tables import TableError

if TYPE_CHECKING:
    import pandas as pd

_KINDS = {"D": ("day", "2019-11-13"), "Y": ("year", "2005")}


@dataclass(frozen=True)
class Snapshots:
    """The two periods of a cut, each a calendar day or year in UTC; train ends before test begins."""

    train: pd.Period
    test: pd.Period

    @property
    def test_cut(self) -> int:
        """The first microsecond (since 1970, UTC) of the test period."""
        return int(self.test.start_time.value) // 1000

    def notes(self, max_users: int | None) -> list[str]:
        """What `dataset.json` says about the cut."""
        notes = [f"train = {self.train}, test = {self.test} (UTC); users with interactions in both periods only."]
        if max_users is not None:
            notes.append(f"At most {max_users:,} of these users, drawn by a hash of their ids.")
        return notes


def choose_snapshots(
    train: str | None, test: str | None, frequency: str, source: str, last: str | None = None
) -> Snapshots:
    """The periods that were asked for; by default the last one of the data, and the one before it.

    Args:
        train, test: such as `2019-11-13` or `2005`. One of them names the other: its neighbour.
        frequency: `D` for days, `Y` for years.
        last: the last period of the data, used where neither is given.

    Raises:
        TableError: not a period, or train is not before test.
    """
    if test is not None:
        second = _period(test, frequency, source, "--test-period")
    elif train is not None:
        second = _period(train, frequency, source, "--train-period") + 1
    else:
        second = _period(str(last), frequency, source, "--test-period")
    first = second - 1 if train is None else _period(train, frequency, source, "--train-period")
    if first >= second:
        raise TableError(f"{source}: the train period {first} is not before the test period {second}. Swap them.")
    return Snapshots(first, second)


def _period(text: str, frequency: str, source: str, option: str) -> pd.Period:
    import pandas as pd

    kind, example = _KINDS[frequency]
    try:
        period = pd.Period(text, frequency)
    except ValueError:
        period = None
    if period is None or str(period) != text:
        raise TableError(f"{source}: {option} {text!r} is not a {kind}; write it like {example}.")
    return period


def users_in_both(
    user: pd.Series,
    in_test: np.ndarray,
    snapshots: Snapshots,
    source: str,
    present: Collection[str],
    max_users: int | None,
) -> np.ndarray:
    """[n] bool: rows of the users with rows in both periods.

    Args:
        user: [n] ids of the rows that lie in one of the periods. in_test: [n] bool, which one.
        present: the periods that the data have, for the error.
        max_users: keep so many users, drawn by a hash of their ids.

    Raises:
        ValueError: fewer than one user asked for.
        TableError: a period without rows, or nobody is in both.
    """
    if max_users is not None and max_users < 1:
        raise ValueError(f"max_users={max_users}: at least one user is needed; leave it out to keep all.")
    for period, rows in ((snapshots.train, ~in_test), (snapshots.test, in_test)):
        if not rows.any():
            raise TableError(
                f"{source}: no interactions in {period}; there are some in {', '.join(sorted(present)) or 'none'}. "
                "Choose others with `--train-period` and `--test-period`."
            )
    both = np.intersect1d(user[~in_test].unique(), user[in_test].unique())
    if not len(both):
        raise TableError(f"{source}: nobody is active in both {snapshots.train} and {snapshots.test}. Choose others.")
    if max_users is not None and max_users < len(both):
        drawn = sorted(both.tolist(), key=lambda user_id: hashlib.sha256(str(user_id).encode()).digest())
        both = np.array(drawn[:max_users], dtype=both.dtype)
    return user.isin(both).to_numpy()
