"""The leak certificate: nothing in a profile table may come from after its cut."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.splits import Split
from .profile import FUNCTION_WORDS

if TYPE_CHECKING:
    import pandas as pd

_YEAR = re.compile(r"\s*\((\d{4})\)\s*$")
_WORD = re.compile(r"[^\W_]+")
# Beside the articles and prepositions: words that make no title telling.
_EMPTY_WORDS = FUNCTION_WORDS | {"is", "it", "this", "that", "you", "your", "my", "our", "i", "me", "we", "be", "part"}
_SHOWN = 5


class LeakageError(ValueError):
    """A profile table holds something from after its cut; the message names the first rows."""


@dataclass(frozen=True)
class Certificate:
    """What was checked and what failed.

    Attributes:
        split, cut: of which cut (microseconds UTC). rows: profiles checked. items_after: items first seen after it.
        failures: one sentence for each finding, naming user and reason.
    """

    split: str
    cut: int | None
    rows: int
    items_after: int
    failures: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return {
            **asdict(self),
            "passed": self.passed,
            "failures": self.failures[:_SHOWN],
            "n_failures": len(self.failures),
        }

    def require(self) -> None:
        """Raise `LeakageError` unless the table passed."""
        if self.failures:
            shown = " ".join(self.failures[:_SHOWN])
            more = f" ... and {len(self.failures) - _SHOWN} more." if len(self.failures) > _SHOWN else ""
            raise LeakageError(
                f"{len(self.failures)} leaks in profiles for the {self.split} cut: {shown}{more} "
                "Write the profiles again from what is before the cut (`reclm profiles build`)."
            )


def certify(profiles: pd.DataFrame, split: Split, items: pd.DataFrame) -> Certificate:
    """Check a `user_profiles` table against a cut.

    Each evidence item must be in the history, before the cut, of the user or of one of the named neighbours; `as_of`
    must not be after the cut; no profile may hold the title of an item first seen later (titles of two content words
    or more, or any title together with its year).

    Args:
        items: the item table in the order of the split's item rows.
    """
    import pandas as pd

    user_row = {user: row for row, user in enumerate(split.user_ids)}
    item_row = {item: row for row, item in enumerate(split.item_ids)}
    pairs = set((split.history_user.astype(np.int64) * split.n_items + split.history_item).tolist())
    later = np.flatnonzero(~split.warm)
    # What is said of a title that an earlier item bears too is no leak.
    earlier = {_content_words(title) for title in items["title"].to_numpy()[split.warm]}
    titles = [
        (title, words) for title in items["title"].to_numpy()[later] if (words := _content_words(title)) not in earlier
    ]
    failures: list[str] = []
    for row in profiles.itertuples():
        failures += _evidence_leaks(row, split, user_row, item_row, pairs)
        # A profile without a date is not known to be from before the cut.
        if split.cut is not None and (pd.isna(row.as_of) or row.as_of > pd.Timestamp(split.cut, unit="us", tz="UTC")):
            failures.append(f"user {row.user_id!r}: as_of {row.as_of} is not before the cut.")
        failures += [
            f"user {row.user_id!r}: names {title!r}, first seen later."
            for title in _named(row.profile if isinstance(row.profile, str) else "", titles)
        ]
    return Certificate(split.name, split.cut, len(profiles), len(later), failures)


def _evidence_leaks(
    row: Any, split: Split, user_row: dict[str, int], item_row: dict[str, int], pairs: set[int]
) -> list[str]:
    if row.user_id not in user_row:
        return [f"user {row.user_id!r}: is not in the data."]
    neighbors, evidence = ([] if names is None else names for names in (row.neighbors, row.evidence))
    readers = [user_row[user] for user in (row.user_id, *neighbors) if user in user_row]
    leaks = []
    for item in evidence:
        known = item in item_row and any(reader * split.n_items + item_row[item] in pairs for reader in readers)
        if not known:
            leaks.append(f"user {row.user_id!r}: evidence {item!r} is in no history before the cut.")
    return leaks


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def _content_words(title: str) -> tuple[str, ...]:
    return _words(_YEAR.sub("", title))


def _named(profile: str, titles: list[tuple[str, tuple[str, ...]]]) -> list[str]:
    words = _words(profile)
    text = f" {' '.join(words)} "
    found = []
    for title, title_words in titles:
        if not title_words or title_words[0] not in words:
            continue
        phrase = " ".join(title_words)
        telling = len([word for word in title_words if word not in _EMPTY_WORDS]) >= 2
        year = _YEAR.search(title)
        if (telling and f" {phrase} " in text) or (year and f" {phrase} {year[1]} " in text):
            found.append(title)
    return found
