"""Published figures of the paper's Table 1, each with its source, and ours beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from reclm_hf.evaluation.protocol import Evaluation

METRICS = ("recall@20", "ndcg@20")
# What the paper calls full-shot ranks all items of the test day; its zero-shot those without history.
SETTINGS = ("test_items", "zero_shot")
VARIANTS = {"none": "base", "llm": "augmented"}
PAPER = "arXiv 2412.19302, Table 1; one seed, best of 50 epochs on the test matrix"
AUTHORS = "the authors' code run once with MiniLM vectors, best epoch on the test matrix (NCF: of the first 11)"
WITHIN, ABOVE, BELOW, UNKNOWN = "within the seeds' spread", "above", "below", "no figure known"
SINGLE = "one seed: no verdict"
# The figures are of these data only: the paper's Netflix is another table.
MIND = {"users": 57_128, "train": 89_734, "test": 87_974}
COLUMNS = {
    **dict.fromkeys(("row", "backbone", "variant", "setting", "metric"), "string"),
    "seeds": "int64",
    **dict.fromkeys(("ours", "low", "high", "paper", "authors_code", "ratio"), "double"),
    **dict.fromkeys(("verdict", "source"), "string"),
}

_Pair = tuple[float, float]
# MIND, recall@20 and NDCG@20: base and augmented over all test items, then base and augmented in zero-shot.
_PAPER: dict[str, tuple[_Pair, _Pair, _Pair, _Pair]] = {
    "bias_mf": ((0.0683, 0.0311), (0.0719, 0.0272), (0.0096, 0.0031), (0.0246, 0.0107)),
    "ncf": ((0.0713, 0.0325), (0.0760, 0.0288), (0.0301, 0.0080), (0.0424, 0.0112)),
    "lightgcn": ((0.0389, 0.0150), (0.0788, 0.0337), (0.0138, 0.0046), (0.0196, 0.0064)),
    "sgl": ((0.0345, 0.0127), (0.0732, 0.0367), (0.0162, 0.0062), (0.0254, 0.0089)),
    "simgcl": ((0.0421, 0.0155), (0.0576, 0.0232), (0.0164, 0.0055), (0.0312, 0.0098)),
}
# The base variant: over all test items, zero-shot. NCF ended after 11 epochs; SGL and SimGCL were not run to the end.
_AUTHORS: dict[str, tuple[_Pair, _Pair]] = {
    "bias_mf": ((0.0705, 0.0335), (0.0144, 0.0065)),
    "ncf": ((0.0726, 0.0335), (0.0113, 0.0046)),
    "lightgcn": ((0.0244, 0.0098), (0.0138, 0.0051)),
}
# Base, recall@20 over all test items, last epoch, nothing selected: the authors' models re-typed, three seeds.
LAST_EPOCH = {"bias_mf": (0.0614, 0.0596, 0.0687), "lightgcn": (0.0353, 0.0259, 0.0335)}
CAVEATS = (
    "The paper's figures are of one seed, the best of 50 epochs, picked by recall@20 on the test matrix itself. Here "
    "the last epoch counts and nothing is picked, so that a lower figure is no failure to reproduce.",
    "On MIND the same model moves by about .01 with the seed alone (recall@20 of three seeds: .0596 to .0687 and .0259 "
    "to .0353), and within one run by up to .018 from epoch to epoch: differences of that size between two single runs "
    "mean nothing.",
    "Item vectors are all-MiniLM-L6-v2's; the paper's are BERT's, which the release does not hold.",
    "`test_items` ranks what the paper ranks. Train-day popularity, which learns nothing, stands among the rows.",
)


STRANGE = "The published figures are of MIND, as the authors released it; of these data none is known."


class Known(NamedTuple):
    """Published figures of one place of the table, NaN where there is none."""

    paper: float
    authors_code: float

    @property
    def source(self) -> str:
        """Where the figures come from."""
        found = [name for name, value in ((PAPER, self.paper), (AUTHORS, self.authors_code)) if not math.isnan(value)]
        return " | ".join(found)


def known(backbone: str, variant: str, setting: str, metric: str) -> Known:
    """What is published for MIND.

    Args:
        variant: `base` or `augmented`. setting: of `SETTINGS`. metric: of `METRICS`.
    """
    place, column = SETTINGS.index(setting), METRICS.index(metric)
    paper = _PAPER[backbone][2 * place + (variant == "augmented")][column] if backbone in _PAPER else math.nan
    ran = variant == "base" and backbone in _AUTHORS
    return Known(paper, _AUTHORS[backbone][place][column] if ran else math.nan)


def verdict(values: Sequence[float], paper: float) -> str:
    """How ours, one value a seed, stand to a published figure; one seed tells nothing of its spread."""
    if math.isnan(paper) or not values or any(math.isnan(value) for value in values):
        return UNKNOWN
    if len(values) == 1:
        return SINGLE
    return ABOVE if min(values) > paper else BELOW if max(values) < paper else WITHIN


def beside_published(rows: Sequence[tuple[str, str, str, Sequence[Evaluation]]], comparable: bool) -> pd.DataFrame:
    """One line for each row, setting and metric of the paper.

    Args:
        rows: label, backbone, profile mode (a key of `VARIANTS`) and the evaluations of the seeds.
        comparable: whether the data are those of the paper; if not, no figure is put beside ours.

    Returns:
        `COLUMNS`: `ours` is the mean over seeds, `low` and `high` the least and the greatest seed, `ratio` ours over
        the paper's.
    """
    import pandas as pd

    lines: list[dict[str, Any]] = []
    for label, backbone, mode, evaluations in rows:
        for setting in SETTINGS:
            for metric in METRICS:
                values = [evaluation[setting].mean(metric) for evaluation in evaluations]
                found = known(backbone, VARIANTS[mode], setting, metric) if comparable else Known(math.nan, math.nan)
                lines.append(
                    {
                        "row": label,
                        "backbone": backbone,
                        "variant": VARIANTS[mode],
                        "setting": setting,
                        "metric": metric,
                        "seeds": len(values),
                        "ours": float(np.mean(values)),
                        "low": min(values),
                        "high": max(values),
                        "paper": found.paper,
                        "authors_code": found.authors_code,
                        "ratio": float(np.mean(values)) / found.paper,
                        "verdict": verdict(values, found.paper),
                        "source": found.source,
                    }
                )
    return pd.DataFrame(lines, columns=list(COLUMNS))


def published_lines(table: pd.DataFrame) -> list[str]:
    """The table for a terminal, at most 106 columns wide."""
    head = ("row", "ranked", "metric", "ours [seeds]", "paper", "their code", "ratio", "verdict")
    cells = [head, *(_cells(line) for line in table.to_dict("records"))]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def published_markdown(table: pd.DataFrame) -> str:
    """The same as Markdown, with the sources and what must be kept in mind."""
    from reclm_hf.evaluation.report_format import escape, markdown_table

    head = ["row", "ranked", "metric", "ours [least, greatest seed]", "paper", "their code", "ratio", "verdict"]
    cells = [[escape(cell) for cell in _cells(line)] for line in table.to_dict("records")]
    sources = {"paper": PAPER, "their code": AUTHORS} if table["paper"].notna().any() else {}
    notes = [*CAVEATS, *(f"{name}: {source}." for name, source in sources.items())] if sources else [STRANGE]
    return "# Ours beside the paper's\n\n" + markdown_table([head, *cells]) + "\n" + "".join(f"- {n}\n" for n in notes)


def _cells(line: dict[str, Any]) -> tuple[str, ...]:
    ours = f"{line['ours']:.4f} [{line['low']:.4f}, {line['high']:.4f}]" if line["seeds"] > 1 else f"{line['ours']:.4f}"
    figures = ["-" if math.isnan(line[name]) else f"{line[name]:.4f}" for name in ("paper", "authors_code")]
    ratio = "-" if math.isnan(line["ratio"]) else f"{line['ratio']:.2f}"
    place = {"test_items": "all", "zero_shot": "new"}[line["setting"]]
    return (line["row"], place, line["metric"], ours, *figures, ratio, line["verdict"])
