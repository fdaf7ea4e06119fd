"""`reclm train`: one recommender, epochs chosen on validation, one refit, saved as a transformers model."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .output import finish

if TYPE_CHECKING:
    import pandas as pd

    from ..data.splits import Split


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `train`."""
    from ..data.bundled import DEFAULT

    parser = subparsers.add_parser("train", help="train a recommender; resumable")
    parser.add_argument("data", metavar="DATA", nargs="?", default=DEFAULT, help=f"a folder or a name ({DEFAULT})")
    parser.add_argument("--backbone", choices=("bias_mf", "lightgcn"), default="lightgcn")
    parser.add_argument("--preset", choices=("standard", "floor_residual"), default="floor_residual")
    parser.add_argument(
        "--profile-mode", choices=("none", "constant", "shuffled", "raw_text", "llm"), default="none", dest="mode"
    )
    parser.add_argument(
        "--profiles", metavar="FOLDER", help="of `reclm profiles build`; default: the table shipped with bundled data"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", help="of the run; default: from the settings")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train or resume."""
    from ..data.load import load_splits
    from ..pipeline.runs import trainer_options
    from ..pipeline.manifest import write_manifest
    from ..pipeline.model_stage import Inputs, ModelSpec, train_model
    from ..pipeline.texts import encode_items, encode_profiles
    from ..profiles.leakage import certify
    from ..recommender.text_encoder import TextEncoder

    splits = load_splits(args.data)
    encoder = TextEncoder()
    spec = ModelSpec(args.backbone, args.preset, args.mode, args.seed)
    started = time.perf_counter()
    tables, profiles = {}, {}
    if args.mode not in ("none", "raw_text"):
        for split in (splits.validation, splits.test):
            table = tables[split.name] = _profile_table(args, split)
            certify(table, split, splits.data.items).require()
            profiles[split.name] = encode_profiles(table, splits.data.user_ids, encoder)
    inputs = Inputs(splits, encode_items(splits.data, encoder), profiles, encoder)
    folder = Path("runs") / (args.name or f"{splits.data.name}-{spec.label}")
    options = trainer_options(spec)
    train_model(spec, inputs, options, folder)
    seconds = time.perf_counter() - started
    write_manifest(folder / "model", splits, tables, seconds, {**asdict(spec), **asdict(options)}, test_opened=False)
    model = folder / "model"
    lines = [f"{spec.label} trained on {splits.data.name}: {model}"]
    return finish(args, lines, {"model": str(model), "spec": spec.label}, f"reclm evaluate {model} --data {args.data}")


def _profile_table(args: argparse.Namespace, split: Split) -> pd.DataFrame:
    from ..data.bundled import bundled_names, bundled_profiles
    from ..data.tables import PROFILE_COLUMNS, TableError, read_parquet, require_columns

    if args.profiles:
        path = Path(args.profiles) / split.name / "user_profiles.parquet"
        table = read_parquet(path)
        require_columns(table, list(PROFILE_COLUMNS), str(path))
        return table
    if args.data in bundled_names():
        return bundled_profiles(args.data, split.name)
    raise TableError(
        f"--profile-mode {args.mode} needs profiles: run `reclm profiles build {args.data}` and give its folder with "
        "--profiles."
    )
