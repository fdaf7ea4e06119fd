"""What the commands of the stages of tuning share: flags, `--dry-run`, and how figures and cost are shown."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from .arguments import count
from .output import finish
from .threads import add_threads

if TYPE_CHECKING:
    from ..tuning.arguments import StageArguments


def fill(
    parser: argparse.ArgumentParser, settings: type[StageArguments], run: Callable[[argparse.Namespace], int]
) -> None:
    """A flag for every setting of a stage, `--config` and `--dry-run`; `run` is what the command does."""
    from ..tuning.recipes import add_arguments

    add_arguments(parser, settings)
    add_threads(parser)
    parser.set_defaults(run=run)
    parser.add_argument("--dry-run", action="store_true", help="print plan and memory, load nothing")
    parser.add_argument(
        "--processes", type=count, metavar="N", help="with --dry-run: on so many; default: as this was launched"
    )


def show(args: argparse.Namespace, settings: StageArguments) -> int:
    """Print the plan of a stage."""
    from ..tuning.plan import lines, plan
    from ..tuning.progress import quiet_libraries

    with quiet_libraries():
        found = plan(settings, processes=args.processes)
    return finish(args, lines(found), found.to_dict(), "the same command without --dry-run")


def cost_line(cost: Mapping[str, float]) -> str:
    """Seconds and memory of a stage, from its manifest."""
    return f"{cost['wall_s']:,.0f} s ({cost['cpu_s']:,.0f} s of processor), {cost['peak_rss_mib']:,.0f} MiB at most"


def figure(value: float | None) -> str:
    """Three digits, or a dash for what is not known."""
    return "-" if value is None else f"{value:.3f}"
