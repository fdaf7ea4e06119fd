"""`reclm evaluate`: saved recommenders beside the floors, with intervals."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .output import finish
from .threads import add_threads

if TYPE_CHECKING:
    import pandas as pd

    from ..report.people_map import MapPoints


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `evaluate`."""
    from ..data.bundled import DEFAULT

    parser = subparsers.add_parser("evaluate", help="evaluate saved recommenders on the test period beside the floors")
    parser.add_argument("models", metavar="MODEL", nargs="+", help="folders or Hub ids")
    parser.add_argument("--data", default=DEFAULT, help=f"a folder, a name or a Hub id ({DEFAULT})")
    parser.add_argument("--output", type=Path, default=Path("runs/evaluate"), metavar="FOLDER")
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate and write the report."""
    from tqdm.auto import tqdm

    from ..data.load import load_splits
    from ..evaluation.report import write_report
    from ..evaluation.report_text import render_terminal
    from ..pipeline.evaluate_stage import floor_rows, saved_model_rows
    from ..pipeline.texts import encode_items
    from ..recommender.text_encoder import TextEncoder
    from ..report.extras import gather
    from ..report.page import write_html

    splits = load_splits(args.data)
    models = tqdm(args.models, desc="evaluation", unit="model")
    rows = [row for source in models for row in saved_model_rows(source, splits.test)]
    rows = floor_rows(splits, encode_items(splits.data, TextEncoder()), args.output / "floors") + rows
    labels = [row.label for row in rows if row.kind == "model"]
    floors = [row.label for row in rows if row.kind == "floor"]
    results, comparisons = write_report(
        args.output,
        rows,
        [(model, floor) for model in labels for floor in floors],
        dataset=splits.data.name,
        fingerprint=splits.fingerprint,
    )
    extras = gather(curves=lambda: _curves(args.models), map=lambda: _map(args.models[0]))
    page = write_html(args.output, extras)
    content = {
        "report": str(args.output / "report.md"),
        "page": str(page),
        "comparisons": comparisons.to_dict("records"),
    }
    next_step = f"open {page} in a browser, or reclm recommend {args.models[0]} USER"
    return finish(args, [render_terminal(results)], content, next_step)


def _curves(models: Sequence[str]) -> pd.DataFrame | None:
    """What training wrote beside those models that are folders of a run, `NAME/model`."""
    from ..report.curves import curves_of

    return curves_of({Path(source).parent: source for source in models if Path(source).is_dir()})


def _map(model: str) -> MapPoints:
    from ..auto import RecLMRecommender
    from ..report.people_map import map_points

    return map_points(RecLMRecommender.from_pretrained(model), name=model)
