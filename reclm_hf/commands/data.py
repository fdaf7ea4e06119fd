"""`reclm data import` and `reclm data describe`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import finish, quoted
from .threads import add_threads

if TYPE_CHECKING:
    from ..data.importers.raw import RawTables
    from ..data.interactions import Interactions

_IMPORT_EXAMPLES = """\
examples:
  reclm data import ratings.csv --items movies.csv --user-column userId --item-column movieId --time-column timestamp
  reclm data import org/interactions --items org/items --title-column name --text-column plot --text-column cast
  reclm data import ml-1m --format movielens
  reclm data import MINDlarge --format mind --train-period 2019-11-13 --test-period 2019-11-14
  reclm data import netflix --format netflix --train-period 2004 --test-period 2005 --max-users 20000
  reclm data import online_retail.csv.gz --format online-retail

SOURCE and --items are .csv, .tsv, .csv.gz or .parquet files, or data sets of the Hub:
org/name[:config[:split]][@revision]. For another --format than columns SOURCE is what its publisher offers:
  movietweetings  folder with ratings.dat, movies.dat
  movielens       folder of 100K (u.data, u.item), 1M or 10M (ratings.dat, movies.dat), latest (ratings.csv, movies.csv)
                  or RecBole's atomic files (.inter, .item)
  mind            folder with behaviors.tsv, news.tsv, or with folders that have them; two days are taken
  netflix         folder with combined_data_*.txt, movie_titles.csv; two years are taken
  online-retail   the table as CSV
  reclm-release   folder of the authors' release (mind, netflix), read without running what its pickles name
