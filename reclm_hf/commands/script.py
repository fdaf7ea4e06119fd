"""A command as a script of its own, for launchers that start scripts (`accelerate launch training/sft.py ...`)."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from types import ModuleType

from .main import EXIT_ERROR, MENDABLE, add_manners, log, message_of
from .progress import bars
from .stopping import called_as, said, stoppable
from .threads import limited


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
    """Run a command with these flags; its exit code, as `reclm`'s.

    A launcher (accelerate, torch.distributed.run) ends the processes that it has started by itself.
    """
    program, argv = (called_as(), sys.argv[1:]) if argv is None else ([name], argv)
    with ExitStack() as stack:
        stack.enter_context(limited(argv))
        args = make_parser(command, name).parse_args(argv)
        log(args)
        try:
            if "LOCAL_RANK" not in os.environ:
                stack.enter_context(stoppable())
            stack.enter_context(bars(args.quiet))
            return int(args.run(args))
        except KeyboardInterrupt as stop:
            text, code = said(stop, name, argv, program)
            print(text, file=sys.stderr)
            return code
        except MENDABLE as error:
            if args.debug:
                raise
            print(f"{name}: error: {message_of(error)}", file=sys.stderr)
            return EXIT_ERROR
