"""The leak certificate: nothing in a profile table may come from after its cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ..data.profile_tables import require_profile_columns
from ..data.splits import Split
from .title_probe import TitleProbe, probe_titles
from .trace import listed

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 5
_READ = ("profile", "identities", "interests", "evidence", "neighbors", "as_of")  # of users and items alike


class LeakageError(ValueError):
    """A profile table holds something from after its cut; the message names the first rows."""


@dataclass(frozen=True)
class Certificate:
    """What was checked and what failed.

    Attributes:
        split, cut: of which cut (microseconds UTC). rows: profiles checked. items_after: items first seen after it.
        failures: one sentence for each finding, naming row (1 is the first), user or item, and reason.
        probe: which titles of later items were looked for, and how often such a search errs on this table.
        naming: ids of the profiles that name a later title and have no other fault. redrawn: profiles that did so at
            first and were written again.
    """

    split: str
    cut: int | None
    rows: int
    items_after: int
    failures: list[str] = field(default_factory=list)
    probe: TitleProbe | None = None
    naming: list[str] = field(default_factory=list)
    redrawn: int = 0

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """For a manifest."""
        rate = {} if self.probe is None else {"false_positive_rate": self.probe.false_positive_rate}
        said = {name: value for name, value in asdict(self).items() if name != "naming"}
        return {
            **said,
            "passed": self.passed,
            "failures": self.failures[:_SHOWN],
            "n_failures": len(self.failures),
            "probe": None if self.probe is None else {**asdict(self.probe), **rate},
        }

    def summary(self) -> str:
        """One line for a person."""
        verdict = "no leak found" if self.passed else f"{len(self.failures)} leaks"
        line = f"{self.rows:,} profiles checked against the {self.split} cut: {verdict}"
        return line if self.probe is None else f"{line}; {self.probe.summary()}"

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

    Each evidence item must be in the history, before the cut, of the user or of one of the named neighbours, or, where
    nothing is known of the user (`source` "prior"), have been chosen by anybody before it; a profile written from
    interactions must name its evidence. `as_of` must not be after the cut. No profile may name an item first seen
    later (see `probe_titles`) but one of `source` "stated": a person may name an item that nobody has chosen yet. No
    user may have two profiles.

    Args:
        profiles: `PROFILE_COLUMNS`; without `source`, all are taken for written from interactions.
        items: the item table in the order of the split's item rows.

    Raises:
        TableError: a missing column, named.
    """
    require_profile_columns(profiles, ["user_id", *_READ], f"user profiles for the {split.name} cut")
    known = _Known(split)
    leaks: list[list[str]] = []
    shown: list[list[int]] = []
    for row in profiles.itertuples():
        evidence = listed(row.evidence)
        leaks.append([*_user_leaks(row, evidence, known), *_date_leaks(row.as_of, known)])
        shown.append([known.item[item] for item in evidence if known.is_warm(item)])
    return _certificate(profiles, "user", leaks, shown, split, items)


def certify_items(
    profiles: pd.DataFrame, split: Split, items: pd.DataFrame, user_profiles: pd.DataFrame | None = None
) -> Certificate:
    """Check an `item_profiles` table against a cut.

    Each user of the evidence must have interacted with the item before the cut, each similar item must have been seen
    by then; a profile must name what it was written from. `as_of` must not be after the cut. No profile may name an
    item first seen later but the item itself. No item may have two profiles.

    Args:
        profiles: `ITEM_PROFILE_COLUMNS`.
        items: the item table in the order of the split's item rows.
        user_profiles: the table that phase "interactions" read. Where it is given, it must hold every user of the
            evidence, as of a time not after the cut.

    Raises:
        TableError: a missing column of either table, named.
    """
    require_profile_columns(profiles, ["item_id", "phase", *_READ], f"item profiles for the {split.name} cut")
    if user_profiles is not None:
        require_profile_columns(user_profiles, ["user_id", "as_of"], f"user profiles for the {split.name} cut")
    known = _Known(split)
    read = None if user_profiles is None else dict(zip(user_profiles["user_id"], user_profiles["as_of"], strict=True))
    leaks: list[list[str]] = []
    shown: list[list[int]] = []
    for row in profiles.itertuples():
        leaks.append([*_item_leaks(row, known, read), *_date_leaks(row.as_of, known)])
        own = (row.item_id, *listed(row.neighbors))
        shown.append([known.item[item] for item in own if item in known.item])
    return _certificate(profiles, "item", leaks, shown, split, items)


