"""The rows of the speed table: what is timed, and what it is held against. Nothing heavy is imported here.

Targets and stretch are those of the project's plan for one thread, MIND, d = 32, batches of 4096. `authors` is what was
measured with the authors' own code, on another machine; what the same way costs on this one is measured beside ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MEMORY_LIMIT = 1024  # MiB
FIFTY = 50


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        unit: what one figure is for. kind: how the target reads: `seconds` at most, `rate` (a second of processor
            time) at least, or `times` faster than the authors' way in the same run at least.
        authors: figure with the authors' code, in seconds or as a rate; None where they have no such part.
        other: what the authors' way (or what stands for it) is; "" where nothing is measured.
        memory: whether the row's process must stay under `MEMORY_LIMIT`.
        long: minutes and more; not in `--quick`.
    """

    name: str
    title: str
    unit: str
    kind: str
    target: float
    stretch: float
    authors: float | None
    other: str
    memory: bool = False
    long: bool = False


_STEPS = 22  # of 4096 in an epoch of MIND
_LOOP = "per-item loader, item MLP on the whole catalogue twice a step, norm over all parameters, Adam step by step"
_TABLES = "full temporaries [4096, table] without a shift, COO products, norm over all parameters"

ROWS = (
    Row("negatives", "negatives, exact", "epoch", "seconds", 0.01, 0.004, 0.18, "Python loop, look-ups in a DOK"),
    Row("bias_mf", "BiasMF, negatives included", "epoch", "seconds", 0.18, 0.12, 0.88, _LOOP),
    Row(
        "lightgcn",
        "LightGCN, negatives included",
        "epoch",
        "seconds",
        0.55,
        0.40,
        1.75,
        "the same loop, uncoalesced COO products of all layers and rows",
    ),
    Row("sgl", "SGL, full-table InfoNCE", "step", "times", 1.5, 2.5, 102 / _STEPS, _TABLES, memory=True),
    Row("simgcl", "SimGCL, full-table InfoNCE", "step", "times", 1.5, 2.5, 82 / _STEPS, _TABLES, memory=True),
    Row(
        "evaluation",
        "all-rank evaluation of the test items",
        "evaluation",
        "seconds",
        0.25,
        0.15,
        3.8,
        "dense mask, two top-k, Python metrics user by user",
    ),
    Row(
        "ncf_scores",
        "NCF, scores of all pairs",
        "table",
        "seconds",
        1.5,
        0.76,
        98.0,
        "every pair concatenated through the first layer",
    ),
    Row(
        "fifty",
        "BiasMF, 50 epochs, full and zero-shot evaluation each",
        "run",
        "seconds",
        30.0,
        20.0,
        300.0,
        "the loops above",
        long=True,
    ),
    Row("recommend", "recommend, one user, 1,000,000 items, exact", "call", "seconds", 0.020, 0.010, None, ""),
    Row(
        "encoding",
        "text encoding",
        "item",
        "rate",
        2 * 39.0,
        4 * 39.0,
        39.0,
        "plain transformers: texts as they come, batches of 64 padded to their longest",
    ),
    Row(
        "profiles",
        "profiles, 650-token prompts",
        "profile",
        "rate",
        0.48,
        1.0,
        0.15,
        "one user at a time, whole prompts, float32",
        long=True,
    ),
)
BY_NAME = {row.name: row for row in ROWS}
WAYS = ("now", "earlier", "authors")


def rated(row: Row, seconds: float) -> float:
    """The figure in the kind of the target: seconds, or how many in a second."""
    return 1.0 / seconds if row.kind == "rate" else seconds


def verdict(row: Row, found: dict[str, Any]) -> str:
    """`stretch`, `met`, `not met`, or "" where it was not measured on full sizes. found: way -> figures, of one row."""
    if found.get("quick") or "cpu" not in found.get("now", {}):
        return ""
    seconds = found["now"]["cpu"]["median"]
    if row.kind == "times":
        if "authors" not in found.get("ratios", {}):
            return ""
        value = found["ratios"]["authors"]
    else:
        value = rated(row, seconds)
    reaches = (lambda bound: value <= bound) if row.kind == "seconds" else (lambda bound: value >= bound)
    if not reaches(row.target) or (row.memory and found["now"]["peak_mib"] > MEMORY_LIMIT):
        return "not met"
    return "stretch" if reaches(row.stretch) else "met"


def shown_target(row: Row, bound: float) -> str:
    """A target as the table says it."""
    if row.kind == "times":
        return f"{bound:g} x faster"
    return f">= {bound:g}/s" if row.kind == "rate" else f"<= {seconds_text(bound)}"


def shown_figure(row: Row, seconds: float) -> str:
    """Seconds as the table says them: a time, or a rate."""
    return f"{1 / seconds:.3g}/s" if row.kind == "rate" else seconds_text(seconds)


def seconds_text(seconds: float) -> str:
    """Three figures, in s or ms."""
    return f"{seconds:.3g} s" if seconds >= 0.1 else f"{1000 * seconds:.3g} ms"
