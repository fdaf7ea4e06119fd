"""A command as a script of its own, for launchers that start scripts (`accelerate launch training/sft.py ...`)."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from types import ModuleType

from .main import add_manners, log
from .progress import bars


def make_parser(
    command: ModuleType, name: str, subparsers: argparse._SubParsersAction[argparse.ArgumentParser] | None = None
) -> argparse.ArgumentParser:
    """The parser of a script, or of a subcommand `name` below others.

    Args:
        command: a module of this folder with one parser: `DESCRIPTION`, and `fill(parser)` that sets `run`.
    """
    if subparsers is None:
        parser = argparse.ArgumentParser(description=command.DESCRIPTION)
    else:
        parser = subparsers.add_parser(name, help=command.DESCRIPTION)
    command.fill(parser)
    add_manners(parser)
    return parser


def main(command: ModuleType, name: str, argv: Sequence[str] | None = None) -> int:
    """Run a command with these flags; its exit code."""
    args = make_parser(command, name).parse_args(argv)
    log(args)
    with bars(args.quiet):
        return int(args.run(args))
