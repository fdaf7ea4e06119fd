"""A forest plot as a small SVG without a plotting library: a panel a setting, a part a preset, a line a row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from .report_format import GROUPS, PRIMARY, ordered_settings, sort_rows

if TYPE_CHECKING:
    import pandas as pd

_COLOURS = {"floor": "#6b7280", "model": "#1d4ed8", "mean user": "#c2570c", "placebo": "#8b3fb0"}
# Short enough for the narrowest panel.
_TITLES = {
    "catalogue": "Catalogue",
    "catalogue_warm": "Catalogue: warm",
    "catalogue_cold": "Catalogue: new",
    "zero_shot": "Zero-shot",
    "test_items": "Test items",
}
_INK, _FAINT, _GRID = "#111827", "#6b7280", "#e5e7eb"
# A page of a browser or a README is about this wide; a wider picture would be shrunk until it cannot be read.
_WIDTH = 1000
_PANELS = (120, 230)  # narrowest and widest panel
_GAP = 28
_LINE = 18
_TOP = 64
_MARGIN = 16
_SEEDS = 44
_CHARACTER = 6.6  # mean width of a character at 12 px


@dataclass(frozen=True)
class _Line:
    """A row of the results, its label in the picture and its height."""

    row: dict[str, Any]
    label: str
    y: int


@dataclass(frozen=True)
class _Part:
    """The floors, or the models of one preset, with their own axes.

    Attributes:
        title: of the part; y: of the title. headings: (backbone, y). lines: the rows. bottom: y of the axis.
    """

    title: str
    y: int
    headings: list[tuple[str, int]]
    lines: list[_Line]
    bottom: int


@dataclass(frozen=True)
class _Panel:
    """One setting: its place, its scale, and the values of its rows."""

    title: str
    left: int
    width: int
    ticks: list[float]
    rows: dict[str, dict[str, Any]]
    best_floor: float

    def x(self, value: float) -> float:
        """Where a value stands."""
        return self.left + value * self.width / self.ticks[-1]


def render_svg(results: pd.DataFrame) -> str:
    """The picture of recall@20 with its intervals, as SVG text; empty settings are left out.

    Floors come first, then the models in a part for each preset, and in it by backbone: profile modes, mean users and
    placebos of one model stand together. Every part has the same scale and shows the best floor, so that a long
    picture can be read in pieces. Models are labelled by their profile mode where that names one row of the backbone;
    the full label is the tooltip of the point.
    """
    settings = [setting for setting in ordered_settings(results) if sort_rows(results, setting)[0]["reason"] == ""]
    settings = settings or ordered_settings(results)[:1]
    parts = _parts(sort_rows(results, settings[0]))
    texts = [line.label for part in parts for line in part.lines]
    texts += [text for part in parts for text, _ in [(part.title, 0), *part.headings]]
    labels = round(_CHARACTER * max(map(len, texts))) + 2 * _MARGIN
    panels = _panels(results, settings, labels)
    right = panels[-1].left + panels[-1].width + _GAP
    width, height = right + _SEEDS, parts[-1].bottom + 30
    found = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="12">',
        f"<title>{PRIMARY} with 95 % intervals</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *_legend(parts),
    ]
    for part in parts:
        found += _labels(part, labels - 12, right)
        for panel in panels:
            found += _axes(part, panel)
            for line in part.lines:
                found += _mark(line, panel)
    return "\n".join([*found, "</svg>"]) + "\n"


def _parts(rows: list[dict[str, Any]]) -> list[_Part]:
    """Floors first, in the order of `rows`, then presets and backbones by name; heights from the top down."""
    floors = [row for row in rows if row["group"] == "floor"]
    models = [row for row in rows if row["group"] != "floor"]
    models.sort(key=lambda row: (row["preset"], row["backbone"], GROUPS.index(row["group"]), row["profile_mode"]))
    titled = [("floors", floors)] if floors else []
    titled += [
        (preset or "models", list(members)) for preset, members in groupby(models, key=lambda row: row["preset"])
    ]
    parts: list[_Part] = []
    y = _TOP
    for title, members in titled:
        top, headings, lines = y, [], []
        y += _LINE // 2
        for backbone, block in groupby(members, key=lambda row: row["backbone"]):
            found = list(block)
            if backbone:
                y += _LINE
                headings.append((backbone, y))
            for row, label in zip(found, _short_labels(found), strict=True):
                y += _LINE
                lines.append(_Line(row, label, y))
        parts.append(_Part(title, top, headings, lines, y + _LINE // 2))
        y += 7 * _LINE // 2
    return parts


def _short_labels(block: list[dict[str, Any]]) -> list[str]:
    """Profile modes where they name the rows of one backbone, full labels otherwise."""
    short = [
        row["profile_mode"] + (" (mean user)" if row["group"] == "mean user" else "") if row["profile_mode"] else ""
        for row in block
    ]
    unique = all(short) and len(set(short)) == len(short)
    return short if unique else [row["row"] for row in block]


def _panels(results: pd.DataFrame, settings: list[str], labels: int) -> list[_Panel]:
    room = (_WIDTH - labels - _SEEDS) // len(settings) - _GAP
    width = min(max(room, _PANELS[0]), _PANELS[1])
    panels = []
    for number, setting in enumerate(settings):
        rows = {row["row"]: row for row in sort_rows(results, setting)}
        values = [value for row in rows.values() for value in (row["value"], row["high"]) if not math.isnan(value)]
        floors = [row["value"] for row in rows.values() if row["group"] == "floor" and not math.isnan(row["value"])]
        panels.append(
            _Panel(
                title=_TITLES.get(setting, setting),
                left=labels + number * (width + _GAP),
                width=width,
                ticks=_ticks(max(values, default=0.0), width // 45),
                rows=rows,
                best_floor=max(floors, default=math.nan),
            )
        )
    return panels


def _legend(parts: list[_Part]) -> list[str]:
    present = {line.row["group"] for part in parts for line in part.lines}
    title = f"{PRIMARY}, 95 % interval (the wider of users and items)"
    found, x = [_text(_MARGIN, 22, title, "start", _INK, 14)], _MARGIN
    for group in (group for group in GROUPS if group in present):
        found.append(f'<circle cx="{x + 4}" cy="38" r="4" fill="{_COLOURS[group]}"/>')
        found.append(_text(x + 13, 42, group, "start", "#374151"))
        x += 36 + round(_CHARACTER * len(group))
    if "floor" in present:
        found.append(_dashes(x, 38, x + 20, 38))
        found.append(_text(x + 26, 42, "best floor", "start", "#374151"))
    return found


def _labels(part: _Part, right: int, seeds: int) -> list[str]:
    found = [_text(right, part.y, part.title, "end", _INK, 13, bold=True)]
    found += [_text(right, y + 4, text, "end", _INK, bold=True) for text, y in part.headings]
    found.append(_text(seeds + 8, part.y, "seeds", "middle", _FAINT, 11))
    for line in part.lines:
        found.append(_text(right, line.y + 4, line.label, "end", _COLOURS[line.row["group"]]))
        found.append(_text(seeds + 8, line.y + 4, str(line.row["n_seeds"]), "middle", _FAINT, 11))
    return found


def _axes(part: _Part, panel: _Panel) -> list[str]:
    found = [_text(panel.left, part.y, panel.title, "start", _INK)]
    top = part.y + 8
    for tick in panel.ticks:
        x = panel.x(tick)
        found.append(f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{part.bottom}" stroke="{_GRID}"/>')
        found.append(_text(x, part.bottom + 14, f"{tick:g}", "middle", _FAINT, 11))
    if not math.isnan(panel.best_floor):
        found.append(_dashes(panel.x(panel.best_floor), top, panel.x(panel.best_floor), part.bottom))
    return found


def _mark(line: _Line, panel: _Panel) -> list[str]:
    row = panel.rows[line.row["row"]]
    if math.isnan(row["value"]):
        return []
    colour, found = _COLOURS[row["group"]], []
    if not math.isnan(row["low"]):
        low, high = panel.x(row["low"]), panel.x(row["high"])
        found.append(
            f'<line x1="{low:.1f}" y1="{line.y}" x2="{high:.1f}" y2="{line.y}" stroke="{colour}" stroke-width="2"/>'
        )
    title = f"<title>{escape(row['row'])}: {row['value']:.4f}</title>"
    found.append(f'<circle cx="{panel.x(row["value"]):.1f}" cy="{line.y}" r="4" fill="{colour}">{title}</circle>')
    return found


def _ticks(highest: float, most: int) -> list[float]:
    """Round numbers from 0 to at least `highest`, at most `most` steps (2 to 5)."""
    if highest <= 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(highest))
    steps = (0.2, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0)
    step = next(step * power for step in steps if highest / (step * power) <= min(most, 5))
    return [round(number * step, 12) for number in range(math.ceil(highest / step - 1e-9) + 1)]


def _dashes(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1}" x2="{x2:.1f}" y2="{y2}" stroke="{_FAINT}" stroke-dasharray="4 3"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str, size: int = 12, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" fill="{colour}" font-size="{size}"{weight}>'
        f"{escape(text)}</text>"
    )
