"""A forest plot of recall@20: a panel a setting, a part a preset, a line a row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from .plots import FAINT, GRID, INK, MARKS, Mark, drawing, mark_of, plain, to_svg
from .report_format import GROUPS, PRIMARY, interval_cell, ordered_settings, sort_rows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Short enough for the narrowest panel.
_TITLES = {
    "catalogue": "Catalogue",
    "catalogue_warm": "Catalogue: warm",
    "catalogue_cold": "Catalogue: new",
    "zero_shot": "Zero-shot",
    "test_items": "Test items",
}
# A page of a browser or a README is about this wide; a wider picture would be shrunk until it cannot be read.
WIDTH = 1000
_PANELS = (110, 230)  # narrowest and widest panel
_GAP, _LINE, _MARGIN, _SEEDS = 28, 18, 12, 40
_CHARACTER = 6.4  # mean width of a character at 11 px
_LABEL = 44  # characters


@dataclass(frozen=True)
class _Line:
    """A row of the results, its label in the picture and its height."""

    row: dict[str, Any]
    label: str
    y: int

    @property
    def mark(self) -> Mark:
        return mark_of(self.row["group"], self.row["profile_mode"])


@dataclass(frozen=True)
class _Part:
    """The floors, or the models of one preset. headings: (backbone, y). bottom: y of the axis below the lines."""

    title: str
    y: int
    headings: list[tuple[str, int]]
    lines: list[_Line]
    bottom: int


def shown_settings(results: pd.DataFrame) -> list[str]:
    """The settings that a forest plot shows: those with values, or the first where none has any."""
    settings = ordered_settings(results)
    return [setting for setting in settings if sort_rows(results, setting)[0]["reason"] == ""] or settings[:1]


def render_svg(
    results: pd.DataFrame, settings: Sequence[str] | None = None, width: int = WIDTH, name: str = "forest"
) -> str:
    """The picture of recall@20 with its intervals, as SVG text.

    Floors come first, then the models in a part for each preset, and in it by backbone: profile modes, mean users and
    placebos of one model stand together. Every part has the same scale and shows the best floor, so that a long
    picture can be read in pieces. Models are labelled by their profile mode where that names one row of the backbone;
    the full label and the numbers are the tooltip of the point.

    Args:
        settings: which to show, one panel each; None takes `shown_settings`.
        width: the most that the picture may take, in pixels. name: see `plots.to_svg`.
    """
    settings = settings or shown_settings(results)
    # The legend takes a second line where the picture is narrow.
    legend_lines = 1 if width >= 600 else 3
    parts = _parts(sort_rows(results, settings[0]), 48 + legend_lines * _LINE, min(_LABEL, width // 13))
    texts = [line.label for part in parts for line in part.lines]
    texts += [text for part in parts for text, _ in [(part.title, 0), *part.headings]]
    left = round(_CHARACTER * max(map(len, texts))) + _MARGIN
    room = (width - left - _SEEDS) // len(settings) - _GAP
    panel = min(max(room, _PANELS[0]), _PANELS[1])
    whole = (left + len(settings) * (panel + _GAP) + _SEEDS, parts[-1].bottom + 44)
    tooltips: dict[str, str] = {}
    with drawing(*whole) as figure:
        _texts(_canvas(figure, 0, whole[0], whole[0]), parts, left - 8, whole[0] - _SEEDS / 2, legend_lines)
        for number, setting in enumerate(settings):
            axes = _canvas(figure, left + number * (panel + _GAP), panel, panel)
            tooltips |= _panel(axes, parts, {row["row"]: row for row in sort_rows(results, setting)}, setting)
        names = ", ".join(_TITLES.get(setting, setting) for setting in settings)
        return to_svg(figure, name, _description(names, parts), tooltips)


def _description(settings: str, parts: list[_Part]) -> str:
    count = sum(len(part.lines) for part in parts)
    return f"{PRIMARY} of {count} rows with 95 % intervals, {settings}. The tables hold the same numbers."


def _canvas(figure: Figure, left: float, width: float, units: float) -> Axes:
    """Axes without frame over the whole height, in pixels from the top down."""
    whole, height = figure.get_size_inches() * 72
    axes = figure.add_axes((left / whole, 0, width / whole, 1))
    axes.set(xlim=(0, units), ylim=(height, 0))
    axes.set_axis_off()
    return axes


def _parts(rows: list[dict[str, Any]], top: int, most: int) -> list[_Part]:
    """Floors first, in the order of `rows`, then presets and backbones by name; heights from the top down.

    Labels of more than `most` characters lose their beginning.
    """
    floors = [row for row in rows if row["group"] == "floor"]
    models = [row for row in rows if row["group"] != "floor"]
    models.sort(key=lambda row: (row["preset"], row["backbone"], GROUPS.index(row["group"]), row["profile_mode"]))
    titled = [("floors", floors)] if floors else []
    titled += [
        (preset or "models", list(members)) for preset, members in groupby(models, key=lambda row: row["preset"])
    ]
    parts: list[_Part] = []
    y = top
    for title, members in titled:
        start, headings, lines = y, [], []
        y += _LINE // 2
        for backbone, block in groupby(members, key=lambda row: row["backbone"]):
            found = list(block)
            if backbone:
                y += _LINE
                headings.append((_fitting(backbone, most), y))
            for row, label in zip(found, _short_labels(found), strict=True):
                y += _LINE
                lines.append(_Line(row, _fitting(label, most), y))
        parts.append(_Part(_fitting(title, most), start, headings, lines, y + _LINE // 2))
        y += 4 * _LINE
    return parts


def _fitting(label: str, most: int) -> str:
    # Names of folders differ at their end.
    text = plain(label, 1000)
    return text if len(text) <= most else f"…{text[1 - most :]}"


def _short_labels(block: list[dict[str, Any]]) -> list[str]:
    """Profile modes where they name the rows of one backbone, full labels otherwise."""
    short = [
        row["profile_mode"] + (" (mean user)" if row["group"] == "mean user" else "") if row["profile_mode"] else ""
        for row in block
    ]
    unique = all(short) and len(set(short)) == len(short)
    return short if unique else [row["row"] for row in block]


def _texts(axes: Axes, parts: list[_Part], right: float, seeds: float, legend_lines: int) -> None:
    """Title, legend, and what stands left and right of the panels."""
    axes.text(_MARGIN, 18, f"{PRIMARY} with its 95 % interval", fontsize=13, va="center")
    _legend(axes, parts, legend_lines)
    for part in parts:
        axes.text(right, part.y, part.title, ha="right", va="center", weight="bold", fontsize=12)
        for text, y in part.headings:
            axes.text(right, y, text, ha="right", va="center", weight="bold")
        axes.text(seeds, part.y, "seeds", ha="center", va="center", color=FAINT, fontsize=10)
        for line in part.lines:
            axes.text(right, line.y, line.label, ha="right", va="center", color=line.mark.colour)
            axes.text(seeds, line.y, str(line.row["n_seeds"]), ha="center", va="center", color=FAINT, fontsize=10)


def _legend(axes: Axes, parts: list[_Part], lines: int) -> None:
    present = {line.mark for part in parts for line in part.lines}
    marks = [mark for mark in MARKS.values() if mark in present]
    x, y = float(_MARGIN), 40.0
    entries = [*marks, None] if MARKS["floor"] in present else [*marks]
    for entry in entries:
        text = entry.name if entry else "best floor"
        taken = 34 + _CHARACTER * len(text)
        if lines > 1 and x + taken > axes.get_xlim()[1]:
            x, y = _MARGIN, y + _LINE
        if entry:
            axes.plot(x + 5, y, **entry.style())
            axes.text(x + 14, y, text, va="center")
        else:
            axes.plot([x, x + 16], [y, y], color=INK, linestyle=(0, (4, 3)), linewidth=1)
            axes.text(x + 22, y, text, va="center")
        x += taken


def _panel(axes: Axes, parts: list[_Part], rows: dict[str, dict[str, Any]], setting: str) -> dict[str, str]:
    """Axes and points of one setting. Returns the tooltips of the points."""
    from matplotlib.ticker import MaxNLocator

    values = [value for row in rows.values() for value in (row["value"], row["high"]) if not math.isnan(value)]
    floors = [row["value"] for row in rows.values() if row["group"] == "floor" and not math.isnan(row["value"])]
    most = max(2, int(axes.get_xlim()[1]) // 45)
    ticks = MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(0, max(values, default=0.0) or 1.0)
    axes.set_xlim(0, ticks[-1])
    found: dict[str, str] = {}
    for part in parts:
        top = part.y + 10
        axes.text(0, part.y, _TITLES.get(setting, plain(setting)), va="center")
        axes.vlines(ticks, top, part.bottom, color=GRID, linewidth=1, clip_on=False)
        for tick in ticks:
            axes.text(tick, part.bottom + 9, f"{tick:g}", ha="center", va="center", color=FAINT, fontsize=10)
        axes.text(ticks[-1] / 2, part.bottom + 25, PRIMARY, ha="center", va="center", color=FAINT, fontsize=10)
        if floors:
            axes.vlines(max(floors), top, part.bottom, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        for line in part.lines:
            row, mark = rows[line.row["row"]], line.mark
            if math.isnan(row["value"]):
                continue
            if not math.isnan(row["low"]):
                axes.hlines(line.y, row["low"], row["high"], color=mark.colour, linewidth=2)
            gid = f"{setting}-{line.y}"
            axes.plot(row["value"], line.y, gid=gid, clip_on=False, **mark.style())
            found[gid] = f"{row['row']}: {interval_cell(row)}"
    return found
