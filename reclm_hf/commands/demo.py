"""`reclm demo`: the whole path on the bundled data, in minutes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .output import finish


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `demo`."""
    parser = subparsers.add_parser(
        "demo", help="the whole path on real data: floors, profiles, recommenders, a report with intervals"
    )
    parser.add_argument("--output", type=Path, default=Path("runs/demo"), metavar="FOLDER", help="default: runs/demo")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run or resume the demo."""
    from ..pipeline.demo import DemoOptions, run_demo
    from ..recommender.catalog import Catalog

    def say(line: str) -> None:
        print(line, file=sys.stderr if args.json else sys.stdout, flush=True)

    result = run_demo(DemoOptions(folder=args.output, seed=args.seed), say)
    user = Catalog.load(result["model"]).user_ids[0]
    lines = ["", f"Report with all intervals and a picture: {result['report']} ({result['seconds']:.0f} s)"]
    return finish(
        args, lines, result, f"reclm recommend {result['model']} {user} --k 10   (or read {result['report']})"
    )
