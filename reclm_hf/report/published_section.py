"""The section of `reclm reproduce`: ours beside the paper's, from `published.parquet`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..evaluation.report_blocks import Bullets, Paragraph, Table
from ..evaluation.report_format import SHORT, number
from ..pipeline.published import CAVEATS
from .sections import Section

if TYPE_CHECKING:
    import pandas as pd

TITLE = "Ours beside the paper's"
_HEAD = ["row", "ranked", "metric", "ours [least, greatest seed]", "seeds", "paper", "their code", "ratio", "verdict"]


def published_section(published: pd.DataFrame) -> Section:
    """Each figure beside the published one, then what must be kept in mind and where the figures come from.

    Args:
        published: columns as in `pipeline.published.COLUMNS`.
    """
    lines = [_cells(line) for line in published.to_dict("records")]
    sources = dict.fromkeys(part for text in published["source"] for part in text.split(" | ") if part)
    text = (
        "ratio is ours over the paper's figure; the verdict says where our seeds lie beside that figure."
        if sources
        else "No published figure is known for these data and rows, so that ours stand alone."
    )
    found = [Bullets([*CAVEATS, *(f"Source of figures: {source}." for source in sources)])] if sources else []
    return Section("published", TITLE, [Paragraph(text), Table([_HEAD, *lines], TITLE), *found])


def _cells(line: dict[str, Any]) -> list[str]:
    ours = number(line["ours"])
    if line["seeds"] > 1 and not math.isnan(line["ours"]):
        ours = f"{ours} [{line['low']:.4f}, {line['high']:.4f}]"
    figures = [number(line["paper"]), number(line["authors_code"]), number(line["ratio"], ".2f")]
    ranked = SHORT.get(line["setting"], line["setting"])
    return [line["row"], ranked, line["metric"], ours, str(line["seeds"]), *figures, line["verdict"]]
