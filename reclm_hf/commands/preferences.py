"""`reclm preferences`: pairs of better and worse profiles for a reward model, and a person's verdicts on them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import finish, quoted
from .profile_options import (
    add_form_options,
    add_without_users,
    add_writing_options,
    asked_profiles,
    engine_of,
    form_of,
    style_of,
    without_users,
)
from .threads import add_threads

if TYPE_CHECKING:
    from ..profiles.engines import Engine

TABLE_FILE = "preferences.parquet"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `preferences` with its subcommands."""
    from ..data.bundled import DEFAULT

    parser = subparsers.add_parser("preferences", help="better and worse profiles for a reward model")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    build = actions.add_parser("build", help="pair every well-formed profile with a worse one, of six kinds")
    build.add_argument(
        "data", metavar="DATA", nargs="?", default=DEFAULT, help=f"a folder, a name or a Hub id ({DEFAULT})"
    )
    build.add_argument(
        "--profiles", metavar="FOLDER", help="of `reclm profiles build`; default: the table shipped with bundled data"
    )
    build.add_argument("--cut", choices=("validation", "test"), default="validation", help="as of which cut")
    build.add_argument(
        "--shares",
        metavar="KIND=SHARE,...",
        help="of neighbor, diluted, missing_section, repetition, empty and weak_prompt; they sum to 1",
    )
    build.add_argument("--pairs-per-user", type=int, default=1, metavar="N", help="of different kinds each")
    build.add_argument("--seed", type=int, default=0)
    build.add_argument(
        "--weak-profiles",
        type=Path,
        metavar="FILE",
        help="Parquet with user_id and profile for the kind weak_prompt; default: written without histories",
    )
    build.add_argument("--output", type=Path, metavar="FOLDER", help="default: runs/NAME/preferences/CUT")
    add_without_users(build)
    add_form_options(build, "plain", "plain")
    add_writing_options(build)
    add_threads(build)
    build.set_defaults(run=run_build)

    review = actions.add_parser("review", help="a CSV file for a person's verdicts, out and back in")
    review.add_argument(
        "table",
        metavar="FILE",
        nargs="?",
        type=Path,
        default=Path("runs") / DEFAULT / "preferences" / "validation" / TABLE_FILE,
        help="of `reclm preferences build`; default: %(default)s",
    )
    way = review.add_mutually_exclusive_group(required=True)
    way.add_argument("--export", type=Path, metavar="CSV", help="write pairs without a verdict")
    way.add_argument("--import", type=Path, metavar="CSV", dest="reviewed", help="read the verdicts back")
    review.add_argument("--sample", type=int, metavar="N", help="with --export: only so many pairs, drawn by --seed")
    review.add_argument("--seed", type=int, default=0, help="with --export: of the draw and of the order of A and B")
    review.add_argument(
        "--replace", action="store_true", help="with --import: take over verdicts that contradict earlier ones"
    )
    review.set_defaults(run=run_review)


def run_build(args: argparse.Namespace) -> int:
    """Write the pairs of one cut."""
    from ..data.folder import write_json
    from ..data.load import load_splits
    from ..data.tables import PREFERENCE_COLUMNS, TableError, read_parquet, write_parquet
    from ..profiles.leakage import certify
    from ..profiles.preferences import DEFAULT_SHARES, build_preferences
    from ..profiles.rejected import WEAK_PROMPT
    from ..profiles.review import carry_verdicts

    shares = dict(DEFAULT_SHARES) if args.shares is None else parse_shares(args.shares)
    splits = load_splits(args.data)
    split = {"validation": splits.validation, "test": splits.test}[args.cut]
    table, left_out = without_users(args, asked_profiles(args, split.name, "user"))
    certify(table, split, splits.data.items).require()
    folder = args.output or Path("runs") / splits.data.name / "preferences" / split.name
    weak = _weak(args) if shares.get(WEAK_PROMPT, 0) > 0 else None
    asked = {"form": args.form, **form_of(args, weak)}
    made = build_preferences(
        table,
        split,
        splits.data.items,
        shares,
        args.seed,
        pairs_per_user=args.pairs_per_user,
        weak=weak,
        weak_folder=folder / "weak",
        style=style_of(args),
        **asked,
    )
    pairs, path = made.table, folder / TABLE_FILE
    if path.is_file():
        pairs, lost = carry_verdicts(pairs, read_parquet(path))
        if lost:
            raise TableError(
                f"{path}: {lost} verdicts belong to pairs that are not made any more. Give another folder with "
                "--output, or the settings and profiles of before."
            )
    write_parquet(pairs, path, PREFERENCE_COLUMNS)
    result = {
        "preferences": str(path),
        "pairs": len(pairs),
        "kinds": made.counts,
        "skipped": made.skipped,
        "judged": int(pairs["accepted"].notna().sum()),
    }
    lineage = {
        "dataset": splits.data.name,
        "fingerprint": splits.fingerprint,
        "cut": split.cut,
        "shares": shares,
        "seed": args.seed,
        "pairs_per_user": args.pairs_per_user,
        "form": args.form,
        "max_tokens": asked.get("max_tokens"),
        "generator": sorted(set(table["generator"].dropna())),
        "prompt_version": sorted(set(table["prompt_version"].dropna())),
        **_of_weak(args, weak),
        **left_out,
    }
    write_json({**result, **lineage}, folder / "preferences.json")
    lines = [f"{len(pairs)} pairs of {pairs['user_id'].nunique()} users as of the {split.name} cut: {path}"]
    lines.append(", ".join(f"{count} {kind}" for kind, count in made.counts.items()))
    lines += [f"left out: {count} ({reason})" for reason, count in made.skipped.items()]
    return finish(args, lines, result, f"reclm preferences review {quoted(path)} --export review.csv --sample 50")


