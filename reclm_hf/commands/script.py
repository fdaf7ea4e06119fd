"""A command as a script of its own, for launchers that start scripts (`accelerate launch training/sft.py ...`)."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from types import ModuleType


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
    parser.add_argument("--json", action="store_true", help="print one JSON object to stdout and nothing else")
    return parser


def main(command: ModuleType, name: str, argv: Sequence[str] | None = None) -> int:
    """Run a command with these flags; its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    args = make_parser(command, name).parse_args(argv)
    return int(args.run(args))
