"""`reclm`: builds the parser from the command modules, runs one, and turns expected errors into one clear line."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from importlib import import_module

from .. import __version__
from ..bundles import BundleError
from .arguments import Parser, leaves
from .progress import bars
from .stopping import called_as, said, stoppable
from .threads import limited

COMMANDS = (
    "demo",
    "data",
    "profiles",
    "instructions",
    "sft",
    "preferences",
    "reward",
    "refine",
    "measure",
    "ablation",
    "train",
    "evaluate",
    "recommend",
    "reproduce",
    "push",
    "pull",
    "verify",
    "space",
    "completion",
)
_TRAINING = ("peft", "trl", "evaluate")
EXIT_ERROR = 2
MENDABLE = (ValueError, KeyError, OSError, ImportError, BundleError)  # by a person, who needs no traceback
_FIRST_STEP = "First step: reclm demo   (the whole path on real data, in minutes)"


def build_parser() -> Parser:
    """The parser with all commands; importing them loads nothing heavy."""
    parser = Parser(prog="reclm", description="Leak-free LLM profiles for recommenders.")
    parser.add_argument("--version", action="version", version=f"reclm {__version__}")
    parser.set_defaults(run=partial(_help, parser), json=False, quiet=False, debug=False)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name in COMMANDS:
        import_module(f"{__package__}.{name}").add_parser(subparsers)
    for leaf in leaves(parser):
        add_manners(leaf)
        leaf.set_defaults(prog=leaf.prog)
    return parser


def add_manners(parser: argparse.ArgumentParser) -> None:
    """The flags of every command, which a script of its own has too."""
    parser.add_argument("--json", action="store_true", help="print one JSON object to stdout and nothing else")
    parser.add_argument("--quiet", action="store_true", help="print the result and errors: no progress, no notes")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0, or 2 after an error that a person can mend (printed as one line to stderr), or 130 and 143 when SIGINT or
        SIGTERM ended it.
    """
    program, argv = (called_as(), sys.argv[1:]) if argv is None else (["reclm"], argv)
    args = argparse.Namespace()
    with ExitStack() as stack:
        try:
            stack.enter_context(stoppable())
            stack.enter_context(limited(argv))
            args = build_parser().parse_args(argv)
            log(args)
            stack.enter_context(bars(getattr(args, "quiet", False)))
            code = int(args.run(args))
            sys.stdout.flush()  # here, where a reader that has gone is no error
            return code
        except KeyboardInterrupt as stop:
            text, code = said(stop, getattr(args, "prog", "").removeprefix("reclm "), argv, program)
            print(text, file=sys.stderr)
            return code
        except BrokenPipeError:
            # The reader (`| head`) has gone: nothing is wrong, but Python would complain when it flushes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except MENDABLE as error:
            if getattr(args, "debug", False):
                raise
            print(f"reclm: error: {message_of(error)}", file=sys.stderr)
            return EXIT_ERROR


def log(args: argparse.Namespace) -> None:
    """Where notes and warnings go: stderr, as plain lines; `--quiet` leaves the warnings."""
    quiet = getattr(args, "quiet", False)
    logging.basicConfig(level=logging.WARNING if quiet else logging.INFO, format="%(message)s", stream=sys.stderr)
    for chatty in ("httpx", "httpx2", "urllib3", "filelock", "datasets", "fsspec"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _help(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    parser.print_help()
    print(f"\n{_FIRST_STEP}")
    return 0


def message_of(error: Exception) -> str:
    """One line for an error that a person can mend."""
    # str() of a KeyError is the repr of its message.
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if isinstance(error, ModuleNotFoundError) and error.name in _TRAINING:
        text += ": tuning needs more packages, pip install 'reclm-hf[train]'"
    return " ".join(text.split()) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
