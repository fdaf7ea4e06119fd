"""`reclm reproduce`: the paper's Table 1 on the authors' data release, ours beside theirs."""

from __future__ import annotations

import argparse
from pathlib import Path

from .output import finish, speaker
from .threads import add_threads
from .train import BACKBONES


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `reproduce`."""
    parser = subparsers.add_parser(
        "reproduce",
        help="the paper's Table 1 on the authors' data release, ours beside theirs",
        description="Train the authors' models with their settings on their data, and put the results beside floors "
        "and published figures. Nothing is chosen on the test matrix: the last epoch counts. On one core bias_mf, ncf "
        "and lightgcn take minutes a seed, sgl and simgcl half an hour. Cut off anywhere, the same command goes on.",
    )
    parser.add_argument("release", metavar="FOLDER", type=Path, help="`mind` or `netflix` of the authors' release")
    parser.add_argument(
        "--backbones", choices=BACKBONES, nargs="+", default=list(BACKBONES), metavar="NAME", help=", ".join(BACKBONES)
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="of each recommender (%(default)s)")
    parser.add_argument("--epochs", type=int, default=50, metavar="N", help="of each recommender (%(default)s)")
    parser.add_argument(
        "--profiles",
        type=Path,
        metavar="FILE",
        help="Parquet or CSV with user_id and profile: the augmented variants too",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes that train, each with --threads")
    parser.add_argument("--output", type=Path, default=Path("runs/reproduce"), metavar="FOLDER", help="(%(default)s)")
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run or resume it."""
    from ..pipeline.reproduce import ReproduceOptions, run_reproduce

    options = ReproduceOptions(
        release=args.release,
        backbones=tuple(args.backbones),
        seeds=args.seeds,
        epochs=args.epochs,
        profiles=args.profiles,
        jobs=args.jobs,
        threads=args.threads,
        folder=args.output,
    )
    result = run_reproduce(options, speaker(args))
    lines = result.pop("lines")
    return finish(args, lines, result, f"read {result['report']} and {args.output / 'published.md'}")
