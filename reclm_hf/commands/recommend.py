"""`reclm recommend`: ranked lists from a saved recommender, for known users, for all of them, or for somebody new.

Somebody new is a list of items, a profile text, or both.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import finish, quoted
from .threads import add_threads

if TYPE_CHECKING:
    from ..recommender.catalog import Catalog
    from ..recommender.modeling_reclm_recommender import RecLMRecommender
    from ..recommender.ranking import Recommendations

_SHOWN = 3


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `recommend`."""
    parser = subparsers.add_parser("recommend", help="recommend items to users, or to somebody whom you describe")
    parser.add_argument("model", metavar="MODEL", help="folder or Hub id of a recommender")
    parser.add_argument("users", metavar="USER", nargs="*", help="user ids as in the data")
    parser.add_argument("--all", action="store_true", help="all users of the model, straight into the --output file")
    parser.add_argument("--profile", metavar="TEXT", help="'User identity: ...; User interests: ...', instead of users")
    parser.add_argument(
        "--history",
        metavar="FILE|ID",
        action="append",
        help="items that somebody new has chosen, instead of users: an id, or a file of one id a line; repeatable",
    )
    parser.add_argument(
        "--similar", metavar="ID", action="append", help="the items most like this one, instead of users; repeatable"
    )
    parser.add_argument("--explain", action="store_true", help="say for each recommended item why; with user ids")
    parser.add_argument("--k", type=int, default=20, help="length of each list")
    parser.add_argument(
        "--category", metavar="NAME", action="append", help="only items of this category; repeat it for more of them"
    )
    for option, what in (("--allow", "recommend only these items"), ("--deny", "never recommend these items")):
        parser.add_argument(
            option, metavar="FILE|ID", action="append", help=f"{what}: an id, or a file of one id a line; repeatable"
        )
    parser.add_argument("--output", type=Path, metavar="FILE.parquet", help="write the lists to this Parquet file")
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the lists, or write them, or both."""
    from ..auto import RecLMRecommender

    asked = (bool(args.users), args.all, bool(args.profile or args.history), bool(args.similar))
    if asked.count(True) != 1:
        raise ValueError(
            "Give user ids, --all, --similar ID, or --history and --profile (or one of these): one of the four."
        )
    if args.all and args.output is None:
        raise ValueError("--all writes its lists to a file: add --output FILE.parquet.")
    if args.explain and not args.users:
        raise ValueError("--explain goes with user ids.")
    model = RecLMRecommender.from_pretrained(args.model)
    if args.all:
        return _write_all(args, model)
    return _show_similar(args, model) if args.similar else _show(args, model)


def _show(args: argparse.Namespace, model: RecLMRecommender) -> int:
    from ..data.tables import write_parquet

    found = _recommended(args, model)
    frame = found.to_frame()
    if args.output:
        write_parquet(frame.astype({"rank": "int32", "score": "float32"}), args.output)  # as --all writes them
    lines, explained = [], []
    for user, items, titles, scores in zip(found.user_ids, found.item_ids, found.titles, found.scores, strict=True):
        lines.append(f"{user}:")
        for rank, (item, title, score) in enumerate(zip(items, titles, scores, strict=True), start=1):
            lines.append(f"  {rank:>3}. {title}  [{item}]  {score:.3f}")
            if args.explain:
                explanation = model.explain(user, item)
                explained.append(asdict(explanation))
                lines += [f"       {line.strip()}" for line in str(explanation).splitlines()]
        if not items:
            lines.append("  nothing is left to recommend")
    result = {"recommendations": frame.to_dict("records")} | ({"explanations": explained} if args.explain else {})
    step = f"reclm recommend {quoted(args.model)} --profile 'User identity: ...; User interests: ...'"
    return finish(args, lines, result, step)


def _recommended(args: argparse.Namespace, model: RecLMRecommender) -> Recommendations:
    filters = _filters(args, model.catalog)
    if args.history:
        history = _ids("--history", args.history, model.catalog)
        return model.recommend_for_history(history, k=args.k, profile=args.profile, **filters)
    if args.profile:
        return model.recommend_for_profile(args.profile, k=args.k, **filters)
    return model.recommend(args.users, k=args.k, **filters)


def _show_similar(args: argparse.Namespace, model: RecLMRecommender) -> int:
    from ..data.tables import write_parquet

    found = model.similar_items(args.similar, k=args.k, **_filters(args, model.catalog))
    frame = found.to_frame()
    if args.output:
        write_parquet(frame.astype({"rank": "int32", "similarity": "float32"}), args.output)
    lines = []
    for item, items, titles, cosines in zip(
        found.ids, found.similar_ids, found.titles, found.similarities, strict=True
    ):
        lines.append(f"{item}:")
        ranked = enumerate(zip(items, titles, cosines, strict=True), start=1)
        lines += [f"  {rank:>3}. {title}  [{near}]  {cosine:.3f}" for rank, (near, title, cosine) in ranked]
    step = f"reclm recommend {quoted(args.model)} --history {quoted(args.similar[0])}"
    return finish(args, lines, {"similar": frame.to_dict("records")}, step)


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
