"""`reclm recommend`: ranked lists from a saved recommender, for known users, for all of them or for a profile text."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import finish

if TYPE_CHECKING:
    from ..recommender.catalog import Catalog
    from ..recommender.modeling_reclm_recommender import RecLMRecommender

_SHOWN = 3


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `recommend`."""
    parser = subparsers.add_parser("recommend", help="recommend items to users, or to a profile that you write")
    parser.add_argument("model", metavar="MODEL", help="folder or Hub id of a recommender")
    parser.add_argument("users", metavar="USER", nargs="*", help="user ids as in the data")
    parser.add_argument("--all", action="store_true", help="all users of the model, straight into the --output file")
    parser.add_argument("--profile", metavar="TEXT", help="'User identity: ...; User interests: ...', instead of users")
    parser.add_argument("--k", type=int, default=20, help="length of each list")
    parser.add_argument(
        "--category", metavar="NAME", action="append", help="only items of this category; repeat it for more of them"
    )
    for option, what in (("--allow", "recommend only these items"), ("--deny", "never recommend these items")):
        parser.add_argument(
            option, metavar="FILE|ID", action="append", help=f"{what}: an id, or a file of one id a line; repeatable"
        )
    parser.add_argument("--output", type=Path, metavar="FILE.parquet", help="write the lists to this Parquet file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the lists, or write them, or both."""
    from ..auto import RecLMRecommender

    if [bool(args.users), args.all, bool(args.profile)].count(True) != 1:
        raise ValueError("Give user ids, --all or --profile TEXT: one of the three.")
    if args.all and args.output is None:
        raise ValueError("--all writes its lists to a file: add --output FILE.parquet.")
    if args.profile and (args.category or args.allow or args.deny):
        raise ValueError("--category, --allow and --deny go with user ids or --all, not with --profile.")
    model = RecLMRecommender.from_pretrained(args.model)
    return _write_all(args, model) if args.all else _show(args, model)


def _show(args: argparse.Namespace, model: RecLMRecommender) -> int:
    from ..data.tables import write_parquet

    if args.profile:
        found = model.recommend_for_profile(args.profile, k=args.k)
    else:
        found = model.recommend(args.users, k=args.k, **_filters(args, model.catalog))
    frame = found.to_frame()
    if args.output:
        write_parquet(frame.astype({"rank": "int32", "score": "float32"}), args.output)  # as --all writes them
    lines = []
    for user, items, titles, scores in zip(found.user_ids, found.item_ids, found.titles, found.scores, strict=True):
        lines.append(f"{user}:")
        ranked = enumerate(zip(items, titles, scores, strict=True), start=1)
        lines += [f"  {rank:>3}. {title}  [{item}]  {score:.3f}" for rank, (item, title, score) in ranked]
        if not items:
            lines.append("  nothing is left to recommend")
    step = f"reclm recommend {args.model} --profile 'User identity: ...; User interests: ...'"
    return finish(args, lines, {"recommendations": frame.to_dict("records")}, step)


def _write_all(args: argparse.Namespace, model: RecLMRecommender) -> int:
    written = model.recommend_all(args.output, k=args.k, **_filters(args, model.catalog))
    lines = [f"{args.output}: {written.rows:,} recommendations for {written.users - written.empty:,} users"]
    if written.empty:
        lines.append(f"{written.empty:,} users have no row: nothing was left to recommend to them")
    step = f"pandas.read_parquet({str(args.output)!r}) in Python: user_id, rank, item_id, title, score"
    return finish(args, lines, {"output": str(args.output), **written._asdict()}, step)


def _filters(args: argparse.Namespace, catalog: Catalog) -> dict[str, Any]:
    candidates = None if args.allow is None else _ids("--allow", args.allow, catalog)
    if candidates == []:
        raise ValueError(f"--allow {', '.join(args.allow)}: no id in it, so nothing could be recommended; add some.")
    deny = None if args.deny is None else _ids("--deny", args.deny, catalog)
    return {"candidates": candidates, "categories": args.category, "deny": deny}


def _ids(option: str, values: Sequence[str], catalog: Catalog) -> list[str]:
    """The item ids that an option names, by themselves or in files; an id of the catalogue is never taken for a file.

    Raises:
        ValueError: a value is neither, or a file cannot be read or names unknown items.
    """
    known = set(catalog.item_ids)
    found: list[str] = []
    for value in values:
        if value in known:
            found.append(value)
        elif Path(value).is_file():
            found += _ids_of_file(option, Path(value), known)
        else:
            raise ValueError(f"{option} {value!r}: neither an item of the catalogue nor a file of item ids.")
    return found


def _ids_of_file(option: str, path: Path, known: set[str]) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{option} {path}: not a text file; write one item id a line in UTF-8.") from error
    ids = {number: line.strip() for number, line in enumerate(lines, start=1) if line.strip()}
    unknown = [f"line {number}: {item!r}" for number, item in ids.items() if item not in known]
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise ValueError(
            f"{option} {path}: not in the catalogue: {', '.join(unknown[:_SHOWN])}{more}. Correct or drop these lines."
        )
    return list(ids.values())
