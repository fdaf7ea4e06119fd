"""`reclm recommend`: ranked lists from a saved recommender, for known users or for a profile text."""

from __future__ import annotations

import argparse
from pathlib import Path

from .output import finish


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `recommend`."""
    parser = subparsers.add_parser("recommend", help="recommend items to users, or to a profile that you write")
    parser.add_argument("model", metavar="MODEL", help="folder or Hub id of a recommender")
    parser.add_argument("users", metavar="USER", nargs="*", help="user ids as in the data")
    parser.add_argument("--profile", metavar="TEXT", help="'User identity: ...; User interests: ...', instead of users")
    parser.add_argument("--k", type=int, default=20, help="length of each list")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the lists to this Parquet file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print, and on request write, the lists."""
    from ..auto import RecLMRecommender
    from ..data.tables import write_parquet

    if bool(args.users) == bool(args.profile):
        raise ValueError("Give user ids or --profile TEXT, one of the two.")
    model = RecLMRecommender.from_pretrained(args.model)
    if args.profile:
        found = model.recommend_for_profile(args.profile, k=args.k)
    else:
        found = model.recommend(args.users, k=args.k)
    frame = found.to_frame()
    if args.output:
        write_parquet(frame, args.output)
    lines = []
    for user, items, titles, scores in zip(found.user_ids, found.item_ids, found.titles, found.scores, strict=True):
        lines.append(f"{user}:")
        ranked = enumerate(zip(items, titles, scores, strict=True), start=1)
        lines += [f"  {rank:>3}. {title}  [{item}]  {score:.3f}" for rank, (item, title, score) in ranked]
    step = f"reclm recommend {args.model} --profile 'User identity: ...; User interests: ...'"
    return finish(args, lines, {"recommendations": frame.to_dict("records")}, step)
