"""How a command ends: what it found, then one line that says what to do next."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any


def finish(args: argparse.Namespace, lines: Iterable[str], result: Mapping[str, Any], next_step: str) -> int:
    """Print the outcome and return the exit code 0.

    With `--json` stdout holds one JSON object, `result` with `next`, and nothing else (NaN and infinities are null);
    otherwise the lines, then the next step.
    """
    if args.json:
        content = _without_nan({**result, "next": next_step})
        json.dump(content, sys.stdout, ensure_ascii=False, indent=2, default=str, allow_nan=False)
        sys.stdout.write("\n")
        return 0
    for line in lines:
        print(line)
    print(f"Next: {next_step}")
    return 0


def _without_nan(value: Any) -> Any:
    # JSON knows neither NaN nor infinity; strict readers refuse the whole object.
    if isinstance(value, Mapping):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
