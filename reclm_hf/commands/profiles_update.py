"""`reclm profiles update`: after new interactions, write again only what changed."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .output import finish, quoted
from .profile_options import add_writing_options, engine_of, meter_lines, style_of
from .threads import add_threads

if TYPE_CHECKING:
    import pandas as pd

    from ..data.interactions import Interactions


def add_update(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `profiles update` among the actions of `profiles`."""
    update = actions.add_parser("update", help="renew the profiles that new interactions changed, in place")
    update.add_argument("data", metavar="DATA", help="a folder or a bundled name, with the new interactions in it")
    update.add_argument(
        "profiles", metavar="FOLDER", type=Path, help="holds user_profiles.parquet, item_profiles.parquet"
    )
    update.add_argument(
        "--as-of", metavar="TIME", help="what happened before this time (ISO 8601, UTC) is known; default: everything"
    )
    update.add_argument(
        "--new-users",
        metavar="FILE",
        type=Path,
        help="CSV or Parquet with user_id and, where they said what they like, text: people without history",
    )
    update.add_argument("--min-interactions", type=int, default=5, metavar="N", help="of an item that gets a profile")
    update.add_argument(
        "--rewrite", action="store_true", help="write everything again where another model, prompt or style wrote it"
    )
    add_writing_options(update)
    add_threads(update)
    update.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Renew the tables of one folder."""
    from ..data.as_of import state_as_of
    from ..data.load import load_interactions
    from ..pipeline.profile_update import update_profiles
    from ..pipeline.texts import encode_items
    from ..recommender.text_encoder import TextEncoder

    data = load_interactions(args.data)
    split = state_as_of(data, _time(args.as_of, data))
    new_users = None if args.new_users is None else _read_new_users(args.new_users)
    style, encoder = style_of(args), TextEncoder()
    engine = engine_of(args)
    changes = update_profiles(
        data,
        split,
        encode_items(data, encoder),
        engine,
        args.profiles,
        new_users=new_users,
        encoder=encoder,
        style=style,
        min_interactions=args.min_interactions,
        rewrite=args.rewrite,
    )
    lines = [change.line(name) for name, change in changes.items()] + meter_lines(engine)
    result = {name: asdict(change) | {"written_share": change.written_share} for name, change in changes.items()}
    return finish(
        args, lines, result, f"reclm profiles show USER {quoted(args.data)} --profiles {quoted(args.profiles)}"
    )


def _time(text: str | None, data: Interactions) -> int | None:
    import pandas as pd

    if text is None:
        return None
    try:
        time = pd.Timestamp(text)
    except ValueError as error:
        raise ValueError(f"--as-of {text!r}: is not a time; write it as 2013-08-01 or 2013-08-01T12:00.") from error
    aware = time.tz_localize("UTC") if time.tz is None else time.tz_convert("UTC")
    return aware.value // 1000  # nanoseconds


def _read_new_users(path: Path) -> pd.DataFrame:
    import pandas as pd

    from ..data.tables import TableError, read_parquet

    if path.suffix == ".parquet":
        return read_parquet(path)
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, pd.errors.ParserError, UnicodeDecodeError, pd.errors.EmptyDataError) as error:
        raise TableError(f"{path}: cannot be read as CSV ({error}). Give a header with user_id and text.") from error
