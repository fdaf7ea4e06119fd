"""The result tables, the leak certificate and the links as HTML. All figures are those of the tables."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..evaluation.report_format import GROUPS, PRIMARY, TITLES, ordered_settings, sort_rows
from .checks import readable
from .markup import page, shown, table

if TYPE_CHECKING:
    import pandas as pd

GROUP_WORDS = {
    "floor": ("Floors", "what needs no language model and no network: a model that does not beat them adds nothing"),
    "model": ("Models", "none: without profiles; llm: with them"),
    "mean user": ("The same for everybody", "each user vector replaced by the mean: what personalisation is worth"),
    "placebo": (
        "Placebo",
        "profiles that say nothing about the user: what a gain with them is worth is not the profile's",
    ),
}
STRATA_WORDS = {
    "history": "By the length of the user's history",
    "popularity": "By how often the target item had been chosen before",
}


def setting_choices(results: pd.DataFrame) -> list[tuple[str, str]]:
    """(title, name) of the settings that were evaluated."""
    return [(TITLES.get(name, name), name) for name in ordered_settings(results)]


def results_of(results: pd.DataFrame, setting: str, own: str = "") -> str:
    """The primary metric of every row in one setting, with intervals drawn on one scale. own: the row to point at."""
    rows = sort_rows(results, setting)
    if rows[0]["reason"]:
        return page(f"<p>Not evaluated: {shown(rows[0]['reason'])}.</p>")
    first = rows[0]
    top = _scale([row[key] for row in rows for key in ("value", "high")])
    others = [metric for metric in first["values"] if metric != PRIMARY]
    numbers = [(f"{PRIMARY} [95 %]", "n wide"), *((shown(other), "n wide") for other in others)]
    head = [("Row", ""), (_axis(0, top), ""), *numbers]
    bodies = []
    for group in GROUPS:
        members = [row for row in rows if row["group"] == group]
        if members:
            name, meaning = GROUP_WORDS.get(group, (group, ""))
            drawn = "".join(_line(row, top, others, row["row"] == own) for row in members)
            bodies.append(
                f'<tr class="group"><th scope="rowgroup" colspan="{len(head)}">{html.escape(name)}'
                f"<small>{html.escape(meaning)}</small></th></tr>{drawn}"
            )
    return page(
        f'<p class="quiet">{first["n_users"]:,} users of {shown(first["dataset"])} ({shown(first["split"])}), '
        f"{first['n_targets']:,} things that they chose later, {first['n_candidates']:,} candidates to rank.</p>",
        table(head, ["</tbody><tbody>".join(bodies)], "Results"),
        '<p class="quiet">recall@20: the share of what a user chose later that stands among the first 20. The line is '
        "its 95 % interval over users or over items, whichever is wider.</p>",
    )


def _line(row: dict[str, Any], top: float, others: Sequence[str], own: bool) -> str:
    cells = "".join(f'<td class="n wide">{_number(row["values"].get(metric))}</td>' for metric in others)
    value = f"{_number(row['value'])} {_bracket(row)}"
    chip = ' <span class="chip">this one</span>' if own else ""
    return (
        f'<tr class="{row["group"].replace(" ", "-")}"><td class="title">{shown(row["row"])}{chip}</td>'
        f"<td>{_interval(row['value'], row['low'], row['high'], 0, top)}{_narrow(value)}</td>"
        f'<td class="n wide">{value}</td>{cells}</tr>'
    )


def comparisons_of(comparisons: pd.DataFrame | None, setting: str, own: str = "") -> str:
    """Differences with their intervals, each against what it must beat; those of the row `own` first, if it has any."""
    if comparisons is None or comparisons.empty:
        return page()
    lines = comparisons[(comparisons["setting"] == setting) & (comparisons["metric"] == PRIMARY)].to_dict("records")
    if not lines:
        return page()
    first = [line for line in lines if line["a"] == own] or lines
    rest = [line for line in lines if line not in first]
    more = f"<details><summary>Of the other rows</summary>{_differences(rest)}</details>" if rest else ""
    return page(
        "<h2>Is the difference real?</h2>",
        _differences(first),
        '<p class="quiet">“better” and “worse” need the intervals over users and over items both beside 0, and a '
        "corrected p below 0.05; “not shown” says neither.</p>",
        more,
    )


def _differences(lines: Sequence[dict[str, Any]]) -> str:
    side = _scale([abs(line[key]) for line in lines for key in ("low", "high", "difference")])
    rows = (
        f'<tr><td class="title">{shown(line["a"])}<small>against {shown(line["b"])}</small></td>'
        f"{_difference_cells(line, side)}"
        f'<td class="n wide">{_number(line["p_holm"])}</td><td>{shown(line["verdict"])}</td></tr>'
        for line in lines
    )
    head = [("Row and its rival", ""), (_axis(-side, side), ""), ("Difference [95 %]", "n wide")]
    return table([*head, ("p (Holm)", "n wide"), ("Verdict", "")], rows, "Comparisons")


def _difference_cells(line: dict[str, Any], side: float) -> str:
    """The cell with the line and the one with the numbers."""
    value = f"{_number(line['difference'], '+.4f')} {_bracket(line, '+.4f')}"
    drawn = _interval(line["difference"], line["low"], line["high"], -side, side)
    return f'<td>{drawn}{_narrow(value)}</td><td class="n wide">{value}</td>'


def _narrow(value: str) -> str:
    """The numbers under the line, where the page is too narrow for a column of their own."""
    return f'<small class="narrow">{value}</small>'


def strata_of(strata: pd.DataFrame | None, setting: str) -> str:
    """Where the difference comes from: by history length and by popularity."""
    if strata is None or strata.empty:
        return page()
    members = strata[(strata["setting"] == setting) & (strata["metric"] == PRIMARY)]
    parts = []
    for (by, first, second), lines in members.groupby(["by", "a", "b"], sort=False):
        records = lines.sort_values("place").to_dict("records")
        side = _scale([abs(line[key]) for line in records for key in ("low", "high", "difference")])
        rows = (
            f'<tr><td>{shown(line["stratum"])}</td><td class="n">{line["n_users"]:,}</td>'
            f"{_difference_cells(line, side)}</tr>"
            for line in records
        )
        head = [("Interactions", ""), ("Users", "n"), (_axis(-side, side), ""), ("Difference [95 %]", "n wide")]
        title = f"{shown(STRATA_WORDS.get(by, by))}: {shown(first)} against {shown(second)}"
        parts.append(f"<h3>{title}</h3>" + table(head, rows, STRATA_WORDS.get(by, by)))
    if not parts:
        return page()
    return page(f"<details><summary>Where the difference comes from</summary>{''.join(parts)}</details>")


def background(found: Sequence[dict[str, Any]], pairs: Sequence[tuple[str, str]], about: dict[str, str]) -> str:
    """Leak certificates beside the links to the cards and what the recommender is."""
    return page(
        f'<div class="two"><section>{_certificates(found)}</section><section>{_links(pairs, about)}</section></div>'
    )


def _certificates(found: Sequence[dict[str, Any]]) -> str:
    if not found:
        return '<h2>Leak certificate</h2><p class="quiet">None came with this recommender.</p>'
    lines = []
    for one in found:
        if not readable(one):
            lines.append('<p class="bad">One that came with this recommender cannot be read.</p>')
            continue
        passed = bool(one.get("passed"))
        verdict = "no leak found" if passed else f"{one.get('n_failures', 0):,} leaks"
        said = (
            f"{one.get('rows', 0):,} profiles checked against the {shown(one.get('split', '?'))} cut, after which "
            f"{one.get('items_after', 0):,} items first appear: {verdict}."
        )
        probe = one.get("probe")
        if probe:
            said += (
                f" {probe.get('titles', 0):,} titles of such items were looked for, {probe.get('hits', 0):,} found; "
                f"of {probe.get('decoys', 0):,} decoys, {probe.get('decoy_hits', 0):,}."
            )
        failures = "".join(f"<li>{shown(failure)}</li>" for failure in one.get("failures", [])[:5])
        lines.append(
            f'<p class="{"ok" if passed else "bad"}">{said}</p>' + (f"<ul>{failures}</ul>" if failures else "")
        )
    return (
        f"<h2>Leak certificate</h2>{''.join(lines)}"
        '<p class="quiet">A certificate is given where everything that the profiles were written from lies before the '
        "cut and no profile names an item that appeared later.</p>"
    )


def _links(pairs: Sequence[tuple[str, str]], about: dict[str, str]) -> str:
    safe = [(label, url) for label, url in pairs if url.startswith(("https://", "http://"))]
    lines = "".join(
        f'<li><a href="{html.escape(url)}" target="_blank" rel="noopener noreferrer">{shown(label)}</a></li>'
        for label, url in safe
    )
    facts = "".join(
        f'<tr><th scope="row">{shown(name.replace("_", " "))}</th><td class="title">{shown(value)}</td></tr>'
        for name, value in about.items()
        if value
    )
    cards = f'<h2>Cards</h2><ul class="plain">{lines}</ul>' if lines else ""
    box = '<div class="box" tabindex="0" role="region" aria-label="What this is">'
    return f"{cards}<h2>What this is</h2>{box}<table><tbody>{facts}</tbody></table></div>"


def _interval(value: float, low: float, high: float, start: float, end: float) -> str:
    """A point and its interval on a line from start to end, with a rule at 0 where that lies inside."""

    def place(number: float) -> float:
        return min(100.0, max(0.0, 100 * (number - start) / (end - start)))

    if not math.isfinite(value):
        return ""
    ends = (place(low), place(high)) if math.isfinite(low) and math.isfinite(high) else (place(value), place(value))
    zero = f'<u style="left:{place(0):.1f}%"></u>' if start < 0 < end else '<u style="left:0"></u>'
    return (
        f'<span class="line" aria-hidden="true">{zero}'
        f'<i style="left:{ends[0]:.1f}%;width:{ends[1] - ends[0]:.1f}%"></i>'
        f'<b style="left:{place(value):.1f}%"></b></span>'
    )


def _scale(values: Sequence[float]) -> float:
    """A round number that no value exceeds."""
    most = max((value for value in values if math.isfinite(value)), default=0.0) or 1.0
    step = 10.0 ** math.floor(math.log10(most))
    return next(step * factor for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * factor >= most)


def _axis(start: float, end: float) -> str:
    """The two ends of the line of `_interval`, over it."""
    return f'<span class="axis"><span>{_plain(start)}</span><span>{_plain(end)}</span></span>'


def _plain(number: float) -> str:
    return f"{number:g}".replace("-", "−")


def _number(value: float | None, form: str = ".4f") -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:{form}}".replace("-", "−")


def _bracket(line: dict[str, Any], form: str = ".4f") -> str:
    low, high = line["low"], line["high"]
    return f"[{_number(low, form)}, {_number(high, form)}]" if math.isfinite(low) and math.isfinite(high) else ""
