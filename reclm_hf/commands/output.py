"""How a command ends: what it found, then one line that says what to do next."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any


def finish(args: argparse.Namespace, lines: Iterable[str], result: Mapping[str, Any], next_step: str) -> int:
    """Print the outcome and return the exit code 0.

    With `--json` stdout holds one JSON object, `result` with `next`, and nothing else; otherwise the lines, then the
    next step.
    """
    if args.json:
        json.dump({**result, "next": next_step}, sys.stdout, ensure_ascii=False, indent=2, default=str)
        sys.stdout.write("\n")
        return 0
    for line in lines:
        print(line)
    print(f"Next: {next_step}")
    return 0
