"""Make the stored curves anew, and say what changed: `python -m tests.invariant.renew [STAGE ...]`.

With `--check` nothing is written; the exit code says whether everything is as stored.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

# As the tests have it, and before torch is imported: sums over several threads differ in order.
os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

from tests.invariant.reference import changed, differences, path_of, read, snapshot, write
from tests.invariant.runs import STAGES, run


def main(argv: Sequence[str] | None = None) -> int:
    """Run, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "stages", nargs="*", default=list(STAGES), metavar="STAGE", help=f"default: {', '.join(STAGES)}"
    )
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    args = parser.parse_args(argv)
    if unknown := sorted(set(args.stages) - set(STAGES)):
        parser.error(f"{', '.join(unknown)}: choose from {', '.join(STAGES)}")
    news = 0
    for stage in args.stages:
        with tempfile.TemporaryDirectory() as folder:
            curves = run(stage, Path(folder))
        lines = ["new"]
        if path_of(stage).is_file():
            stored = read(stage)
            lines = [f"environment: {line}" for line in changed(stored["environment"], snapshot())]
            lines += differences(stage, curves, stored["curves"], same=True)
        news += bool(lines)
        print(f"{stage}: {'as stored' if not lines else 'compared' if args.check else 'renewed'}")
        for line in lines:
            print(f"  {line}")
        if lines and not args.check:
            write(stage, curves)
    return int(bool(news) and args.check)


if __name__ == "__main__":
    sys.exit(main())
