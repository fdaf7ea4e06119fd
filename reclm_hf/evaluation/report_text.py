"""A report as Markdown and as a table for the terminal, rendered from the tables of `report.py` and nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .rows import ALPHA
from .statistics import DRAWS

if TYPE_CHECKING:
    import pandas as pd

PRIMARY = "recall@20"
# Profiles that carry less than the real ones: what a gain with them is worth is not the profile's.
PLACEBOS = ("constant", "random", "shuffled", "neighbour", "raw_text", "masked_titles")
GROUPS = ("floor", "model", "mean user", "placebo")
TITLES = {
    "catalogue": "Catalogue: warm and new items ranked together",
    "catalogue_warm": "Catalogue, warm targets only",
    "catalogue_cold": "Catalogue, new targets only",
    "zero_shot": "Zero-shot: new items only",
    "test_items": "Test items only (what the paper ranks)",
}
_SHORT = {
    "catalogue": "catalogue",
    "catalogue_warm": "warm",
    "catalogue_cold": "cold",
    "zero_shot": "zero-shot",
    "test_items": "test items",
}
_WIDTH = 106


def group_of(kind: str, profile_mode: str) -> str:
    """Where a row stands in a report: `floor`, `model`, `mean user` or `placebo`."""
    if kind == "model" and profile_mode in PLACEBOS:
        return "placebo"
    return kind.replace("_", " ")


def sort_rows(results: pd.DataFrame, setting: str) -> list[dict[str, Any]]:
    """The rows of one setting, by group and then by falling recall@20.

    Each is the line of the primary metric, with `group` and with `values`, metric -> value, added.
    """
    lines: dict[str, dict[str, Any]] = {}
    for line in results[results["setting"] == setting].to_dict("records"):
        row = lines.setdefault(line["row"], {"values": {}})
        row["values"][line["metric"]] = line["value"]
        if line["metric"] == PRIMARY:
            row.update(line, group=group_of(line["kind"], line["profile_mode"]))
    return sorted(lines.values(), key=lambda row: (GROUPS.index(row["group"]), -_or_zero(row["value"]), row["row"]))


def ordered_settings(results: pd.DataFrame) -> list[str]:
    """Settings of the table in the order in which a report shows them."""
    present = set(results["setting"])
    return [setting for setting in TITLES if setting in present] + sorted(present - set(TITLES))


def render_markdown(
    results: pd.DataFrame, comparisons: pd.DataFrame, *, notes: Sequence[str] = (), draws: int = DRAWS
) -> str:
    """The whole of `report.md`; it links `report.svg` beside it."""
    first = results.iloc[0]
    parts = [
        f"# Results on {first['dataset']}, {first['split']} split\n\nData fingerprint `{first['fingerprint']}`.\n",
        f"![{PRIMARY} of every row with its 95 % interval](report.svg)\n",
    ]
    parts += [_setting_section(results, setting) for setting in ordered_settings(results)]
    parts.append(_comparison_section(comparisons))
    parts.append(_notes_section(results, notes, draws))
    return "\n".join(parts)


def render_terminal(results: pd.DataFrame) -> str:
    """recall@20 of every row, one column a setting, at most 106 characters wide; intervals where there is room."""
    settings = ordered_settings(results)
    whole = [setting for setting in settings if not setting.startswith("catalogue_")]
    order = sort_rows(results, settings[0])
    by_setting = {setting: {row["row"]: row for row in sort_rows(results, setting)} for setting in settings}
    # A number takes 6 characters, an interval 17 more; the label gets at least 24.
    room = _WIDTH - 24 - sum(2 + max(6, len(_SHORT.get(setting, setting))) for setting in settings)
    with_interval = whole[: max(0, room // 19)]
    header = [PRIMARY, *(_SHORT.get(setting, setting) for setting in settings)]
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
    return _interval(line) if with_interval else _number(line["value"])


def _setting_section(results: pd.DataFrame, setting: str) -> str:
    rows = sort_rows(results, setting)
    head = f"## {TITLES.get(setting, setting)}\n\n"
    if rows[0]["reason"]:
        return f"{head}Not evaluated: {rows[0]['reason']}.\n"
    size = rows[0]
    head += f"{size['n_users']:,} users, {size['n_targets']:,} targets, {size['n_candidates']:,} candidates.\n\n"
    others = [metric for metric in size["values"] if metric != PRIMARY]
    lines = [["kind", "row", f"{PRIMARY} [95 %]", "wider over", *others, "seeds", "seconds"]]
    for row in rows:
        numbers = [_number(row["values"][metric]) for metric in others]
        tail = [str(row["n_seeds"]), f"{row['seconds']:.1f}"]
        lines.append([row["group"], _escape(row["row"]), _interval(row), row["interval"], *numbers, *tail])
    return head + _markdown_table(lines)


def _comparison_section(comparisons: pd.DataFrame) -> str:
    head = "## Comparisons\n\n"
    if comparisons.empty:
        return head + "No comparison was asked for, or no setting had targets.\n"
    counts = comparisons["verdict"].value_counts()
    shown = ", ".join(f"{counts.get(word, 0)} {word}" for word in ("better", "worse", "not shown"))
    head += f"{len(comparisons)} comparisons: {shown}. The verdict is about the first row against the second.\n\n"
    lines = [["setting", "metric", "first", "second", "difference", "95 % over users", "95 % over items"]]
    lines[0] += ["p", "p (Holm)", "detectable", "verdict"]
    lines += [_comparison_cells(line) for line in comparisons.to_dict("records")]
    return head + _markdown_table(lines)


def _comparison_cells(line: dict[str, Any]) -> list[str]:
    return [
        _SHORT.get(line["setting"], line["setting"]),
        line["metric"],
        _escape(line["a"]),
        _escape(line["b"]),
        f"{line['difference']:+.4f}",
        _bracket(line, "+.4f", "_users"),
        _bracket(line, "+.4f", "_items"),
        f"{line['p']:.4f}",
        f"{line['p_holm']:.4f}",
        _number(line["minimal_detectable_effect"]),
        f"**{line['verdict']}**" if line["verdict"] != "not shown" else "not shown",
    ]


def _notes_section(results: pd.DataFrame, notes: Sequence[str], draws: int) -> str:
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
        "over all comparisons of the metric here. `not shown` is no proof of equality: a true difference of the size "
        "`detectable` would have been found four times in five.",
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
    return "## Notes\n\n" + "".join(f"- {line}\n" for line in [*lines, *notes])


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


def _markdown_table(lines: Sequence[Sequence[str]]) -> str:
    rows = ["| " + " | ".join(line) + " |" for line in lines]
    rows.insert(1, "|" + "---|" * len(lines[0]))
    return "\n".join(rows) + "\n"


def _interval(line: dict[str, Any]) -> str:
    return f"{_number(line['value'])} {_bracket(line, '.4f')}".strip()


def _bracket(line: dict[str, Any], form: str, over: str = "") -> str:
    low, high = line[f"low{over}"], line[f"high{over}"]
    return "" if math.isnan(low) else f"[{low:{form}}, {high:{form}}]"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