class _Known:
    """What a split says of ids and histories before its cut."""

    def __init__(self, split: Split) -> None:
        import pandas as pd

        self.user = {str(user): row for row, user in enumerate(split.user_ids)}
        self.item = {str(item): row for row, item in enumerate(split.item_ids)}
        self.cut = None if split.cut is None else pd.Timestamp(split.cut, unit="us", tz="UTC")
        self._warm = split.warm
        self._histories = split.history_matrix()

    def is_warm(self, item: str) -> bool:
        """Whether an item of that id was chosen by anybody before the cut."""
        return item in self.item and bool(self._warm[self.item[item]])

    def chosen_by(self, users: Iterable[str]) -> set[int]:
        """Item rows in the histories of these users, as far as they are in the data."""
        bounds = self._histories.indptr
        rows = [self.user[user] for user in users if user in self.user]
        return {int(item) for row in rows for item in self._histories.indices[bounds[row] : bounds[row + 1]]}


def _user_leaks(row: Any, evidence: Sequence[str], known: _Known) -> Iterator[str]:
    source = getattr(row, "source", "interactions")
    if source not in ("interactions", "stated", "prior"):
        yield f"source {source!r} is none of interactions, stated, prior."
    elif source == "interactions" and row.user_id not in known.user:
        yield "is not in the data."
        return
    elif source == "interactions" and not evidence:
        yield "was written from interactions, but names no evidence."
    if source == "prior":
        yield from (
            f"evidence {item!r} was chosen by nobody before the cut." for item in evidence if not known.is_warm(item)
        )
        return
    chosen = known.chosen_by((row.user_id, *listed(row.neighbors)))
    for item in evidence:
        if known.item.get(item) not in chosen:
            yield f"evidence {item!r} is in no history before the cut."


def _item_leaks(row: Any, known: _Known, read: dict[str, Any] | None) -> Iterator[str]:
    evidence, neighbors = listed(row.evidence), listed(row.neighbors)
    if row.item_id not in known.item:
        yield "is not in the data."
        return
    if row.phase not in ("interactions", "similar_items"):
        yield f"phase {row.phase!r} is neither interactions nor similar_items."
    elif not (evidence if row.phase == "interactions" else neighbors):
        yield f"phase {row.phase}, but names nothing that it was written from."
    for user in evidence:
        if known.item[row.item_id] not in known.chosen_by([user]):
            yield f"evidence: user {user!r} did not choose it before the cut."
        elif read is not None and user not in read:
            yield f"evidence: user {user!r} has no profile in the given table."
        elif read is not None:
            yield from (f"read the profile of user {user!r}, whose {leak}" for leak in _date_leaks(read[user], known))
    yield from (f"similar item {item!r} was first seen later." for item in neighbors if not known.is_warm(item))


def _date_leaks(as_of: Any, known: _Known) -> Iterator[str]:
    import pandas as pd

    # A profile without a date is not known to be from before the cut.
    if known.cut is not None and (pd.isna(as_of) or as_of > known.cut):
        yield f"as_of {as_of} is not before the cut."


def _certificate(
    profiles: pd.DataFrame,
    kind: str,
    leaks: Sequence[list[str]],
    shown: Sequence[list[int]],
    split: Split,
    items: pd.DataFrame,
) -> Certificate:
    texts = [_text(row) for row in profiles.itertuples()]
    named, probe = probe_titles(texts, items, split.warm, shown)
    ids = profiles[f"{kind}_id"]
    failures: list[str] = []
    naming: list[str] = []
    for number, (row, repeated, own, titles) in enumerate(
        zip(profiles.itertuples(), ids.duplicated(), leaks, named, strict=True), start=1
    ):
        found = [f"is a repeated id: keep one profile for each {kind}."] if repeated else []
        found += own
        if titles and getattr(row, "source", None) != "stated":
            if not found:
                naming.append(str(getattr(row, f"{kind}_id")))
            found += [f"names {title!r}, first seen later." for title in titles]
        failures += [f"row {number} ({kind} {getattr(row, f'{kind}_id')!r}): {leak}" for leak in found]
    return Certificate(split.name, split.cut, len(profiles), int((~split.warm).sum()), failures, probe, naming)


def _text(row: Any) -> str:
    """The profile, and what its lists say beside it: all that anybody may read or embed."""
    text = row.profile if isinstance(row.profile, str) else ""
    beside = [phrase for phrase in (*listed(row.identities), *listed(row.interests)) if phrase not in text]
    return ", ".join([text, *beside])
