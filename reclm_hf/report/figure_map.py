"""The map of users, items and new items: three views of one plane, each with one kind of points in front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..evaluation.plots import INK, Mark, drawing, plain, to_svg
from .figures import WIDTH
from .people_map import MapPoints

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

KINDS = {
    "user": Mark("users", "#1d4ed8", "o"),
    "item": Mark("items with history", "#4b5563", "s"),
    "new": Mark("new items", "#b45309", "^"),
}
_HEIGHT = 340
_NAMED = 4


def map_svg(found: MapPoints, kind: str, name: str) -> str:
    """The plane with the points of one kind in front of all others, and the titles of some items."""
    points, mark = found.points, KINDS[kind]
    front = points[points["kind"] == kind]
    title = f"{mark.name}: {len(front):,} of {found.totals[kind]:,}"
    with drawing(WIDTH, _HEIGHT) as figure:
        axes = figure.add_axes((0.15, 0.15, 0.82, 0.75))
        # Thousands of points as an image; text and axes stay sharp.
        behind = points[points["kind"] != kind]
        axes.plot(behind["x"], behind["y"], ".", color="#d1d5db", markersize=3, rasterized=True)
        style = mark.style(3) | {"markeredgewidth": 0, "alpha": 0.7}
        axes.plot(front["x"], front["y"], rasterized=True, **style)
        _names(axes, front, points)
        axes.set_title(title, loc="left", weight="bold")
        axes.set_xlabel(f"first component ({100 * found.shares[0]:.1f} % of the variance)", fontsize=10)
        axes.set_ylabel(f"second ({100 * found.shares[1]:.1f} %)", fontsize=10)
        axes.locator_params(nbins=5)
        whose = f" of {found.model}" if found.model else ""
        description = (
            f"Map{whose}: {title}, in front of all other points in pale grey; principal components of {found.space}."
        )
        return to_svg(figure, name, description)


def _names(axes: Axes, front: pd.DataFrame, points: pd.DataFrame) -> None:
    """Titles of the items with most interactions that are not near one another; new items have none, so the first."""
    width, height = (points[axis].max() - points[axis].min() for axis in ("x", "y"))
    taken: list[tuple[float, float]] = []
    for point in front[front["label"] != ""].sort_values("weight", ascending=False, kind="stable").itertuples():
        if len(taken) == _NAMED:
            break
        if any(abs(point.x - x) < 0.5 * width and abs(point.y - y) < 0.12 * height for x, y in taken):
            continue
        taken.append((point.x, point.y))
        right = point.x > points["x"].mean()
        axes.plot(point.x, point.y, "o", markersize=6, markerfacecolor="none", color=INK)
        axes.annotate(
            plain(point.label, 24),
            (point.x, point.y),
            (-6 if right else 6, 6),
            textcoords="offset points",
            ha="right" if right else "left",
            fontsize=9.5,
            bbox={"boxstyle": "square,pad=0.15", "facecolor": "#ffffff", "edgecolor": "none", "alpha": 0.8},
        )
