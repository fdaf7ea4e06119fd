"""`reclm ablation`: what each stage of tuning is worth to a recommender, with intervals and cost."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .output import finish, speaker
from .threads import add_threads

DESCRIPTION = "what each stage of tuning is worth: profiles, recommenders, a table with intervals and cost"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `ablation`."""
    fill(subparsers.add_parser("ablation", help=DESCRIPTION))


def fill(parser: argparse.ArgumentParser) -> None:
    """The flags; a script of its own has the same ones."""
    parser.add_argument(
        "recipe", metavar="RECIPE", nargs="?", type=Path, help="YAML with stages and their folders; default: raw alone"
    )
    parser.add_argument(
        "--output", metavar="FOLDER", help="goes on with what is finished there (runs/ablation/default)"
    )
    parser.add_argument("--data", metavar="DATA", help="a bundled name or a folder")
    parser.add_argument("--users", metavar="FILE", help="a user id a line: those that the stages were tuned without")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes that train, each with --threads")
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run, resume or add to an ablation."""
    from ..pipeline.ablation import run_ablation
    from ..pipeline.ablation_options import read_options

    options = read_options(args.recipe, output=args.output, data=args.data, users=args.users, jobs=args.jobs)
    manifest = run_ablation(options, speaker(args), threads=args.threads)
    folder = Path(options.output)
    paths = {"report": str(folder / "report.md"), "table": str(folder / "ablation.parquet")}
    lines = [f"{', '.join(manifest['key']['stages'])}: {_counted(manifest)}", f"Table: {paths['table']}"]
    return finish(args, lines, {**manifest, **paths}, _next_step(manifest, paths["report"]))


def _counted(manifest: dict[str, Any]) -> str:
    verdicts = manifest["verdicts"]
    return ", ".join(f"{verdicts.get(word, 0)} comparisons {word}" for word in ("better", "worse", "not shown"))


def _next_step(manifest: dict[str, Any], report: str) -> str:
    if len(manifest["key"]["stages"]) == 1:
        return "tune a stage (`reclm sft`), name its folder in the recipe under `stages`, and run this again"
    return f"read {report}"
