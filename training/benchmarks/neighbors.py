"""Time the exact search for similar users: `python training/benchmarks/neighbors.py` (100,000 users: half a minute).

Vectors are drawn around 50 centres, as tastes cluster; the search is exact, so that its time hardly depends on them.
The last line is a catalogue where a tenth of the users has no history and is placed by text.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from reclm_hf.profiles.neighbors import NEIGHBORS, find_neighbors

USERS = (10_000, 100_000)
DIMENSION = 32  # of the standard recommender
TEXT_DIMENSION = 384  # of the standard text encoder
CENTRES = 50
WITHOUT_HISTORY = 0.1


@dataclass(frozen=True)
class Line:
    """One search; `peak_mib` is the memory of the process so far, `vectors_mib` what the vectors alone take."""

    users: int
    without_history: int
    seconds: float
    users_per_second: float
    vectors_mib: float
    peak_mib: float


def clustered(rows: int, dimension: int, seed: int = 0) -> np.ndarray:
    """float32 [rows, dimension] around common centres."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((CENTRES, dimension), dtype=np.float32)
    return centres[rng.integers(0, CENTRES, rows)] + rng.standard_normal((rows, dimension), dtype=np.float32)


def peak_mib() -> float:
    """Largest resident memory of this process so far, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def measure(users: int, n: int, share_without_history: float = 0.0) -> Line:
    """One search among `users` users."""
    vectors, texts = clustered(users, DIMENSION), None
    new = int(users * share_without_history)
    if new:
        vectors[:new] = 0.0
        texts = clustered(users, TEXT_DIMENSION, seed=1)
    start = time.perf_counter()
    find_neighbors(vectors, texts, n)
    seconds = time.perf_counter() - start
    held = (vectors.nbytes + (0 if texts is None else texts.nbytes)) / 2**20
    return Line(users, new, seconds, users / seconds, held, peak_mib())


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, nargs="+", default=list(USERS), help="how many users, one search each")
    parser.add_argument("--neighbors", type=int, default=NEIGHBORS, help="neighbours a user (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    args = parser.parse_args(argv)
    lines = [measure(users, args.neighbors) for users in args.users]
    lines.append(measure(args.users[0], args.neighbors, WITHOUT_HISTORY))
    if args.json:
        print(json.dumps([asdict(line) for line in lines], indent=2))
        return
    print(f"{'users':>9}{'no history':>12}{'seconds':>10}{'users/s':>11}{'vectors MiB':>13}{'peak MiB':>10}")
    for line in lines:
        print(
            f"{line.users:>9,}{line.without_history:>12,}{line.seconds:>10.2f}{line.users_per_second:>11,.0f}"
            f"{line.vectors_mib:>13,.1f}{line.peak_mib:>10,.0f}"
        )


if __name__ == "__main__":
    main()
