"""The floors on the authors' MIND release beside figures measured before with other code.

    python training/benchmarks/mind_floors.py FOLDER      (the release's folder `mind`)

Fixed settings, nothing is chosen: this is a comparison with published figures, on the paper's candidates (all items of
the test day, or the new ones among them). The two trained methods have no figure to compare with. Item vectors are
encoded once, which takes minutes, and come from the cache afterwards.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from reclm_hf.baselines import FLOORS
from reclm_hf.data.describe import text_signal
from reclm_hf.data.importers.reclm_release import read_reclm_release
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.splits import Split, snapshot_split
from reclm_hf.evaluation.protocol import evaluate
from reclm_hf.recommender.text_encoder import TextEncoder

ALL = 10_000  # neighbours an item: more than there are items
METRICS = ("recall@20", "ndcg@20", "recall@40")
TEST_ITEMS, ZERO_SHOT = "test_items", "zero_shot"


@dataclass(frozen=True)
class Case:
    """A floor with its hyper-parameters, and the known figures: setting -> metric -> value."""

    floor: str
    params: dict[str, Any] = field(default_factory=dict)
    known: dict[str, dict[str, float]] = field(default_factory=dict)


CASES = (
    Case("random"),
    Case("popularity", {}, {TEST_ITEMS: {"recall@20": 0.0644, "ndcg@20": 0.0316, "recall@40": 0.1100}}),
    Case("item_knn", {"k": ALL, "shrink": 0}, {TEST_ITEMS: {"recall@20": 0.0317}}),
    Case("item_knn", {"k": ALL, "shrink": 10}, {TEST_ITEMS: {"recall@20": 0.0344}}),
    Case("ease", {"ridge": 10, "min_count": 1}, {TEST_ITEMS: {"recall@20": 0.0460}}),
    Case("ease", {"ridge": 50, "min_count": 1}, {TEST_ITEMS: {"recall@20": 0.0470}}),
    Case("ease", {"ridge": 200, "min_count": 1}, {TEST_ITEMS: {"recall@20": 0.0476}}),
    Case(
        "text_cosine",
        {"centered": False},
        {
            TEST_ITEMS: {"recall@20": 0.0063},
            ZERO_SHOT: {"recall@20": 0.0119, "ndcg@20": 0.0042, "recall@40": 0.0263},
        },
    ),
    Case("text_cosine", {"centered": True}, {TEST_ITEMS: {"recall@20": 0.0063}, ZERO_SHOT: {"recall@20": 0.0113}}),
    Case("dropoutnet_style"),
    Case("clcrec_style"),
)


@dataclass(frozen=True)
class Line:
    """One floor in one setting; `known` holds the metrics that there is a figure for."""

    floor: str
    params: dict[str, Any]
    setting: str
    found: dict[str, float]
    known: dict[str, float]
    fit_seconds: float
    evaluate_seconds: float


def load(folder: str) -> tuple[Split, list[str]]:
    """The authors' split and the item texts in its order."""
    raw = read_reclm_release(folder)
    data = Interactions.from_tables(raw.items, raw.interactions, "mind")
    return snapshot_split(data).test, data.items["text"].tolist()


def measure(case: Case, split: Split, vectors: np.ndarray) -> list[Line]:
    """Fit a floor and evaluate it; floors that know no cold items are left out of the zero-shot setting."""
    start = time.perf_counter()
    floor = FLOORS[case.floor](**case.params).fit(split, vectors)
    seconds = time.perf_counter() - start
    lines = []
    for setting in (TEST_ITEMS, ZERO_SHOT) if floor.recommends_cold else (TEST_ITEMS,):
        evaluation = evaluate(floor, split, settings=(setting,))
        found = {metric: evaluation[setting].mean(metric) for metric in METRICS}
        known = case.known.get(setting, {})
        lines.append(Line(case.floor, case.params, setting, found, known, seconds, evaluation.seconds))
    return lines


def peak_mib() -> float:
    """Largest resident memory of this process so far, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def shown(line: Line) -> str:
    """A line of the table: ours, and the known figure in brackets."""
    params = ", ".join(f"{name}={value}" for name, value in line.params.items() if (name, value) != ("k", ALL))
    cells = "".join(
        f"{line.found[metric]:>9.4f} {f'({line.known[metric]:.4f})' if metric in line.known else '':<8}"
        for metric in METRICS
    )
    label = f"{line.floor} {params}".strip()
    return f"{label:<31}{line.setting:<12}{cells}{line.fit_seconds:>8.1f}{line.evaluate_seconds:>8.1f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="the folder `mind` of the release")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    args = parser.parse_args()
    split, texts = load(args.folder)
    vectors = TextEncoder().encode(texts, progress=not args.json)
    lines = [line for case in CASES for line in measure(case, split, vectors)]
    signal = text_signal(split, vectors, permutations=200)
    if args.json:
        content = {
            "lines": [asdict(line) for line in lines],
            "text_signal": asdict(signal),
            "peak_mib": peak_mib(),
        }
        print(json.dumps(content, indent=2))
        return
    print("Ours, and in brackets the figure measured before.\n")
    heads = "".join(f"{metric:>9} {'':<8}" for metric in METRICS)
    print(f"{'':<43}{heads}{'fit s':>8}{'eval s':>8}")
    for line in lines:
        print(shown(line))
    print(f"\ntext signal: {signal.verdict}")
    print(f"peak memory: {peak_mib():,.0f} MiB")


if __name__ == "__main__":
    main()
