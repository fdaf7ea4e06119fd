"""Paired differences with both intervals, a block of them for each question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..evaluation.plots import FAINT, GRID, INK, MARKS, Mark, drawing, plain, to_svg
from ..evaluation.report_format import SHORT, bracket, number
from ..evaluation.report_sections import STRATA_TITLES
from .figures import WIDTH

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_BLUE = MARKS["model"].colour
_WORDS = {
    "better": Mark("better", _BLUE, "^"),
    "worse": Mark("worse", "#b91c1c", "v"),
    "not shown": Mark("not shown", FAINT, "o", filled=False),
    "": Mark("difference", _BLUE, "o"),
}
_LINE, _LEFT, _TOP = 34, 12, 66
# Texts stand on white, so that no line of the grid runs through them.
_GROUND = {"boxstyle": "square,pad=0.1", "facecolor": "#ffffff", "edgecolor": "none"}


@dataclass(frozen=True)
class Difference:
    """One line of the figure. word: its verdict, or "" where none was asked for."""

    label: str
    line: dict[str, Any]
    word: str = ""

    @property
    def name(self) -> str:
        """Both rows in full, and of what stratum."""
        both = f"{self.line['a']} − {self.line['b']}"
        return both if self.word else f"{both}, {self.label}"


def comparison_svg(comparisons: pd.DataFrame, family: str, setting: str, name: str) -> str:
    """The comparisons of one family in one setting."""
    chosen = comparisons[(comparisons["family"] == family) & (comparisons["setting"] == setting)]
    lines = [Difference(_against(line["a"], line["b"]), line, line["verdict"]) for line in chosen.to_dict("records")]
    title = f"{family}: {SHORT.get(setting, setting)}"
    metric = ", ".join(dict.fromkeys(chosen["metric"]))
    return differences_svg([("", lines)], title, f"difference in {metric}", name)


def strata_svg(strata: pd.DataFrame, a: str, b: str, name: str) -> str:
    """One pair of rows by history length and by popularity of the target, on the scale that holds every pair."""
    chosen = strata[(strata["a"] == a) & (strata["b"] == b)].sort_values("place", kind="stable")
    blocks = []
    for by in dict.fromkeys(strata["by"]):
        lines = [
            Difference(f"{line['stratum']}: {line['n_users']:,} users, {100 * line['share']:.0f} % of the weight", line)
            for line in chosen[chosen["by"] == by].to_dict("records")
        ]
        blocks.append((STRATA_TITLES.get(by, by).replace("By the number of interactions ", "Interactions "), lines))
    metric, view = (", ".join(dict.fromkeys(chosen[name])) for name in ("metric", "setting"))
    label = f"difference in {metric}, {SHORT.get(view, view)}"
    return differences_svg(blocks, _against(a, b), label, name, reach=strata.to_dict("records"))


def _against(a: str, b: str) -> str:
    """`a − b`, without what both begin with where that is a word or more: a line of the figure is short."""
    cuts = (place + 1 for place, mark in enumerate(a) if mark in "-/ ")
    shared = max((cut for cut in cuts if b.startswith(a[:cut])), default=0)
    return f"{a} − {b}" if shared < 4 else f"{a} − …{b[shared:]}"


def differences_svg(
    blocks: Sequence[tuple[str, Sequence[Difference]]],
    title: str,
    label: str,
    name: str,
    width: int = WIDTH,
    reach: Sequence[dict[str, Any]] | None = None,
) -> str:
    """Lines from the top down: a label, and below it the difference with its interval over users (wide and pale) and
    over items (narrow and dark).

    Args:
        blocks: (heading or "", lines). label: of the axis. reach: lines that the axis has room for; None: these.
    """
    found = [line for _, lines in blocks for line in lines]
    height = _TOP + sum(_LINE * len(lines) + 20 * bool(heading) for heading, lines in blocks) + 44
    tooltips: dict[str, str] = {}
    with drawing(width, height) as figure:
        axes = figure.add_axes((_LEFT / width, 0, 1 - 2 * _LEFT / width, 1))
        axes.set_axis_off()
        low, high = _range([line.line for line in found] if reach is None else reach)
        axes.set(xlim=(low, high), ylim=(height, 0))
        axes.text(low, 14, plain(title, 54), va="center", weight="bold", fontsize=10.5)
        _legend(axes, low, (high - low) / (width - 2 * _LEFT), {line.word for line in found})
        _grid(axes, height - 40, label)
        y = float(_TOP)
        for heading, lines in blocks:
            if heading:
                axes.text(low, y + 2, plain(heading, 56), va="center", weight="bold", fontsize=10, bbox=_GROUND)
                y += 20
            for line in lines:
                gid = f"difference-{len(tooltips)}"
                _line(axes, line, y, low, gid)
                tooltips[gid] = f"{line.name}: {number(line.line['difference'], '+.4f')} {bracket(line.line, '+.4f')}"
                y += _LINE
        description = (
            f"{title}: {label} of {len(found)} pairs with 95 % intervals over users and over items around a line at 0. "
            "The tables hold the same numbers."
        )
        return to_svg(figure, name, description, tooltips)


def _line(axes: Axes, line: Difference, y: float, low: float, gid: str) -> None:
    cell, mark = line.line, _WORDS.get(line.word, _WORDS[""])
    axes.text(low, y, plain(line.label, 58), va="center", fontsize=10, bbox=_GROUND)
    if math.isnan(cell["difference"]):
        return
    for over, colour, wide in (("_users", "#9ca3af", 7), ("_items", INK, 1.5)):
        if not math.isnan(cell[f"low{over}"]):
            axes.hlines(y + 15, cell[f"low{over}"], cell[f"high{over}"], color=colour, linewidth=wide)
    axes.plot(cell["difference"], y + 15, gid=gid, clip_on=False, **mark.style())


def _range(lines: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Where the axis begins and ends: 0 and all intervals, with some room."""
    names = ("difference", "low_users", "high_users", "low_items", "high_items")
    values = [0.0, *(line[name] for line in lines for name in names if not math.isnan(line[name]))]
    room = 0.04 * (max(values) - min(values)) or 1.0
    return min(values) - room, max(values) + room


def _grid(axes: Axes, bottom: float, label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    low, high = axes.get_xlim()
    ticks = [
        tick
        for tick in MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        if low - 1e-12 <= tick <= high + 1e-12
    ]
    axes.vlines(ticks, _TOP - 12, bottom, color=GRID, linewidth=1)
    axes.vlines(0, _TOP - 12, bottom, color=INK, linewidth=1)
    for tick in ticks:
        text = "0" if abs(tick) < 1e-12 else f"{tick:+.4g}"
        axes.text(tick, bottom + 9, text, ha="center", va="center", color=FAINT, fontsize=10)
    axes.text((low + high) / 2, bottom + 26, label, ha="center", va="center", color=FAINT, fontsize=10)


def _legend(axes: Axes, low: float, pixel: float, words: set[str]) -> None:
    """What the marks and the two lines mean; pixel: the width of one, in units of the axis."""
    x = low
    for word, mark in _WORDS.items():
        if word in words:
            axes.plot(x + 5 * pixel, 34, **mark.style())
            axes.text(x + 14 * pixel, 34, mark.name, va="center", fontsize=10)
            x += (30 + 6.2 * len(mark.name)) * pixel
    for text, colour, wide in (("over users", "#9ca3af", 7), ("over items", INK, 1.5)):
        axes.hlines(34, x, x + 16 * pixel, color=colour, linewidth=wide)
        axes.text(x + 20 * pixel, 34, text, va="center", fontsize=10)
        x += 84 * pixel
