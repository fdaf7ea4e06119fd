"""What the parts of a report share: the order of rows and settings, and how numbers are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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
SHORT = {
    "catalogue": "catalogue",
    "catalogue_warm": "warm",
    "catalogue_cold": "cold",
    "zero_shot": "zero-shot",
    "test_items": "test items",
}


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


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first line is its head."""
    rows = ["| " + " | ".join(line) + " |" for line in lines]
    rows.insert(1, "|" + "---|" * len(lines[0]))
    return "\n".join(rows) + "\n"


def interval_cell(line: dict[str, Any], form: str = ".4f") -> str:
    """`value [low, high]`; without the interval where there is none."""
    return f"{number(line['value'], form)} {bracket(line, form)}".strip()


def bracket(line: dict[str, Any], form: str, over: str = "") -> str:
    """`[low, high]`, or "" where there is no interval; `over` is `_users`, `_items` or "" for the wider one."""
    low, high = line[f"low{over}"], line[f"high{over}"]
    return "" if math.isnan(low) else f"[{low:{form}}, {high:{form}}]"


def number(value: float, form: str = ".4f") -> str:
    """The number, or "-" for NaN."""
    return "-" if math.isnan(value) else f"{value:{form}}"


def escape(text: str) -> str:
    """Text that may stand in a cell of a Markdown table."""
    return text.replace("|", "\\|")


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value
