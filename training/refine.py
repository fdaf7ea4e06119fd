"""Refinement by a reward, as `reclm refine` does it; for launchers that want a script.

python training/refine.py --config training/configs/refine-rloo.yaml --output runs/tuning/rloo
accelerate launch --num_processes 2 --cpu training/refine.py --config ... --output ...      (rloo and grpo)
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from reclm_hf.commands import refine


def make_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser] | None = None,
) -> argparse.ArgumentParser:
    """The parser, of its own or below others."""
    parser = (
        argparse.ArgumentParser(description=refine.DESCRIPTION)
        if subparsers is None
        else subparsers.add_parser("refine")
    )
    refine.fill(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object to stdout and nothing else")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Refine."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    args = make_parser().parse_args(argv)
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())
