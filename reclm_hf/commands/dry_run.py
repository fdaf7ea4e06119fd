"""`--dry-run` of the stages: plan and memory in place of the run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .output import finish

if TYPE_CHECKING:
    from ..tuning.arguments import StageArguments


def add_flags(parser: argparse.ArgumentParser) -> None:
    """`--dry-run`, and for how many processes."""
    parser.add_argument("--dry-run", action="store_true", help="print plan and memory, load nothing")
    parser.add_argument(
        "--processes", type=_count, metavar="N", help="with --dry-run: on so many; default: as this was launched"
    )


def show(args: argparse.Namespace, settings: StageArguments) -> int:
    """Print the plan of a stage."""
    from ..tuning.plan import lines, plan
    from ..tuning.progress import quiet_libraries

    with quiet_libraries():
        found = plan(settings, processes=args.processes)
    return finish(args, lines(found), found.to_dict(), "the same command without --dry-run")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number from 1")
    return int(text)
