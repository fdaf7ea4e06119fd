"""Supervised tuning on instructions, as `reclm sft` does it; for launchers that want a script.

python training/sft.py --config training/configs/sft-smollm2-135m.yaml --output runs/tuning/mask
accelerate launch --config_file training/configs/accelerate-fsdp.yaml training/sft.py --config ... --output ...
    python -m torch.distributed.run --nproc_per_node 2 training/sft.py --config ... --output ... --use-cpu
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from reclm_hf.commands import sft


def make_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser] | None = None,
) -> argparse.ArgumentParser:
    """The parser, of its own or below others."""
    parser = (
        argparse.ArgumentParser(description=sft.DESCRIPTION) if subparsers is None else subparsers.add_parser("sft")
    )
    sft.fill(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object to stdout and nothing else")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Tune."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    args = make_parser().parse_args(argv)
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())
