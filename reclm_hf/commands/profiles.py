"""`reclm profiles build`: a language model writes a profile of every user, as of a cut."""

from __future__ import annotations

import argparse
from pathlib import Path

from .output import finish


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `profiles` with its subcommands."""
    from ..data.bundled import DEFAULT

    parser = subparsers.add_parser("profiles", help="write user profiles with a language model")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    build = actions.add_parser("build", help="profiles of all users, resumable; a second run writes only what changed")
    build.add_argument("data", metavar="DATA", nargs="?", default=DEFAULT, help=f"a folder or a name ({DEFAULT})")
    build.add_argument("--cut", choices=("validation", "test", "both"), default="both", help="as of which cut")
    build.add_argument(
        "--model", default="HuggingFaceTB/SmolLM2-135M-Instruct", help="Hub id or folder of a chat model"
    )
    build.add_argument("--revision", help="of the model on the Hub")
    build.add_argument("--batch-size", type=int, default=32)
    build.add_argument("--users", type=int, metavar="N", help="only the first N users; default: all with history")
    build.add_argument(
        "--cross-fit",
        action="store_true",
        help="also from each half of the history: `train --profile-fit cross_fit`",
    )
    build.add_argument("--mask-titles", action="store_true", help="show ids instead of titles: a placebo")
    build.add_argument("--output", type=Path, metavar="FOLDER", help="default: runs/NAME/profiles, or profiles-masked")
    build.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write or resume the profiles of one or both cuts."""
    import numpy as np

    from ..data.folds import fold_of_rows
    from ..data.load import load_splits
    from ..pipeline.manifest import profile_summary
    from ..pipeline.profile_stage import write_fold_profiles, write_profiles
    from ..pipeline.texts import encode_items
    from ..profiles.engine_transformers import TransformersEngine
    from ..recommender.text_encoder import TextEncoder

    if args.cross_fit and args.mask_titles:
        raise ValueError("--cross-fit and --mask-titles are separate tables: give one of the two.")
    splits = load_splits(args.data)
    if args.cross_fit:
        for split in (splits.validation, splits.test):
            fold_of_rows(split)  # data without times are refused before hours of writing
    folder = args.output or Path("runs") / splits.data.name / ("profiles-masked" if args.mask_titles else "profiles")
    engine = TransformersEngine.from_model_id(args.model, args.revision, batch_size=args.batch_size)
    item_vectors = encode_items(splits.data, TextEncoder())
    result = {}
    for split in (splits.validation, splits.test):
        if args.cut in (split.name, "both"):
            users = np.unique(split.history_user)[: args.users]
            place = folder / split.name
            table = write_profiles(splits.data, split, item_vectors, engine, place, users, args.mask_titles)
            result[split.name] = profile_summary(table)
            if args.cross_fit:
                for number, part in enumerate(
                    write_fold_profiles(splits.data, split, item_vectors, engine, place, users)
                ):
                    result[f"{split.name}, fold {number}"] = profile_summary(part)
    lines = [
        f"{name}: {summary['rows']} profiles as of {summary['as_of']}, {summary['well_formed']:.1%} well-formed, "
        f"{summary['distinct']:.1%} distinct, {summary['tokens_in']:,} tokens in, {summary['tokens_out']:,} out"
        for name, summary in result.items()
    ]
    mode = "masked_titles" if args.mask_titles else "llm" + (" --profile-fit cross_fit" if args.cross_fit else "")
    return finish(args, lines, result, f"reclm train {args.data} --profiles {folder} --profile-mode {mode}")
