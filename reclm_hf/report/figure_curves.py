"""Training curves of the rows of one backbone and preset: validation above, loss below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..evaluation.plots import INK, Mark, drawing, mark_of, plain, to_svg
from ..evaluation.report_format import PLACEBOS
from .figures import WIDTH

if TYPE_CHECKING:
    import pandas as pd

_HEIGHT = 360
_DASHES = ("-", (0, (5, 2)), (0, (2, 2)), (0, (6, 2, 1, 2)))


def curves_svg(curves: pd.DataFrame, name: str) -> str:
    """The picture of these lines of `curves.curves_of`, one backbone and preset; several seeds are lines of one kind.

    A ring marks the epoch that was chosen. Where nothing was chosen there is the loss alone.
    """
    from matplotlib.ticker import MaxNLocator

    modes = sorted(set(curves["profile_mode"]), key=lambda mode: (mode in PLACEBOS, mode != "none", mode))
    nothing = bool(curves["value"].isna().all())
    title = plain(" ".join(dict.fromkeys([*curves["backbone"], *curves["preset"]])), 52)
    with drawing(WIDTH, _HEIGHT) as figure:
        upper = figure.add_axes((0.16, 0.52, 0.80, 0.38))
        lower = figure.add_axes((0.16, 0.20, 0.80, 0.26), sharex=upper)
        for place, mode in enumerate(modes):
            mark, dashes = _mark(mode), _DASHES[place % len(_DASHES)]
            for number, (_, line) in enumerate(curves[curves["profile_mode"] == mode].groupby(["row", "seed"])):
                shown: dict[str, Any] = {"color": mark.colour, "linestyle": dashes, "linewidth": 1.3}
                measured = line[line["value"].notna()]
                style = mark.style(5) | shown | {"label": plain(mode, 20) if number == 0 else None}
                upper.plot(measured["epoch"], measured["value"], **style)
                best = measured[measured["epoch"] == measured["best_epoch"]]
                upper.plot(
                    best["epoch"], best["value"], "o", markersize=12, markerfacecolor="none", color=INK, clip_on=False
                )
                lower.plot(line["epoch"], line["loss"], **shown)
        if nothing:
            upper.text(0.5, 0.5, "nothing was chosen on validation", ha="center", transform=upper.transAxes)
        upper.set_title(title, loc="left", weight="bold")
        upper.set_ylabel("mean recall@20", fontsize=10)
        upper.tick_params(labelbottom=False)
        lower.set_ylabel("loss", fontsize=10)
        lower.set_xlabel("epoch")
        lower.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        for axes in (upper, lower):
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.ticklabel_format(useOffset=False, axis="y", style="plain")
        figure.align_ylabels([upper, lower])
        figure.legend(*upper.get_legend_handles_labels(), loc="lower center", ncols=4, columnspacing=1.0)
        shown_parts = "loss" if nothing else "mean of recall@20 in the catalogue and zero-shot on validation, and loss,"
        ring = "nothing was chosen." if nothing else "a ring marks the epoch that was chosen."
        description = f"Training of {title}: {shown_parts} by epoch with profiles {', '.join(map(str, modes))}; {ring}"
        return to_svg(figure, name, description)


def _mark(mode: str) -> Mark:
    return mark_of("placebo" if mode in PLACEBOS else "model", mode)
