"""How a command speaks: lines on the way, then what it found and one line that says what to do next."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def speaker(args: argparse.Namespace) -> Callable[[str], None]:
    """What prints the lines of a command that is under way: to stdout, with `--json` to stderr, with `--quiet` nowhere.

    They are for a person to read while waiting; what a command found goes to `finish`.
    """
    if args.quiet:
        return lambda line: None
    return lambda line: print(line, file=sys.stderr if args.json else sys.stdout, flush=True)


def finish(args: argparse.Namespace, lines: Iterable[str], result: Mapping[str, Any], next_step: str) -> int:
    """Print the outcome and return the exit code 0.

    With `--json` stdout holds one JSON object, `result` with `next`, and nothing else (NaN and infinities are null);
    otherwise the lines, then the next step, which `--quiet` leaves out.
    """
    if args.json:
        content = _without_nan({**result, "next": next_step})
        json.dump(content, sys.stdout, ensure_ascii=False, indent=2, default=str, allow_nan=False)
        sys.stdout.write("\n")
        return 0
    for line in lines:
        print(line)
    if not getattr(args, "quiet", False):
        print(f"Next: {next_step}")
    return 0


def quoted(word: object) -> str:
    """A folder, an id or a text as a next step names it: the step can be pasted into a shell, whatever it is called."""
    return shlex.quote(str(word))


def _without_nan(value: Any) -> Any:
    # JSON knows neither NaN nor infinity; strict readers refuse the whole object.
    if isinstance(value, Mapping):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
