"""Train a reward model on preference pairs: what `reclm reward` does, as a script.

python training/reward.py --config training/configs/reward.yaml --output runs/reward
accelerate launch --num_processes 2 training/reward.py --preferences ... --output ...
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from reclm_hf.commands.reward import DESCRIPTION, fill


def make_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser] | None = None,
) -> argparse.ArgumentParser:
    """The parser of the script, or of a subcommand `reward`."""
    if subparsers is not None:
        parser = subparsers.add_parser("reward", help=DESCRIPTION)
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    fill(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object to stdout and nothing else")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Train by flags and recipe; returns the exit code."""
    args = make_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())
