"""`reclm profiles show`: a profile, what it was written from, and whose history each of its phrases comes from."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import finish, quoted
from .profile_options import profiles_path
from .profiles_text import item_lines, user_lines
from .terminal import line_width

if TYPE_CHECKING:
    import pandas as pd

    from ..data.interactions import Interactions
    from ..data.profile_tables import Side
    from ..data.splits import Split
    from ..profiles.trace import PhraseSource, Tracer

_LINEAGE = ("generator", "prompt_version", "format_score", "tokens_in", "tokens_out")


def add_show(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `profiles show` among the actions of `profiles`."""
    from ..data.bundled import DEFAULT

    show = actions.add_parser("show", help="a profile, its evidence, and whose history each of its phrases comes from")
    show.add_argument("user", metavar="USER", nargs="?", help="user id as in the data; not with --item")
    show.add_argument("data", metavar="DATA", nargs="?", help=f"a folder, a name or a Hub id ({DEFAULT})")
    show.add_argument(
        "--profiles", metavar="FOLDER", help="of `reclm profiles build` or `update`; default: the shipped"
    )
    show.add_argument("--cut", choices=("validation", "test"), default="test", help="as of which cut")
    show.add_argument("--item", metavar="ITEM", help="the profile of an item instead: `show --item ITEM [DATA]`")
    show.add_argument(
        "--meaning", action="store_true", help="for phrases without a common word: the item nearest in meaning"
    )
    show.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show one profile."""
    from ..data.bundled import DEFAULT
    from ..profiles.trace import Tracer
    from ..recommender.text_encoder import TextEncoder

    user, data = args.user, args.data
    if args.item is not None and data is None:
        user, data = None, user
    if (user is None) == (args.item is None):
        raise ValueError("Give one user id, or --item ITEM: `reclm profiles show USER [DATA]`.")
    args.data = DEFAULT if data is None else data
    interactions, split = _state(args)
    tracer = Tracer(split, interactions.items, TextEncoder() if args.meaning else None)
    width = line_width()
    if user is None:
        found = _item(args, interactions, split, tracer)
        return finish(args, item_lines(found, width), found, f"reclm recommend MODEL --similar {quoted(args.item)}")
    found = _user(args, interactions, split, tracer, user)
    return finish(args, user_lines(found, width), found, f"reclm recommend MODEL {quoted(user)} --explain")


def _state(args: argparse.Namespace) -> tuple[Interactions, Split]:
    """The data, and what of them was known when the table was written."""
    from ..data.as_of import state_as_of
    from ..data.load import load_interactions, load_splits

    if _updated(args):
        data = load_interactions(args.data)
        latest = _table(args, "user")[0]["as_of"].max()
        return data, state_as_of(data, None if data.timestamp is None else latest.value // 1000)
    splits = load_splits(args.data)
    return splits.data, splits.test if args.cut == "test" else splits.validation


def _updated(args: argparse.Namespace) -> bool:
    """Whether --profiles holds tables of no cut, as `reclm profiles update` keeps them."""
    return bool(args.profiles) and (Path(args.profiles) / "user_profiles.parquet").is_file()


def _place(args: argparse.Namespace) -> Path:
    return Path(args.profiles) if _updated(args) else Path(args.profiles) / args.cut


def _user(args: argparse.Namespace, data: Interactions, split: Split, tracer: Tracer, user: str) -> dict[str, Any]:
    from ..profiles.trace import listed

    table, source = _table(args, "user")
    rows = {str(row["user_id"]): row for row in table.to_dict("records")}
    if user not in rows:
        raise KeyError(_no_profile("user", user, list(rows), [str(one) for one in data.user_ids], source, args))
    row = rows[user]
    items = _described(data)
    sources = tracer.sources(row)
    near = listed(row["neighbors"])
    similarity = _similarity(args, split, user, near)
    return {
        **_lineage(row, source, split),
        "user_id": user,
        "source": row["source"],
        "neighbors_by": row["neighbors_by"],
        "history": len(tracer.history(user)),
        "own": [items(one.id) | {"shown": one.shown} for one in sources if one.own],
        "neighbors": [
            {
                "user_id": other,
                "similarity": similarity.get(other),
                "profile": rows[other]["profile"] if other in rows else None,
                "items": [items(one.id) for one in sources if other in one.owners],
            }
            for other in near
        ],
        "others": [items(one.id) for one in sources if not one.own and not one.owners],
        "phrases": [_phrase(result, items) for result in tracer.trace(row)],
    }


def _item(args: argparse.Namespace, data: Interactions, split: Split, tracer: Tracer) -> dict[str, Any]:
    from ..profiles.trace import listed

    item = str(args.item)
    table, source = _table(args, "item")
    rows = {str(row["item_id"]): row for row in table.to_dict("records")}
    if item not in rows:
        raise KeyError(_no_profile("item", item, list(rows), [str(one) for one in data.item_ids], source, args))
    row = rows[item]
    items = _described(data)
    readers, _ = _table(args, "user")
    users = dict(zip(readers["user_id"].astype(str), readers["profile"], strict=True))
    profiles = {key: str(other["profile"]) for key, other in rows.items()}
    return {
        **_lineage(row, source, split),
        **items(item),
        "phase": row["phase"],
        "readers": [{"user_id": user, "profile": users.get(user)} for user in listed(row["evidence"])],
        "similar": [items(near) | {"profile": profiles.get(near)} for near in listed(row["neighbors"])],
        "phrases": [_phrase(result, items) for result in tracer.trace_item(row, users, profiles)],
    }


def _lineage(row: Mapping[str, Any], source: str, split: Split) -> dict[str, Any]:
    """What the two kinds of profile have in common."""
    import pandas as pd

    from ..profiles.trace import listed

    cut = None if split.cut is None else pd.Timestamp(split.cut, unit="us", tz="UTC")
    return {
        "profile": row["profile"],
        "identities": listed(row["identities"]),
        "interests": listed(row["interests"]),
        "table": source,
        "cut": split.name,
        "cut_at": None if cut is None else str(cut),
        "as_of": None if pd.isna(row["as_of"]) else str(row["as_of"]),
        **{name: row.get(name) for name in _LINEAGE},
    }


def _phrase(result: PhraseSource, items: Any) -> dict[str, Any]:
    found = [
        items(match.source.id)
        | {"words": list(match.words), "neighbors": list(match.source.owners), "own": match.source.own}
        for match in result.items
    ]
    return {
        "phrase": result.phrase,
        "section": result.section,
        "origin": result.origin,
        "how": result.how,
        "similarity": result.similarity,
        "unsourced": list(result.unsourced),
        "neighbors": list(result.neighbors),
        "items": found,
    }


def _described(data: Interactions) -> Any:
    """id -> what is shown of an item; of anything else, a user whose profile was read, the id alone."""
    columns = (data.items[name] for name in ("item_id", "title", "categories"))
    known = {
        str(item): {"item_id": str(item), "title": title or str(item), "categories": list(categories)}
        for item, title, categories in zip(*columns, strict=True)
    }
    return lambda one: dict(known.get(one, {"item_id": one, "title": one, "categories": []}))


def _table(args: argparse.Namespace, side: Side) -> tuple[pd.DataFrame, str]:
    """The profiles of users or of items as of the cut, and where they were read.

    Raises:
        TableError: there is none.
    """
    from ..data.profile_tables import read_profiles

    path = profiles_path(args, "" if _updated(args) else args.cut, side)
    return read_profiles(path, side), str(path)


def _no_profile(
    what: str, wanted: str, written: Sequence[str], known: Sequence[str], source: str, args: argparse.Namespace
) -> str:
    """Why there is no such profile, and the way out."""
    import difflib

    if wanted in known:
        return (
            f"{what} {wanted!r} has no profile in {source}: nothing of it was known before the {args.cut} cut, or the "
            f"table was written without it. `reclm profiles build {args.data} --cut {args.cut}` writes all."
        )
    near = difflib.get_close_matches(wanted, written, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    examples = ", ".join(map(repr, written[:3]))
    return f"unknown {what} {wanted!r} in {args.data}.{hint} Ids there look like {examples}."


def _similarity(args: argparse.Namespace, split: Split, user: str, others: Sequence[str]) -> dict[str, float]:
    """Cosine of the user vectors that the neighbours were found with, where they were kept beside the table."""
    import numpy as np

    row_of = {str(one): row for row, one in enumerate(split.user_ids)}
    path = _place(args) / "neighbor_vectors.safetensors" if args.profiles else None
    if path is None or not path.is_file() or user not in row_of:
        return {}
    from safetensors.numpy import load_file

    vectors = load_file(path)["user"]
    if len(vectors) != len(row_of):
        return {}
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return {other: float(unit[row_of[user]] @ unit[row_of[other]]) for other in others if other in row_of}
