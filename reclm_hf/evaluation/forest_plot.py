"""A forest plot as a small SVG without a plotting library: one panel a setting, one line a row."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from .report_text import GROUPS, PRIMARY, TITLES, ordered_settings, sort_rows

if TYPE_CHECKING:
    import pandas as pd

_COLOURS = {"floor": "#6b7280", "model": "#1d4ed8", "mean user": "#c2570c", "placebo": "#8b3fb0"}
_PANEL = 230
_GAP = 28
_LINE = 22
_TOP = 76
_MARGIN = 16
_CHARACTER = 6.6  # mean width of a character at 12 px


def render_svg(results: pd.DataFrame) -> str:
    """The picture of recall@20 with its intervals, as SVG text; empty settings are left out.

    Rows stand in the same order in every panel, that of the first setting, so that one can read along a line.
    """
    settings = [setting for setting in ordered_settings(results) if sort_rows(results, setting)[0]["reason"] == ""]
    settings = settings or ordered_settings(results)[:1]
    order = sort_rows(results, settings[0])
    labels = round(_CHARACTER * max(len(row["row"]) for row in order)) + 2 * _MARGIN
    heights = _line_positions(order)
    bottom = max(heights.values()) + _LINE
    width = labels + len(settings) * (_PANEL + _GAP) + _MARGIN
    height = bottom + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="12">',
        f"<title>{PRIMARY} with 95 % intervals</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *_legend(order),
    ]
    parts += [_text(labels - 12, heights[row["row"]] + 4, row["row"], "end", _COLOURS[row["group"]]) for row in order]
    for number, setting in enumerate(settings):
        left = labels + number * (_PANEL + _GAP)
        parts += _panel(sort_rows(results, setting), setting, left, heights, bottom)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line_positions(order: list[dict[str, Any]]) -> dict[str, int]:
    """Row -> y; groups stand half a line apart."""
    positions, y, previous = {}, _TOP, ""
    for row in order:
        y += _LINE if previous in ("", row["group"]) else _LINE + _LINE // 2
        previous = row["group"]
        positions[row["row"]] = y
    return positions


def _legend(order: list[dict[str, Any]]) -> list[str]:
    present = {row["group"] for row in order}
    parts, x = (
        [_text(_MARGIN, 26, f"{PRIMARY}, 95 % interval (the wider of users and items)", "start", "#111827", 14)],
        _MARGIN,
    )
    for group in (group for group in GROUPS if group in present):
        parts.append(f'<circle cx="{x + 4}" cy="44" r="4" fill="{_COLOURS[group]}"/>')
        parts.append(_text(x + 13, 48, group, "start", "#374151"))
        x += 36 + round(_CHARACTER * len(group))
    return parts


def _panel(rows: list[dict[str, Any]], setting: str, left: int, heights: dict[str, int], bottom: int) -> list[str]:
    values = [value for row in rows for value in (row["value"], row["high"]) if not math.isnan(value)]
    ticks = _ticks(max(values, default=0.0))
    scale = _PANEL / ticks[-1]
    title = TITLES.get(setting, setting).partition(":")[0]
    parts = [_text(left, _TOP - 6, title, "start", "#111827", 13)]
    for tick in ticks:
        x = left + tick * scale
        parts.append(f'<line x1="{x:.1f}" y1="{_TOP + 4}" x2="{x:.1f}" y2="{bottom}" stroke="#e5e7eb"/>')
        parts.append(_text(x, bottom + 16, f"{tick:g}", "middle", "#6b7280", 11))
    for row in rows:
        if math.isnan(row["value"]):
            continue
        y, colour = heights[row["row"]], _COLOURS[row["group"]]
        if not math.isnan(row["low"]):
            low, high = left + row["low"] * scale, left + row["high"] * scale
            parts.append(f'<line x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<circle cx="{left + row["value"] * scale:.1f}" cy="{y}" r="4" fill="{colour}"/>')
    return parts


def _ticks(highest: float) -> list[float]:
    """Three to six round numbers from 0 to at least `highest`."""
    if highest <= 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(highest))
    step = next(step * power for step in (0.2, 0.25, 0.5, 1.0, 2.0, 2.5) if highest / (step * power) <= 5)
    return [round(number * step, 12) for number in range(math.ceil(highest / step - 1e-9) + 1)]


def _text(x: float, y: float, text: str, anchor: str, colour: str, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">{escape(text)}</text>'
