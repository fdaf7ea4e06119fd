"""`reclm verify`: whether what a repository says of itself is so."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .output import finish, quoted
from .terminal import plain
from .threads import add_threads

if TYPE_CHECKING:
    from ..hub.verify import Check

EXIT_FAILED = 1


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `verify`."""
    parser = subparsers.add_parser(
        "verify",
        help="check an artefact on the Hub: files, card, and figures by running them again",
        description="Compare files with their hashes, the card with the manifest and the manifest with the files. A "
        "recommender is evaluated again on the tables that it names. The exit code is 1 where something differs.",
    )
    parser.add_argument("source", metavar="ORG/NAME", help="repository, also as ORG/NAME@REVISION, or a pulled folder")
    parser.add_argument("--revision", help="commit, tag or branch; default: main")
    parser.add_argument("--floors", action="store_true", help="fit the floors beside a recommender again, too")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keep what is pulled there")
    parser.add_argument("--endpoint", metavar="URL", help="another server than the Hub; default: HF_ENDPOINT")
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check, and say what was found."""
    from ..hub.verify import verify

    options = {"revision": args.revision, "endpoint": args.endpoint, "cache": args.cache, "floors": args.floors}
    checks = verify(args.source, **options)
    failed = [check for check in checks if not check.passed]
    result = {"source": args.source, "passed": not failed, "checks": [asdict(check) for check in checks]}
    finish(args, [_line(check) for check in checks], result, _next(args.source, checks))
    return EXIT_FAILED if failed else 0


def _line(check: Check) -> str:
    said = "- not checked" if check.skipped else "✓ passed" if check.passed else "✗ failed"
    return f"{said:<13}  {check.name}: {plain(check.detail)}"


def _next(source: str, checks: list[Check]) -> str:
    if not all(check.passed for check in checks):
        return f"do not rely on {source}; its author can push it again, or say why it differs"
    if not Path(source).is_dir():
        return f"reclm pull {quoted(source)}"
    whole = not any(check.skipped for check in checks)
    return f"use {source}; {'it is what it says' if whole else 'nothing that was checked differs'}"
