"""`reclm`: builds the parser from the command modules, runs one, and turns expected errors into one clear line."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from .. import __version__
from ..bundles import BundleError

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
    "push",
    "pull",
    "verify",
)
_TRAINING = ("peft", "trl", "evaluate")
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


def build_parser() -> argparse.ArgumentParser:
    """The parser with all commands; importing them loads nothing heavy."""
    parser = argparse.ArgumentParser(prog="reclm", description="Leak-free LLM profiles for recommenders.")
    parser.add_argument("--version", action="version", version=f"reclm {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        import_module(f"{__package__}.{name}").add_parser(subparsers)
    for leaf in _leaves(parser):
        leaf.add_argument("--json", action="store_true", help="print one JSON object to stdout and nothing else")
        leaf.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0, or 2 after an error that a person can mend (printed as one line to stderr), or 130 when interrupted.
    """
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for chatty in ("httpx", "httpx2", "urllib3", "filelock", "datasets", "fsspec"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        code = int(args.run(args))
        sys.stdout.flush()  # here, where a reader that has gone is no error
        return code
    except KeyboardInterrupt:
        print("reclm: interrupted; the same command goes on from what is finished.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has gone: nothing is wrong, but Python would complain when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, KeyError, OSError, ImportError, BundleError) as error:
        if args.debug:
            raise
        print(f"reclm: error: {_message(error)}", file=sys.stderr)
        return EXIT_ERROR


def _message(error: Exception) -> str:
    # str() of a KeyError is the repr of its message.
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if isinstance(error, ModuleNotFoundError) and error.name in _TRAINING:
        text += ": tuning needs more packages, pip install 'reclm-hf[train]'"
    return " ".join(text.split()) or type(error).__name__


def _leaves(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        return [parser]
    # A parser may stand under several names (aliases): each once.
    children = {id(child): child for group in groups for child in group.choices.values()}
    return [leaf for child in children.values() for leaf in _leaves(child)]


if __name__ == "__main__":
    sys.exit(main())
