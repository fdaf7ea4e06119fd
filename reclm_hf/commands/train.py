"""`reclm train`: one recommender, epochs chosen on validation, one refit, saved as a transformers model."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import finish, quoted
from .profile_options import profiles_path
from .threads import add_threads

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ..data.profile_tables import Side
    from ..data.splits import Split, Splits
    from ..profiles.leakage import Certificate


# Written out: importing the recommender here would slow down every command.
BACKBONES = ("bias_mf", "ncf", "lightgcn", "sgl", "simgcl")
OPTIMIZERS, PRECISIONS = ("adam", "row_sparse_adam"), ("float32", "bfloat16")
MODES = ("none", "llm", "constant", "random", "shuffled", "neighbour", "raw_text", "masked_titles")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `train`."""
    from ..data.bundled import DEFAULT

    parser = subparsers.add_parser("train", help="train a recommender; resumable")
    parser.add_argument(
        "data", metavar="DATA", nargs="?", default=DEFAULT, help=f"a folder, a name or a Hub id ({DEFAULT})"
    )
    parser.add_argument("--backbone", choices=BACKBONES, default="lightgcn")
    parser.add_argument("--preset", choices=("reference", "standard", "floor_residual"), default="floor_residual")
    parser.add_argument("--profile-mode", choices=MODES, default="none", dest="mode")
    parser.add_argument(
        "--profile-sides",
        choices=("user", "item", "both"),
        default="user",
        help="whose profiles are fused (%(default)s)",
    )
    parser.add_argument(
        "--profile-fit",
        choices=("full", "leave_one_out", "cross_fit"),
        default="full",
        help="which profile a positive is trained with; leave_one_out: raw_text only",
    )
    parser.add_argument(
        "--profiles", metavar="FOLDER", help="of `reclm profiles build`; default: the table shipped with bundled data"
    )
    parser.add_argument(
        "--search",
        type=int,
        default=1,
        metavar="N",
        help="try N settings on validation; default: 1, the preset's own",
    )
    parser.add_argument(
        "--optimizer",
        choices=OPTIMIZERS,
        default=OPTIMIZERS[0],
        help="row_sparse_adam leaves rows that a batch does not touch as they are: another method with other results, "
        "for millions of users or items; bias_mf and ncf in standard only (%(default)s)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="bfloat16 is an approximation: matrix products of training in half precision (%(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", help="of the run; default: from the settings")
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train or resume."""
    from ..data.load import load_splits
    from ..pipeline.manifest import write_manifest
    from ..pipeline.model_stage import Inputs, require_trainable, train_model
    from ..pipeline.runs import trainer_options
    from ..pipeline.specs import ModelSpec
    from ..pipeline.texts import encode_items
    from ..recommender.text_encoder import TextEncoder

    args.data, info, tables = _source(args.data)
    splits = load_splits(args.data)
    encoder = TextEncoder()
    spec = ModelSpec(
        args.backbone,
        args.preset,
        args.mode,
        args.seed,
        profile_sides=args.profile_sides,
        profile_fit=args.profile_fit,
    )
    options = trainer_options(spec, args.threads, args.optimizer, args.precision)
    require_trainable(spec, options)
    started = time.perf_counter()
    read = _read_profiles(args, splits, encoder) if spec.needs_table else _Profiles()
    vectors = encode_items(splits.data, encoder)
    inputs = Inputs(splits, vectors, read.users, encoder, item_profiles=read.items, fold_profiles=read.folds)
    folder = Path("runs") / (args.name or f"{splits.data.name}-{spec.label}")
    train_model(spec, inputs, options, folder, args.search, progress=True)
    seconds = time.perf_counter() - started
    settings = {**asdict(spec), **asdict(options), "search": args.search}
    write_manifest(
        folder / "model",
        splits,
        read.tables,
        seconds,
        settings,
        test_opened=False,
        certificates=read.certificates,
        info=info,
        tables=tables,
    )
    model = folder / "model"
    lines = [f"{spec.label} trained on {splits.data.name}: {model}"]
    return finish(
        args,
        lines,
        {"model": str(model), "spec": spec.label},
        f"reclm evaluate {quoted(model)} --data {quoted(args.data)}",
    )


def _source(data: str) -> tuple[str, dict[str, Any] | None, str | None]:
    """A data source, a repository by its full commit; its `dataset.json`; and the repository, if it is one."""
    from ..data.folder import read_info
    from ..data.hub_tables import fetch_tables, hub_id

    found = hub_id(data)
    if found is None:
        folder = Path(data).expanduser()
        return data, read_info(folder) if folder.is_dir() else None, None
    folder = fetch_tables(*found, ())
    pinned = f"{found[0]}@{folder.name}"  # the cache names a snapshot by its commit
    return pinned, read_info(folder), pinned


@dataclass(frozen=True)
class _Profiles:
    """Certified tables by name, and their vectors by split."""

    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    users: dict[str, np.ndarray] = field(default_factory=dict)
    items: dict[str, np.ndarray] = field(default_factory=dict)
    folds: dict[str, list[np.ndarray]] = field(default_factory=dict)
    certificates: list[Certificate] = field(default_factory=list)

    def certified(self, certificate: Certificate) -> None:
        """Keep a certificate. Raises LeakageError where the table did not pass."""
        certificate.require()
        self.certificates.append(certificate)


def _read_profiles(args: argparse.Namespace, splits: Splits, encoder: Any) -> _Profiles:
    """The profiles that the options ask for; a table that knows what its cut must not is refused."""
    from ..pipeline.texts import encode_profiles
    from ..profiles.leakage import certify, certify_items

    read = _Profiles()
    for split in (splits.validation, splits.test):
        if args.profile_sides != "item":
            table = read.tables[split.name] = _profile_table(args, split, "user")
            read.certified(certify(table, split, splits.data.items))
            read.users[split.name] = encode_profiles(table, splits.data.user_ids, encoder)
        if args.profile_sides != "user":
            table = read.tables[f"{split.name}, items"] = _profile_table(args, split, "item")
            read.certified(certify_items(table, split, splits.data.items, _readers(args, split)))
            read.items[split.name] = encode_profiles(table, splits.data.item_ids, encoder)
        if args.profile_fit == "cross_fit" and args.mode == "llm":
            read.folds[split.name] = [
                encode_profiles(part, splits.data.user_ids, encoder) for part in _fold_tables(args, split, splits)
            ]
    return read


def _profile_table(args: argparse.Namespace, split: Split, side: Side) -> pd.DataFrame:
    from ..data.profile_tables import read_profiles

    masked = args.mode == "masked_titles" and side == "user"
    path = profiles_path(args, split.name, side, "--mask-titles" if masked else "")
    table = read_profiles(path, side)
    _require_masks(table, path, args, masked)
    return table


def _readers(args: argparse.Namespace, split: Split) -> pd.DataFrame | None:
    """The users' table beside the items' one, which these were written from; it need not be there."""
    from ..data.profile_tables import read_profiles

    path = profiles_path(args, split.name, "user")
    return read_profiles(path) if path.is_file() else None


def _require_masks(table: pd.DataFrame, path: Path, args: argparse.Namespace, masked: bool) -> None:
    """A placebo is one only where no profile was written from titles, and a table with some of them is neither."""
    from ..data.tables import TableError
    from ..profiles.generate import MASKED

    masks = int(table["prompt_version"].astype(str).str.endswith(MASKED).sum())
    if masks != (len(table) if masked else 0):
        raise TableError(
            f"{path}: {masks} of {len(table)} profiles were written with --mask-titles, but --profile-mode {args.mode} "
            f"needs {'all' if masked else 'none'} to be. Write such a table (`reclm profiles build`) and give its "
            "folder with --profiles."
        )


def _fold_tables(args: argparse.Namespace, split: Split, splits: Splits) -> list[pd.DataFrame]:
    from ..data.folds import time_folds
    from ..data.profile_tables import read_profiles
    from ..data.tables import TableError
    from ..profiles.leakage import certify

    if not args.profiles:
        raise TableError(
            f"--profile-fit cross_fit needs profiles of each half: run `reclm profiles build {args.data} --cross-fit` "
            "and give its folder with --profiles."
        )
    found = []
    for number, part in enumerate(time_folds(split)):
        path = Path(args.profiles) / split.name / f"fold-{number}" / "user_profiles.parquet"
        table = read_profiles(path)
        _require_masks(table, path, args, masked=False)
        # Against its own half: a profile that knows of the other one would be trained with its own positives.
        certify(table, part, splits.data.items).require()
        found.append(table)
    return found
