"""Figures of a manifest as the tables and sentences of a card: the model, beside the floors, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..evaluation.report_format import PRIMARY, SHORT, TITLES
from .card_format import (
    NAME,
    code,
    count,
    figure,
    is_number,
    measure,
    one_line,
    percent,
    plain,
    table,
    with_interval,
    words_of,
)

MOST_ROWS = 60
"""A longer table belongs into a file."""

_GROUPS = ("model", "floor", "mean_user")
_GROUP_WORDS = {"floor": "floor", "model": "model", "mean_user": "mean user of"}
SIDES = ("before", "after", "change")


class Results:
    """The figures of one metric on one split, ready for a template.

    Attributes:
        metric, split: which, as text of the card. rows: label -> setting -> line. settings: in the order of a report.
    """

    def __init__(self, figures: Sequence[Mapping[str, Any]]) -> None:
        splits = sorted({str(line.get("split")) for line in figures})
        split = "test" if "test" in splits else splits[0]
        lines = [line for line in figures if str(line.get("split")) == split]
        metrics = sorted({str(line.get("metric")) for line in lines})
        metric = PRIMARY if PRIMARY in metrics else metrics[0]
        self.split, self.metric = code(split), plain(metric, NAME)
        self.rows: dict[str, dict[str, Mapping[str, Any]]] = {}
        for line in lines:
            if str(line.get("metric")) == metric:
                self.rows.setdefault(str(line.get("row")), {})[str(line.get("setting"))] = line
        present = {setting for cells in self.rows.values() for setting in cells}
        self.settings = [name for name in TITLES if name in present] + sorted(present - set(TITLES))

    @property
    def measured(self) -> list[str]:
        """The settings that have any value."""
        return [name for name in self.settings if any(is_number(self._value(row, name)) for row in self.rows)]

    @property
    def models(self) -> list[str]:
        """Labels of the rows that are models, the best first."""
        return [row for row in self._ordered() if self._kind(row) == "model"]

    @property
    def has_floors(self) -> bool:
        """Whether any floor stands beside the models."""
        return any(self._kind(row) == "floor" for row in self.rows)

    @property
    def has_mean_user(self) -> bool:
        """Whether the model with everybody's mean vector stands beside."""
        return any(self._kind(row) == "mean_user" for row in self.rows)

    @property
    def seeds(self) -> list[int]:
        """How many seeds the model rows are means of."""
        lines = [line for row in self.models for line in self.rows[row].values()]
        return sorted({int(line["n_seeds"]) for line in lines if is_number(line.get("n_seeds"))})

    @property
    def has_intervals(self) -> bool:
        """Whether any value has an interval."""
        return any(is_number(line.get("low")) for cells in self.rows.values() for line in cells.values())

    def table(self, own: bool) -> str:
        """The table of one row a method and one column a setting.

        Args:
            own: whether the models are this repository's, and marked so.
        """
        head = ["", *(SHORT.get(name, plain(name, NAME)) for name in self.measured)]
        body = []
        for row in self._ordered()[:MOST_ROWS]:
            kind, cells = self._kind(row), [self._cell(row, setting) for setting in self.measured]
            mark = own and kind == "model"
            word = "**this model**" if mark else _GROUP_WORDS.get(kind, plain(kind, NAME))
            label = f"{word} {code(row.removesuffix(' (mean user)'))}"
            body.append([label, *(f"**{cell}**" if mark else cell for cell in cells)])
        return table(head, body)

    @property
    def rows_left_out(self) -> int:
        """Rows that the table does not show."""
        return max(0, len(self.rows) - MOST_ROWS)

    def sizes(self) -> list[str]:
        """Users, targets and candidates of each setting, a sentence each."""
        found = []
        for setting in self.measured:
            line = next(cells[setting] for cells in self.rows.values() if setting in cells)
            parts = [
                f"{count(line.get(name))} {word}"
                for name, word in (("n_users", "users"), ("n_targets", "targets"), ("n_candidates", "candidates"))
                if is_number(line.get(name))
            ]
            if parts:
                found.append(f"{SHORT.get(setting, plain(setting, NAME))}: {', '.join(parts)}")
        return found

    def verdicts(self) -> list[str]:
        """For each setting what the model's interval says beside the best floor's; nothing without both."""
        if len(self.models) != 1 or not self.has_floors:
            return []
        (own,) = self.models
        return [said for setting in self.measured if (said := self._verdict(own, setting))]

    def _verdict(self, own: str, setting: str) -> str | None:
        floors = [row for row in self.rows if self._kind(row) == "floor" and is_number(self._value(row, setting))]
        if not floors or not is_number(self._value(own, setting)):
            return None
        best = max(floors, key=lambda row: (self._value(row, setting), row))
        mine, other = self.rows[own][setting], self.rows[best][setting]
        head = (
            f"{SHORT.get(setting, plain(setting, NAME))}: {figure(mine['value'])}, the best floor {code(best)} "
            f"{figure(other['value'])}"
        )
        bounds = [line.get(name) for line in (mine, other) for name in ("low", "high")]
        if not all(map(is_number, bounds)):
            return f"{head}; without intervals nothing can be said of the difference."
        low, high, other_low, other_high = bounds
        if low > other_high:  # type: ignore[operator]
            return f"{head}; above it, the intervals do not meet."
        if high < other_low:  # type: ignore[operator]
            return f"{head}; **below it**, the intervals do not meet."
        return f"{head}; the intervals overlap: no difference is shown by these figures."

    def _ordered(self) -> list[str]:
        """Models, then floors; the best first in what is the first column."""

        def place(row: str) -> tuple[int, float, str]:
            kind = self._kind(row)
            value = self._value(row, self.measured[0]) if self.measured else None
            group = _GROUPS.index(kind) if kind in _GROUPS else len(_GROUPS)
            return (group, -value if value is not None and is_number(value) else 0.0, row)

        return sorted(self.rows, key=place)

    def _kind(self, row: str) -> str:
        return str(next(iter(self.rows[row].values())).get("kind"))

    def _value(self, row: str, setting: str) -> Any:
        return self.rows[row].get(setting, {}).get("value")

    def _cell(self, row: str, setting: str) -> str:
        line = self.rows[row].get(setting, {})
        return with_interval(line, line.get("value"))


