"""`reclm demo`: the whole path on the bundled data, in minutes."""

from __future__ import annotations

import argparse
from pathlib import Path

from .output import finish, quoted, speaker
from .threads import add_threads


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `demo`."""
    parser = subparsers.add_parser(
        "demo", help="the whole path on real data: floors, profiles, recommenders, a report with intervals"
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: runs/demo, or runs/demo-all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true", dest="everything", help="five backbones, three seeds")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="processes that train, each with --threads; default: 2 with --all, else 1"
    )
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run or resume the demo."""
    from ..pipeline.demo import DemoOptions, run_demo
    from ..recommender.catalog import Catalog

    if args.jobs is not None and args.jobs < 1:
        raise ValueError(f"--jobs {args.jobs}: give at least 1.")
    options = DemoOptions(
        folder=args.output or Path("runs/demo-all" if args.everything else "runs/demo"),
        seed=args.seed,
        everything=args.everything,
        jobs=args.jobs or (2 if args.everything else 1),
        threads=args.threads,
    )
    result = run_demo(options, speaker(args))
    user = Catalog.load(result["model"]).user_ids[0]
    lines = [
        "",
        f"Report with all intervals: {result['report']}, with plots: {result['page']} ({result['seconds']:.0f} s)",
    ]
    return finish(
        args,
        lines,
        result,
        f"reclm recommend {quoted(result['model'])} {quoted(user)} --k 10   (or open {result['page']} in a browser)",
    )
