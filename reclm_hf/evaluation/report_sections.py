"""Sections of a report beside the results: comparisons, beyond accuracy, and where differences come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .comparisons import ONE_FAMILY
from .report_blocks import Block, Heading, Paragraph, Table
from .report_format import SHORT, bracket, interval_cell, number, ordered_settings, sort_rows

if TYPE_CHECKING:
    import pandas as pd

_COMPARISON_HEAD = [
    *("setting", "metric", "first", "second", "difference", "95 % over users", "95 % over items"),
    *("p", "p (Holm)", "detectable", "verdict"),
]
# Metric of `beyond` -> its format and whether it has an interval.
_BEYOND_FORMS = {
    "coverage": (".4f", False),
    "gini": (".4f", False),
    "novelty": (".2f", True),
    "popularity": (".1f", True),
    "popularity_lift": ("+.2f", True),
    "cold_share": (".4f", True),
}
STRATA_TITLES = {
    "history": "By the number of interactions in the user's history",
    "popularity": "By the number of interactions of the target item in the history",
}


def comparison_section(comparisons: pd.DataFrame) -> list[Block]:
    """The comparisons, one table for each family; the name of a single unnamed family is not shown."""
    found: list[Block] = [Heading("Comparisons")]
    if comparisons.empty:
        return [*found, Paragraph("No comparison was asked for, or no setting had targets.")]
    found.append(Paragraph(f"{_counted(comparisons)} The verdict is about the first row against the second."))
    families = list(dict.fromkeys(comparisons["family"]))
    for family in families:
        members = comparisons[comparisons["family"] == family]
        if families != [ONE_FAMILY]:
            found += [Heading(family, 3), Paragraph(_counted(members))]
        lines = [_comparison_cells(line) for line in members.to_dict("records")]
        found.append(Table([_COMPARISON_HEAD, *lines], f"Comparisons: {family}"))
    return found


def beyond_section(beyond: pd.DataFrame, results: pd.DataFrame) -> list[Block]:
    """Coverage, concentration, novelty and popularity of the lists, one table for each setting, rows as in the results.

    Raises:
        ValueError: a row that is not among the results.
    """
    order = {row["row"]: row["group"] for row in sort_rows(results, ordered_settings(results)[0])}
    for label in beyond["row"]:
        if label not in order:
            raise ValueError(f"{label!r} is no row of the results: choose from {', '.join(order)}.")
    found: list[Block] = [Heading("Beyond accuracy")]
    for setting in ordered_settings(beyond):
        lines: dict[str, dict[str, dict[str, Any]]] = {}
        for line in beyond[beyond["setting"] == setting].to_dict("records"):
            lines.setdefault(line["row"], {})[line["metric"]] = line
        found += _beyond_table(setting, lines, order)
    note = (
        "coverage: share of the candidates that stand in some list. gini: 0 where all candidates are recommended "
        "equally often, towards 1 where few are. novelty: mean -log2 of the share of users who know the item, in bits, "
        "with one user added who knows everything. popularity: mean interactions of the recommended items in the "
        "history. popularity_lift: that mean against the user's own history, +1 is twice as popular. cold_share: "
        "places taken by items without history. Intervals are over users; coverage and gini describe the set of lists "
        "and have none."
    )
    return [*found, Paragraph(note)]


def strata_section(strata: pd.DataFrame) -> list[Block]:
    """Differences within parts of users and of targets: one line a pair, one column a stratum."""
    found: list[Block] = [Heading("Where the difference comes from")]
    if strata.empty:
        return [*found, Paragraph("No comparison was asked for, or the setting had no targets.")]
    for (setting, metric, by), members in strata.groupby(["setting", "metric", "by"], sort=False):
        title = f"{STRATA_TITLES.get(by, by)}: {metric}, {SHORT.get(setting, setting)}"
        found += [Heading(title, 3), Table(_strata_lines(members), title)]
    note = (
        "The head of a column says how many users and test items there are and how much the stratum weighs; the "
        "differences, weighted so, add up to the whole one. Brackets are the wider of the 95 % intervals over users "
        "and over items. They describe: nothing here is corrected for the number of strata."
    )
    return [*found, Paragraph(note)]


def _counted(comparisons: pd.DataFrame) -> str:
    counts = comparisons["verdict"].value_counts()
    shown = ", ".join(f"{counts.get(word, 0)} {word}" for word in ("better", "worse", "not shown"))
    return f"{len(comparisons)} comparisons: {shown}."


def _beyond_table(setting: str, lines: dict[str, dict[str, dict[str, Any]]], order: dict[str, str]) -> list[Block]:
    name = SHORT.get(setting, setting)
    first = next(iter(next(iter(lines.values())).values()))
    if first["reason"]:
        return [Paragraph(f"Lists of {name}: none, {first['reason']}.")]
    head = f"Lists of {name}: {first['n_users']:,} users, {first['n_candidates']:,} candidates."
    metrics = next(iter(lines.values()))
    forms = {metric: _BEYOND_FORMS.get(metric.partition("@")[0], (".4f", True)) for metric in metrics}
    titles = [f"{metric} [95 %]" if with_interval else metric for metric, (_, with_interval) in forms.items()]
    table = [["kind", "row", *titles]]
    for label, group in order.items():
        if label in lines:
            cells = [interval_cell(lines[label][metric], form) for metric, (form, _) in forms.items()]
            table.append([group, label, *cells])
    return [Paragraph(head), Table(table, f"Beyond accuracy, lists of {name}")]


def _strata_lines(members: pd.DataFrame) -> list[list[str]]:
    columns = members.drop_duplicates("stratum").sort_values("place").to_dict("records")
    head = [
        f"{column['stratum']} ({column['n_users']:,} users, {column['n_items']:,} items, {100 * column['share']:.0f} %)"
        for column in columns
    ]
    table = [["first", "second", "all", *head]]
    for (first, second), lines in members.groupby(["a", "b"], sort=False):
        by_stratum = {line["stratum"]: line for line in lines.to_dict("records")}
        cells = [by_stratum[column["stratum"]] for column in columns]
        differences = [f"{number(cell['difference'], '+.4f')} {bracket(cell, '+.4f')}".strip() for cell in cells]
        whole = f"{sum(cell['contribution'] for cell in cells):+.4f}"
        table.append([first, second, whole, *differences])
    return table


def _comparison_cells(line: dict[str, Any]) -> list[str]:
    return [
        SHORT.get(line["setting"], line["setting"]),
        line["metric"],
        line["a"],
        line["b"],
        f"{line['difference']:+.4f}",
        bracket(line, "+.4f", "_users"),
        bracket(line, "+.4f", "_items"),
        f"{line['p']:.4f}",
        f"{line['p_holm']:.4f}",
        number(line["minimal_detectable_effect"]),
        f"**{line['verdict']}**" if line["verdict"] != "not shown" else "not shown",
    ]
