"""Compare the stages of tuning by the recommenders that their profiles make: the same as `reclm ablation`.

python training/ablation.py training/configs/ablation.yaml --output runs/ablation/bundled
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from reclm_hf.commands.ablation import DESCRIPTION, fill


def make_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser] | None = None,
) -> argparse.ArgumentParser:
    """The parser, of its own or below others."""
    parser = (
        argparse.ArgumentParser(description=DESCRIPTION) if subparsers is None else subparsers.add_parser("ablation")
    )
    fill(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object to stdout and nothing else")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; 0 when all went well."""
    args = make_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())