def changes_table(measures: Mapping[str, Any]) -> str | None:
    """What a tuning stage changed: one row a measure, before, after and, where it is known, the change; None for none.

    Read are `before`, `after` and `change` (name -> value, or [mean, low, high]), and pairs such as `loss_before`,
    `loss_after`.
    """
    parts = {side: value for side in SIDES if isinstance(value := measures.get(side), Mapping)}
    rows: dict[str, dict[str, str]] = {}
    for side, values in parts.items():
        for name in values:
            rows.setdefault(name, {})[side] = _changed(values[name])
    for name in _paired(measures):
        base, _, side = name.rpartition("_")
        rows.setdefault(base, {})[side] = measure(measures[name])
    if not rows:
        return None
    sides = [side for side in SIDES if any(side in cells for cells in rows.values())]
    head = ["measure", *("change [95 %]" if side == "change" else side for side in sides)]
    return table(head, ([words_of(name), *(rows[name].get(side, "–") for side in sides)] for name in sorted(rows)))


def also_recorded(measures: Mapping[str, Any]) -> str | None:
    """The measures that no table shows, on one line; None for none."""
    paired = _paired(measures)
    found = []
    for name in sorted(measures):
        value = measures[name]
        if name in paired or name in SIDES or value is None or value == "":
            continue
        if is_number(value):
            found.append(f"{words_of(name)} {measure(value)}")
        elif isinstance(value, str | bool):
            found.append(f"{words_of(name)} {code(value)}")
        elif isinstance(value, Mapping):
            found += [
                f"{words_of(name)}, {words_of(key)} {measure(value[key])}"
                for key in sorted(value)
                if is_number(value[key])
            ]
    return ", ".join(found) or None


def _paired(measures: Mapping[str, Any]) -> list[str]:
    """Names such as `loss_before` that stand beside a `loss_after`, and these."""
    bases = [name.removesuffix("_before") for name in measures if name.endswith("_before")]
    both = [base for base in bases if all(is_number(measures.get(f"{base}_{side}")) for side in SIDES[:2])]
    return [f"{base}_{side}" for base in sorted(both) for side in SIDES[:2]]


def _changed(value: Any) -> str:
    """A number, or [mean, low, high]."""
    if isinstance(value, list) and len(value) == 3:
        return _measured({"low": value[1], "high": value[2]}, value[0])
    return measure(value)


def _measured(line: Mapping[str, Any], value: Any) -> str:
    low, high = line.get("low"), line.get("high")
    bracket = f" [{measure(low)}, {measure(high)}]" if is_number(low) and is_number(high) else ""
    return measure(value) + bracket


def accuracy_table(measures: Mapping[str, Any]) -> str | None:
    """Accuracy of a reward model over all pairs and by kind of the worse profile; None where none is known."""
    if not is_number(measures.get("accuracy")):
        return None
    by_kind = {
        name: line for name, line in (measures.get("accuracy_by_kind") or {}).items() if isinstance(line, Mapping)
    }
    order = sorted(by_kind, key=lambda name: (-(by_kind[name].get("pairs") or 0), name))
    lines = [("**all pairs**", measures), *((f"worse one: {words_of(name)}", by_kind[name]) for name in order)]
    rows = [[label, with_interval(line, line.get("accuracy")), count(line.get("pairs"))] for label, line in lines]
    if is_number(measures.get("longer_is_chosen")):
        rows.insert(1, ["floor: the longer reply", figure(measures["longer_is_chosen"]), count(measures.get("pairs"))])
    return table(["held-out pairs", "told apart [95 %]", "pairs"], rows)


def certificates_table(certificates: Sequence[Mapping[str, Any]]) -> str:
    """One row a certificate: what was checked, and what was found."""
    rows = []
    for entry in certificates:
        probe = entry.get("probe") or {}
        found = entry.get("n_failures", len(entry.get("failures") or ()))
        rate = probe.get("false_positive_rate")
        rows.append(
            [
                f"{code(entry['table']) if entry.get('table') else 'profiles'}, {plain(entry.get('split'), NAME)} cut",
                count(entry.get("rows")),
                count(entry.get("items_after")),
                "**no leak found**" if entry.get("passed") else f"**{count(found)} leaks**",
                f"{count(probe.get('titles'))}, named by {count(probe.get('hits'))}" if probe else "not looked for",
                percent(rate),
            ]
        )
    head = ["checked", "rows", "items seen later", "verdict", "later titles", "false positives"]
    return table(head, rows)


def comparison_lines(details: Mapping[str, Any]) -> list[str]:
    """How many comparisons came out which way, where the manifest counts them."""
    counted = details.get("verdicts")
    if not isinstance(counted, Mapping):
        return []
    words = [f"{count(counted[name])} {one_line(name, 40)}" for name in sorted(counted) if is_number(counted[name])]
    return [f"Paired comparisons after Holm's correction: {', '.join(words)}."] if words else []
