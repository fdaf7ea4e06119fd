"""The ratios to the authors' way as bars: one look tells which parts are fast and which are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from speed_rows import ROWS, shown_figure

WIDTH, DPI = 1280, 160
# Dark and light enough to be told apart without colour.
_NOW, _EARLIER = "#1f4e79", "#b8c9d9"


def write_plot(rows: dict[str, Any], path: Path) -> None:
    """A PNG, 1280 px wide. rows: row -> figures; those without a ratio are left out.

    Raises:
        ValueError: no row has a ratio to the authors' way.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter

    shown = [row for row in ROWS if "authors" in rows.get(row.name, {}).get("ratios", {})]
    if not shown:
        raise ValueError("there is nothing to draw: no row was measured beside the authors' way.")
    shown.sort(key=lambda row: rows[row.name]["ratios"]["authors"])
    compared = any("earlier" in rows[row.name]["ratios"] for row in shown)
    height = 0.55 if compared else 0.42
    figure, axes = plt.subplots(figsize=(WIDTH / DPI, 1.5 + height * len(shown)), dpi=DPI)
    thick = 0.38 if compared else 0.62
    for place, row in enumerate(shown):
        found = rows[row.name]
        ratio = found["ratios"]["authors"]
        at = place + (thick / 2 if compared else 0)
        axes.barh(at, ratio - 1, thick, left=1, color=_NOW, label="now" if place == 0 else None)
        text = f" {ratio:.3g} x  ({shown_figure(row, found['now']['cpu']['median'])})"
        axes.text(max(ratio, 1.0), at, text, va="center", fontsize=8)
        if "earlier" in found["ratios"]:
            before = ratio / found["ratios"]["earlier"]
            label = "earlier commit" if place == 0 else None
            hatched: Any = {"color": _EARLIER, "edgecolor": "#555555", "hatch": "//", "linewidth": 0.5}
            axes.barh(place - thick / 2, before - 1, thick, left=1, label=label, **hatched)
            axes.text(max(before, 1.0), place - thick / 2, f" {before:.3g} x", va="center", fontsize=7, color="#444444")
    axes.set_xscale("log")
    axes.axvline(1.0, color="black", linewidth=0.8)
    largest = max(rows[row.name]["ratios"]["authors"] for row in shown)
    axes.set_xlim(min(0.5, min(rows[row.name]["ratios"]["authors"] for row in shown) * 0.8), largest * 6)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_yticks(range(len(shown)), [f"{row.title}\n(one {row.unit})" for row in shown], fontsize=8)
    axes.set_xlabel("times faster than the authors' way, same machine, one run (log scale)", fontsize=9)
    axes.set_ylabel("part", fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    if compared:
        axes.legend(loc="lower right", fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=DPI)
    plt.close(figure)