def run_review(args: argparse.Namespace) -> int:
    """Write the file for a reviewer, or read it back."""
    from ..data.tables import PREFERENCE_COLUMNS, read_parquet, write_parquet
    from ..profiles.review import VERDICTS, export_review, import_review

    table = read_parquet(args.table)
    if args.export is not None:
        if args.replace:
            raise ValueError("--replace goes with --import.")
        count = export_review(table, args.export, sample=args.sample, seed=args.seed)
        lines = [f"{count} pairs: {args.export}. Fill in the column 'verdict' with {', '.join(VERDICTS)}, or nothing."]
        result: dict[str, Any] = {"review": str(args.export), "pairs": count}
        return finish(
            args, lines, result, f"reclm preferences review {quoted(args.table)} --import {quoted(args.export)}"
        )
    if args.sample is not None:
        raise ValueError("--sample goes with --export.")
    found = import_review(table, args.reviewed, replace=args.replace)
    write_parquet(found.table, args.table, PREFERENCE_COLUMNS)
    judged = found.table["accepted"].dropna()
    result = {
        "preferences": str(args.table),
        "verdicts": found.verdicts,
        "conflicts": found.conflicts,
        "judged": len(judged),
        "accepted": int(judged.sum()),
    }
    lines = [
        f"{args.reviewed}: " + (", ".join(f"{count} {name}" for name, count in found.verdicts.items()) or "no rows"),
        *found.conflicts,
        f"{args.table}: {len(judged)} of {len(table)} pairs judged, {result['accepted']} accepted",
    ]
    if found.conflicts and not args.replace:
        return finish(args, lines, result, "settle the conflicts, or give --replace to take over the later verdicts")
    return finish(args, lines, result, f"reclm preferences review {quoted(args.table)} --export more.csv --sample 50")


def parse_shares(text: str) -> dict[str, float]:
    """`neighbor=.5,diluted=.5` as a mapping.

    Raises:
        ValueError: an entry that is not KIND=SHARE, or a kind that stands there twice.
    """
    shares: dict[str, float] = {}
    for entry in text.split(","):
        kind, _, share = (part.strip() for part in entry.partition("="))
        try:
            value = float(share)
        except ValueError:
            raise ValueError(f"--shares {text}: {entry!r} is not KIND=SHARE, as in neighbor=0.5.") from None
        if kind in shares:
            raise ValueError(f"--shares {text}: {kind!r} stands there twice.")
        shares[kind] = value
    return shares


def _weak(args: argparse.Namespace) -> Engine | dict[str, str]:
    if args.weak_profiles is None:
        engine: Engine = engine_of(args)
        return engine
    from ..data.tables import read_parquet, require_columns

    table = read_parquet(args.weak_profiles)
    require_columns(table, ["user_id", "profile"], str(args.weak_profiles))
    return dict(zip(table["user_id"], table["profile"].fillna(""), strict=True))


def _of_weak(args: argparse.Namespace, weak: Engine | dict[str, str] | None) -> dict[str, str | None]:
    """Where the weak profiles come from, if any are used: a file by its name and checksum, or what wrote them."""
    from ..data.folder import file_sha256

    if weak is None or args.weak_profiles is None:
        return {"weak_profiles": getattr(weak, "generator", None), "weak_profiles_sha256": None}
    return {"weak_profiles": args.weak_profiles.name, "weak_profiles_sha256": file_sha256(args.weak_profiles)}
