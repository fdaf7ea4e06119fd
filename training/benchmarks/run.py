"""Time the hot paths on the bundled data: `make bench`, or `python training/benchmarks/run.py --json`.

Each step runs once to warm up and then three times; the fastest counts. The figures are for comparing two states of
this code on one machine, not machines with each other.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

from reclm_hf.baselines.ease import EASE
from reclm_hf.baselines.popularity import Popularity
from reclm_hf.baselines.text_cosine import TextCosine
from reclm_hf.data.bundled import bundled_splits
from reclm_hf.data.describe import text_signal
from reclm_hf.data.features import history_mean
from reclm_hf.evaluation.protocol import evaluate

REPEATS = 3
DIMENSION = 384  # of the standard text encoder


def fastest(step: Callable[[], object]) -> float:
    """Seconds of the fastest of three runs, after one that warms up."""
    step()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def measure() -> dict[str, float]:
    """Seconds by step."""
    splits = bundled_splits()
    test = splits.test
    vectors = np.random.default_rng(0).standard_normal((test.n_items, DIMENSION), dtype=np.float32)
    popularity = Popularity().fit(test)
    cosine = TextCosine().fit(test, vectors)
    steps: dict[str, Callable[[], object]] = {
        "load and split": bundled_splits,
        "history means": lambda: history_mean(test, vectors),
        "text signal, 20 permutations": lambda: text_signal(test, vectors, permutations=20),
        "fit EASE": lambda: EASE().fit(test),
        "evaluate popularity": lambda: evaluate(popularity, test),
        "evaluate text cosine": lambda: evaluate(cosine, test),
    }
    return {name: fastest(step) for name, step in steps.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    args = parser.parse_args()
    found = measure()
    if args.json:
        print(json.dumps(found, indent=2))
        return
    for name, seconds in found.items():
        print(f"{name:<30}{seconds:>9.3f} s")


if __name__ == "__main__":
    main()
