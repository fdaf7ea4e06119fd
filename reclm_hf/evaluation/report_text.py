"""A report as blocks, as Markdown and as a table for the terminal, from the tables of `report.py` and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .comparisons import ALPHA
from .report_blocks import Block, Bullets, Heading, Paragraph, Table, markdown
from .report_format import PRIMARY, SHORT, TITLES, group_of, interval_cell, number, ordered_settings, sort_rows
from .report_sections import beyond_section, comparison_section, strata_section
from .statistics import DRAWS

if TYPE_CHECKING:
    import pandas as pd

_WIDTH = 106


def render_markdown(
    results: pd.DataFrame,
    comparisons: pd.DataFrame,
    *,
    beyond: pd.DataFrame | None = None,
    strata: pd.DataFrame | None = None,
    notes: Sequence[str] = (),
    draws: int = DRAWS,
) -> str:
    """The whole of `report.md`; it links `report.svg` beside it. `beyond` and `strata` add a section each."""
    first = results.iloc[0]
    found: list[Block] = [
        Heading(f"Results on {first['dataset']}, {first['split']} split", 1),
        Paragraph(f"Data fingerprint `{first['fingerprint']}`."),
        Paragraph(f"![{PRIMARY} of every row with its 95 % interval](report.svg)"),
    ]
    for setting in ordered_settings(results):
        found += setting_section(results, setting)
    found += comparison_section(comparisons)
    if strata is not None:
        found += strata_section(strata)
    if beyond is not None:
        found += beyond_section(beyond, results)
    return markdown([*found, *notes_section(results, notes, draws)])


def render_terminal(results: pd.DataFrame) -> str:
    """recall@20 of every row, one column a setting, at most 106 characters wide; intervals where there is room."""
    settings = ordered_settings(results)
    whole = [setting for setting in settings if not setting.startswith("catalogue_")]
    order = sort_rows(results, settings[0])
    by_setting = {setting: {row["row"]: row for row in sort_rows(results, setting)} for setting in settings}
    # A number takes 6 characters, an interval 17 more; the label gets at least 24.
    room = _WIDTH - 24 - sum(2 + max(6, len(SHORT.get(setting, setting))) for setting in settings)
    with_interval = whole[: max(0, room // 19)]
    header = [PRIMARY, *(SHORT.get(setting, setting) for setting in settings)]
    table = [header]
    for row in order:
        cells = [by_setting[setting][row["row"]] for setting in settings]
        table.append(
            [row["row"], *(_cell(cell, cell["setting"] in with_interval) for cell in cells)],
        )
    widths = [max(len(line[column]) for line in table) for column in range(1, len(header))]
    label_width = min(max(len(line[0]) for line in table), _WIDTH - sum(width + 2 for width in widths))
    lines = [_align(line, label_width, widths) for line in table]
    previous = ""
    text = [lines[0], "-" * len(lines[0])]
    for row, line in zip(order, lines[1:], strict=True):
        if previous and row["group"] != previous:
            text.append("")
        previous = row["group"]
        text.append(line)
    return "\n".join(text) + "\n"


def _align(line: Sequence[str], label_width: int, widths: Sequence[int]) -> str:
    label = line[0] if len(line[0]) <= label_width else line[0][: label_width - 1] + "…"
    cells = [f"{cell:<{width}}" for cell, width in zip(line[1:], widths, strict=True)]
    return "  ".join([f"{label:<{label_width}}", *cells]).rstrip()


def _cell(line: dict[str, Any], with_interval: bool) -> str:
    return interval_cell(line) if with_interval else number(line["value"])


def setting_section(results: pd.DataFrame, setting: str) -> list[Block]:
    """Every row of one setting with all metrics, or why there is none."""
    rows = sort_rows(results, setting)
    title = TITLES.get(setting, setting)
    if rows[0]["reason"]:
        return [Heading(title), Paragraph(f"Not evaluated: {rows[0]['reason']}.")]
    size = rows[0]
    head = f"{size['n_users']:,} users, {size['n_targets']:,} targets, {size['n_candidates']:,} candidates."
    others = [metric for metric in size["values"] if metric != PRIMARY]
    lines = [["kind", "row", f"{PRIMARY} [95 %]", "wider over", *others, "seeds", "seconds"]]
    for row in rows:
        numbers = [number(row["values"][metric]) for metric in others]
        tail = [str(row["n_seeds"]), f"{row['seconds']:.1f}"]
        lines.append([row["group"], row["row"], interval_cell(row), row["interval"], *numbers, *tail])
    return [Heading(title), Paragraph(head), Table(lines, title)]


def notes_section(results: pd.DataFrame, notes: Sequence[str] = (), draws: int = DRAWS) -> list[Block]:
    """How the numbers came about, and what the rows are; `notes` are further sentences."""
    kinds = {group_of(kind, mode) for kind, mode in zip(results["kind"], results["profile_mode"], strict=True)}
    modes = set(results["profile_mode"])
    seeds = sorted(set(results["n_seeds"]))
    lines = [
        "Every candidate is ranked; items of the user's history are masked; equal scores are ordered by one seeded "
        "permutation of the items, and one scored -inf is never a hit. Means are over users with targets there.",
        "recall@k = hits / targets of the user; ndcg@k has its ideal over min(targets, k).",
        f"Intervals: {draws:,} paired bootstraps over users and, separately, over test items; rows show the wider "
        "one, comparisons both. One over items that is far wider than the one over users says that few items decide.",
        f"`better` and `worse` need both intervals beside 0 and a sign-flip p below {ALPHA:g} after Holm's correction "
        "over all comparisons of one metric and one family, settings together. `not shown` is no proof of equality: a "
        "true difference of the size `detectable` would have been found four times in five.",
        f"Seeds per row: {', '.join(str(count) for count in seeds)}. Several seeds are averaged within each user.",
    ]
    if "floor" in kinds:
        lines.append("Floors are simple methods: a model that does not beat the best of them adds nothing.")
    if "mean user" in kinds:
        lines.append(
            "A mean-user row is the model with every user vector replaced by the mean: what it reaches is popularity, "
            "and only what the model has beyond it is personal."
        )
    lines += [text for mode, text in _PLACEBO_NOTES.items() if mode in modes]
    return [Heading("Notes"), Bullets([*lines, *notes])]


_PLACEBO_NOTES = {
    "constant": "`constant`: everybody gets the mean profile. The same parameters without any profile: the twin that "
    "a model with profiles must beat.",
    "shuffled": "`shuffled`: profiles of other users with histories of similar length. A gain that stays is not the "
    "profile's content.",
    "random": "`random`: profiles drawn at random with the mean and covariance of the real ones.",
    "neighbour": "`neighbour`: the profile of a similar user.",
    "raw_text": "`raw_text`: the mean of the texts of the user's own items, without a language model.",
    "masked_titles": "`masked_titles`: profiles written with the titles replaced by ids. What is lost is what the "
    "language model knew about the titles beforehand.",
}
