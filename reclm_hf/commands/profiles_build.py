"""`reclm profiles build`: a language model writes a profile of every user and item, as of a cut."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import finish, quoted
from .profile_options import add_form_options, add_writing_options, engine_of, form_of, meter_lines, style_of
from .threads import add_threads

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ..data.splits import Split, Splits

_SIDES = ("both", "user", "item")


def add_build(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `profiles build` among the actions of `profiles`."""
    from ..data.bundled import DEFAULT

    build = actions.add_parser("build", help="profiles of all users and items; resumable, writes only what changed")
    build.add_argument(
        "data", metavar="DATA", nargs="?", default=DEFAULT, help=f"a folder, a name or a Hub id ({DEFAULT})"
    )
    build.add_argument("--cut", choices=("validation", "test", "both"), default="both", help="as of which cut")
    build.add_argument(
        "--sides", choices=_SIDES, default="both", help="profiles of users, items, or both (%(default)s)"
    )
    build.add_argument(
        "--min-interactions", type=int, default=5, metavar="N", help="of an item that gets a profile; cold ones all do"
    )
    build.add_argument("--users", type=int, metavar="N", help="only the first N users; default: all with history")
    build.add_argument(
        "--cross-fit",
        action="store_true",
        help="users also from each half of the history: `train --profile-fit cross_fit`",
    )
    build.add_argument(
        "--best-of",
        type=int,
        default=1,
        metavar="N",
        help="write N profiles of each user and keep the best by format and personalisation (N times the cost)",
    )
    build.add_argument("--mask-titles", action="store_true", help="users only, ids instead of titles: a placebo")
    build.add_argument("--output", type=Path, metavar="FOLDER", help="default: runs/NAME/profiles, or profiles-masked")
    add_form_options(build, None, "what a profiler was tuned with, else examples")
    add_writing_options(build)
    add_threads(build)
    build.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write or resume the profiles of one or both cuts."""
    from ..data.folds import fold_of_rows
    from ..data.load import load_splits
    from ..pipeline.texts import encode_items
    from ..recommender.text_encoder import TextEncoder

    if args.cross_fit and args.mask_titles:
        raise ValueError("--cross-fit and --mask-titles are separate tables: give one of the two.")
    if args.mask_titles and args.sides == "item":
        raise ValueError("--mask-titles is a placebo for users' profiles: leave --sides item out.")
    if args.best_of < 1:
        raise ValueError(f"--best-of {args.best_of}: give 1 for the greedy profile, or how many to choose from.")
    splits = load_splits(args.data)
    if args.cross_fit:
        for split in (splits.validation, splits.test):
            fold_of_rows(split)  # data without times are refused before hours of writing
    name = "profiles-masked" if args.mask_titles else "profiles"
    folder = args.output or Path("runs") / splits.data.name / name
    style = style_of(args)  # refused before a model is loaded
    engine, encoder = engine_of(args), TextEncoder()
    form = form_of(args, engine)
    item_vectors = encode_items(splits.data, encoder)
    result: dict[str, Any] = {}
    lines: list[str] = []
    for split in (splits.validation, splits.test):
        if args.cut in (split.name, "both"):
            found, said = _build_cut(
                args, splits, split, item_vectors, engine, encoder, style, form, folder / split.name
            )
            result |= found
            lines += said
    return finish(args, lines + meter_lines(engine), result, _next_step(args, folder))


def _build_cut(
    args: argparse.Namespace,
    splits: Splits,
    split: Split,
    item_vectors: np.ndarray,
    engine: Any,
    encoder: Any,
    style: Any,
    form: dict[str, Any],
    folder: Path,
) -> tuple[dict[str, Any], list[str]]:
    import numpy as np

    from ..pipeline.profile_stage import write_fold_profiles, write_item_profiles, write_profiles
    from ..profiles.quality import quality_lines, quality_report
    from ..profiles.teacher import BestOfN, HistoryScorer, halves

    writer = engine
    if args.best_of > 1:
        scorer = HistoryScorer(split.user_ids, halves(split, item_vectors), encoder)
        writer = BestOfN(engine, args.best_of, scorer, folder / "candidates")
    users = np.unique(split.history_user)[: args.users]
    started = time.perf_counter()
    table = write_profiles(splits.data, split, item_vectors, writer, folder, users, args.mask_titles, style, **form)
    result, lines = _summary(f"users, {split.name}", table, time.perf_counter() - started)
    quality = quality_report(table, split, item_vectors, encoder)
    result[f"users, {split.name}"]["quality"] = quality
    lines += [f"  {line}" for line in quality_lines(quality)]
    if args.cross_fit:
        folds = write_fold_profiles(splits.data, split, item_vectors, engine, folder, users, style, **form)
        for number, part in enumerate(folds):
            found, said = _summary(f"users, {split.name}, fold {number}", part, float("nan"))
            result |= found
            lines += said
    if args.sides != "user" and not args.mask_titles:
        started = time.perf_counter()
        items = write_item_profiles(
            splits.data, split, item_vectors, table, engine, folder, style, args.min_interactions
        )
        for phase, name in (("interactions", "items"), ("similar_items", "cold items")):
            seconds = time.perf_counter() - started
            found, said = _summary(f"{name}, {split.name}", items[items["phase"] == phase], seconds)
            result |= found
            lines += said
    return result, lines


def _summary(name: str, table: pd.DataFrame, seconds: float) -> tuple[dict[str, Any], list[str]]:
    from ..pipeline.manifest import profile_summary

    found = profile_summary(table) | {"seconds": round(seconds, 1)}
    line = (
        f"{name}: {found['rows']} profiles as of {found['as_of']}, {found['well_formed']:.1%} well-formed, "
        f"{found['distinct']:.1%} distinct, {found['tokens_in']:,} tokens in, {found['tokens_out']:,} out"
    )
    return {name: found}, [line]


def _next_step(args: argparse.Namespace, folder: Path) -> str:
    if args.mask_titles:
        mode = "masked_titles"
    else:
        mode = "llm" + (" --profile-fit cross_fit" if args.cross_fit else "")
        mode += {"user": "", "both": " --profile-sides both", "item": " --profile-sides item"}[args.sides]
    return f"reclm train {quoted(args.data)} --profiles {quoted(folder)} --profile-mode {mode}"
