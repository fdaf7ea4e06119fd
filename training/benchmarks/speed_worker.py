"""The process that measures: told over standard input what to open and when to take a sample, one JSON line each.

Several of them stay open at once, with this package or with that of an earlier commit (PYTHONPATH decides), and are
asked in turn: what is compared is measured within the same seconds, and peak memory is each one's own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
from pathlib import Path
from typing import IO, Any


def peak_mib() -> float:
    """Largest resident memory of this process so far, MiB (Linux counts in KiB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


class Worker:
    """Probes that are open, by way."""

    def __init__(self, folder: Path | None, quick: bool) -> None:
        self.folder, self.quick = folder, quick
        self.context: Any = None
        self.probes: dict[str, Any] = {}

    def open(self, row: str, way: str) -> dict[str, Any]:
        """Build a row and take a sample that does not count. `skipped` where what it needs is not installed."""
        import speed_data
        from speed_authors import AUTHORS
        from speed_ours import OURS, Context

        if self.context is None:
            self.context = Context(speed_data.load(self.folder, self.quick), self.quick)
        try:
            probe = (AUTHORS if way == "authors" else OURS)[row](self.context)
        except (ImportError, OSError) as error:
            return {"skipped": f"{type(error).__name__}: {error}"}
        loaded = peak_mib()
        probe.sample()
        self.probes[way] = probe
        facts = {"data": self.context.data.name, "loaded_mib": loaded, **probe.facts}
        return {"facts": facts, "has_whole": probe.whole is not None}

    def sample(self, way: str, whole: bool = False) -> dict[str, Any]:
        """One figure."""
        probe = self.probes[way]
        cost = probe.whole() if whole else probe.sample()
        return {"wall": cost.wall, "cpu": cost.cpu, "load": os.getloadavg()[0]}

    def close(self, way: str) -> dict[str, Any]:
        """Values to compare, and the memory."""
        probe, peak = self.probes.pop(way), peak_mib()
        return {"check": probe.check(), "peak_mib": peak}


def serve(worker: Worker, orders: IO[str], answers: IO[str]) -> None:
    """Until there are no more orders."""
    for line in orders:
        order = json.loads(line)
        answer = getattr(worker, order.pop("do"))(**order)
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--package", type=Path, required=True, help="the checkout that must be imported")
    args = parser.parse_args()
    # Whatever a library prints must not come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    import torch

    import reclm_hf

    found = Path(str(reclm_hf.__file__)).resolve().parents[1]
    if found != args.package.resolve():
        raise SystemExit(f"reclm_hf was imported from {found}, not from {args.package}")
    torch.set_num_threads(args.threads)
    serve(Worker(args.data, args.quick), sys.stdin, answers)


if __name__ == "__main__":
    main()