Ids are read as text. Times without a zone are taken as UTC unless --timezone says otherwise.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `data` with its subcommands."""
    parser = subparsers.add_parser("data", help="import your own data, or describe a data set")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_import(actions)
    _add_describe(actions)


def _add_import(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "import",
        help="turn CSV, Parquet or a Hub data set into items and interactions",
        epilog=_IMPORT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE", help="the interactions, or what --format says below")
    parser.add_argument("--format", choices=("columns", *_READERS), default="columns")
    parser.add_argument("--items", metavar="SOURCE", help="the items; without it their columns stand in SOURCE")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: runs/NAME/data")
    parser.add_argument("--name", help="what reports call the data set; default: the name of SOURCE")
    columns = parser.add_argument_group("columns", "where none is named, the standard name is used if it is there")
    columns.add_argument("--user-column", metavar="COLUMN", default="user_id")
    columns.add_argument("--item-column", metavar="COLUMN", default="item_id")
    columns.add_argument("--time-column", metavar="COLUMN", help="standard: timestamp")
    columns.add_argument("--rating-column", metavar="COLUMN", help="standard: rating; used by --min-rating only")
    columns.add_argument("--split-column", metavar="COLUMN", help="holds 'train' or 'test': a test set that is given")
    columns.add_argument("--item-id-column", metavar="COLUMN", help="id column of --items; default: as --item-column")
    columns.add_argument("--title-column", metavar="COLUMN", help="standard: title")
    columns.add_argument(
        "--text-column",
        metavar="COLUMN",
        action="append",
        default=[],
        help="standard: text; several are joined by '. '",
    )
    columns.add_argument("--categories-column", metavar="COLUMN", help="standard: categories")
    columns.add_argument("--created-column", metavar="COLUMN", help="standard: created_at")
    reading = parser.add_argument_group("reading")
    reading.add_argument("--categories-separator", metavar="TEXT", default="|")
    reading.add_argument("--encoding", default="utf-8", help="of CSV files")
    reading.add_argument("--delimiter", help="of CSV files; default: a comma, a tab for .tsv")
    reading.add_argument("--timezone", metavar="ZONE", help="of times that name none, such as Europe/Brussels")
    reading.add_argument("--time-format", metavar="FORMAT", help="strptime format of times that are not ISO 8601")
    rules = parser.add_argument_group("rules")
    rules.add_argument("--drop-unknown-items", action="store_true", help="leave out interactions with unknown items")
    rules.add_argument("--min-rating", type=float, help="leave out lower ratings; default: every rating counts")
    periods = parser.add_argument_group("two snapshots", "for --format mind (days) and netflix (years), in UTC")
    periods.add_argument("--train-period", metavar="PERIOD", help="2019-11-13, 2004; default: the one before test")
    periods.add_argument("--test-period", metavar="PERIOD", help="default: the last day of the log; 2005")
    periods.add_argument("--max-users", type=int, metavar="N", help="N users, drawn by a hash of their ids")
    parser.set_defaults(run=run_import)


def _add_describe(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from ..data.bundled import DEFAULT

    parser = actions.add_parser("describe", help="counts, quantiles, cold share, and whether the texts carry signal")
    parser.add_argument(
        "source", metavar="SOURCE", nargs="?", default=DEFAULT, help=f"a folder or a bundled name (default: {DEFAULT})"
    )
    parser.add_argument("--no-text-signal", action="store_true", help="leave out the diagnostic that encodes all texts")
    parser.add_argument("--encoder", metavar="MODEL", help="text encoder of the diagnostic; default: all-MiniLM-L6-v2")
    parser.add_argument("--permutations", type=int, default=50, help="of the diagnostic, 20 to 200")
    parser.add_argument("--seed", type=int, default=0)
    add_threads(parser)
    parser.set_defaults(run=run_describe)


def run_import(args: argparse.Namespace) -> int:
    """Read, check, write the folder, say what was found."""
    from ..data.folder import write_dataset

    name = args.name or _default_name(args.source)
    output = args.output or Path("runs") / name / "data"
    if args.format not in _IN_PERIODS and (args.train_period or args.test_period or args.max_users is not None):
        raise ValueError(
            f"--train-period, --test-period and --max-users belong to --format {' and '.join(_IN_PERIODS)}, "
            f"not to {args.format}. Leave them out."
        )
    if args.format == "columns":
        data, notes, known = _import_columns(args, name)
    else:
        data, notes, known = _import_format(_READERS[args.format](args), args, name)
    info = write_dataset(data, output, {"source": Path(args.source).name, **known, "notes": notes})
    counts = info["counts"]
    lines = [
        f"{name}: {counts['users']:,} users, {counts['items']:,} items, {counts['interactions']:,} interactions",
        *(f"  {note}" for note in notes),
        f"written to {output}",
    ]
    return finish(args, lines, {**info, "output": str(output)}, f"reclm data describe {quoted(output)}")


def run_describe(args: argparse.Namespace) -> int:
    """Load, cut, encode, describe."""
    from ..data.describe import describe
    from ..data.load import load_splits

    splits = load_splits(args.source)
    vectors = None
    if not args.no_text_signal:
        from ..recommender.text_encoder import TextEncoder

        encoder = TextEncoder(args.encoder) if args.encoder else TextEncoder()
        vectors = encoder.encode(splits.data.items["text"].tolist())
    description = describe(splits, vectors, permutations=args.permutations, seed=args.seed)
    return finish(args, description.lines(), description.to_dict(), f"reclm profiles build {quoted(args.source)}")


def _read_movietweetings(args: argparse.Namespace) -> RawTables:
    from ..data.importers.movietweetings import INFO, read_movietweetings
    from ..data.importers.raw import RawTables

    return RawTables(*read_movietweetings(args.source), dict(INFO))


def _read_movielens(args: argparse.Namespace) -> RawTables:
    from ..data.importers.movielens import read_movielens

    return read_movielens(args.source)


def _read_mind(args: argparse.Namespace) -> RawTables:
    from ..data.importers.mind import read_mind

    return read_mind(args.source, args.train_period, args.test_period, args.max_users)


def _read_netflix(args: argparse.Namespace) -> RawTables:
    from ..data.importers.netflix import read_netflix

    return read_netflix(args.source, args.train_period, args.test_period, args.max_users)


def _read_online_retail(args: argparse.Namespace) -> RawTables:
    from ..data.importers.online_retail import read_online_retail

    return read_online_retail(args.source, args.timezone, args.time_format)


def _read_reclm_release(args: argparse.Namespace) -> RawTables:
    from ..data.importers.reclm_release import read_reclm_release

    return read_reclm_release(args.source)


_READERS: dict[str, Callable[[argparse.Namespace], RawTables]] = {
    "movietweetings": _read_movietweetings,
    "movielens": _read_movielens,
    "mind": _read_mind,
    "netflix": _read_netflix,
    "online-retail": _read_online_retail,
    "reclm-release": _read_reclm_release,
}
_IN_PERIODS = ("mind", "netflix")


def _import_format(
    raw: RawTables, args: argparse.Namespace, name: str
) -> tuple[Interactions, list[str], dict[str, Any]]:
    """The checked data, the notes, and what is known about the data set."""
    from ..data.interactions import Interactions

    notes, rows = list(raw.notes), raw.interactions
    if args.drop_unknown_items:
        known = rows["item_id"].isin(raw.items["item_id"])
        rows = rows[known]
        if not known.all():
            notes.append(f"{int((~known).sum()):,} interactions with unknown items were left out.")
    data = Interactions.from_tables(raw.items, rows, name, args.min_rating)
    if data.duplicates:
        notes.append(f"{data.duplicates:,} repeated (user, item) rows: the first of each pair is kept.")
    return data, notes, raw.info


def _import_columns(args: argparse.Namespace, name: str) -> tuple[Interactions, list[str], dict[str, Any]]:
    from ..data.importers.columns import ColumnMapping, import_tables

    mapping = ColumnMapping(
        user=args.user_column,
        item=args.item_column,
        time=args.time_column,
        rating=args.rating_column,
        split=args.split_column,
        item_key=args.item_id_column,
        title=args.title_column,
        text=tuple(args.text_column),
        categories=args.categories_column,
        created_at=args.created_column,
        category_separator=args.categories_separator,
        encoding=args.encoding,
        delimiter=args.delimiter,
        timezone=args.timezone,
        time_format=args.time_format,
    )
    imported = import_tables(
        args.source,
        args.items,
        mapping,
        name,
        drop_unknown_items=args.drop_unknown_items,
        min_rating=args.min_rating,
    )
    return imported.data, imported.notes, {}


def _default_name(source: str) -> str:
    tail = source.removeprefix("hub://").split("@")[0].split(":")[0].rstrip("/")
    return Path(tail).name.split(".")[0] or "data"
