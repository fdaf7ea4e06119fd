"""Any CSV, Parquet or Hub table of interactions and items, by a mapping of its columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..interactions import Interactions
from ..tables import TableError, bad_rows, require_columns
from .fields import joined, numbers, plain
from .files import read_table
from .times import parse_times

if TYPE_CHECKING:
    import pandas as pd

_LARGEST_EXACT_FLOAT = 2**53


@dataclass(frozen=True)
class ColumnMapping:
    """Which column of the source holds what; `None` takes the standard name where the source has it.

    Attributes:
        user, item, time, rating: columns of the interactions.
        split: a column of the interactions with `train` and `test`; taken only where it is named.
        item_key: id column of the items; the default is the name that `item` has.
        title, text, categories, created_at: columns of the items; several `text` columns are joined by ". ".
        category_separator: splits a category field such as `Crime|Drama`.
        encoding, delimiter: of CSV files. timezone, time_format: see `parse_times`.
    """

    user: str = "user_id"
    item: str = "item_id"
    time: str | None = None
    rating: str | None = None
    split: str | None = None
    item_key: str | None = None
    title: str | None = None
    text: tuple[str, ...] = ()
    categories: str | None = None
    created_at: str | None = None
    category_separator: str = "|"
    encoding: str = "utf-8"
    delimiter: str | None = None
    timezone: str | None = None
    time_format: str | None = None


@dataclass(frozen=True)
class Imported:
    """The data, and what a person should know about how they came in."""

    data: Interactions
    unknown_rows: int
    text_from_title: int
    notes: list[str] = field(default_factory=list)


def import_tables(
    interactions: str,
    items: str | None,
    mapping: ColumnMapping,
    name: str,
    *,
    drop_unknown_items: bool = False,
    min_rating: float | None = None,
) -> Imported:
    """Read, map and check both tables.

    Args:
        interactions, items: see `read_table`. Without `items`, the item columns stand in the interactions, and the
            first row of an item describes it.
        drop_unknown_items: leave out interactions with items that the item table does not have; an error otherwise.
        min_rating: leave out interactions that are rated lower.

    Raises:
        TableError: naming the file, the column and the first rows (the first row of data is 1).
    """
    rows = read_table(interactions, encoding=mapping.encoding, delimiter=mapping.delimiter)
    table = _interactions(rows, interactions, mapping)
    if items is None:
        item_rows = rows.drop_duplicates(mapping.item)  # keeps the index, so that errors name rows of the file
    else:
        item_rows = read_table(items, encoding=mapping.encoding, delimiter=mapping.delimiter)
    item_source = items or interactions
    item_table, text_from_title = _items(item_rows, item_source, mapping)
    known = set(item_table["item_id"])
    unknown = ~table["item_id"].isin(known).to_numpy()
    if unknown.any() and not drop_unknown_items:
        raise bad_rows(
            interactions,
            mapping.item,
            np.flatnonzero(unknown).tolist(),
            f"an item that {item_source} does not have ({table['item_id'][unknown].iloc[0]!r})",
            "Add the items, or leave these rows out with `--drop-unknown-items`.",
        )
    if unknown.all():
        raise TableError(
            f"{interactions}: none of its items is in {item_source}. Check `--item-column` and `--item-id-column`."
        )
    data = Interactions.from_tables(item_table, table[~unknown], name, min_rating)
    notes = _notes(data, int(unknown.sum()), text_from_title)
    return Imported(data, int(unknown.sum()), text_from_title, notes)


def _interactions(rows: pd.DataFrame, source: str, mapping: ColumnMapping) -> pd.DataFrame:
    import pandas as pd

    require_columns(rows, [mapping.user, mapping.item], source)
    _require_rows(rows, source)
    columns = {
        "user_id": _ids(rows[mapping.user], source, mapping.user),
        "item_id": _ids(rows[mapping.item], source, mapping.item),
    }
    time = _column(rows, mapping.time, "timestamp", source)
    if time is not None:
        columns["timestamp"] = parse_times(
            rows[time], source, time, timezone=mapping.timezone, time_format=mapping.time_format
        )
    rating = _column(rows, mapping.rating, "rating", source)
    if rating is not None:
        columns["rating"] = numbers(rows[rating], source, rating)
    if mapping.split is not None:
        require_columns(rows, [mapping.split], source)
        columns["split"] = rows[mapping.split]
    return pd.DataFrame(columns)


def _items(rows: pd.DataFrame, source: str, mapping: ColumnMapping) -> tuple[pd.DataFrame, int]:
    """The item table, and how many texts had to be taken from the title."""
    import pandas as pd

    key = mapping.item_key or mapping.item
    require_columns(rows, [key], source)
    _require_rows(rows, source)
    ids = _ids(rows[key], source, key)
    repeated = ids.duplicated()
    if repeated.any():
        what = f"a repeated id ({ids[repeated].iloc[0]!r})"
        raise bad_rows(source, key, ids.index[repeated], what, "Keep one row for an item.")
    titles, texts, named = _titles_and_texts(rows, source, mapping)
    empty = pd.Series([not title and not text for title, text in zip(titles, texts, strict=True)], index=rows.index)
    if empty.any():
        what = "neither a title nor a text"
        raise bad_rows(source, named, rows.index[empty], what, "Fill one in or drop these items.")
    table = pd.DataFrame({"item_id": ids, "title": titles, "text": texts}, index=rows.index)
    categories = _column(rows, mapping.categories, "categories", source)
    if categories is not None:
        table["categories"] = [_categories(value, mapping.category_separator) for value in rows[categories]]
    created = _column(rows, mapping.created_at, "created_at", source)
    if created is not None:
        table["created_at"] = parse_times(rows[created], source, created, timezone=mapping.timezone)
    return table.reset_index(drop=True), sum(not text for text in texts)


def _titles_and_texts(rows: pd.DataFrame, source: str, mapping: ColumnMapping) -> tuple[list[str], list[str], str]:
    """Titles and texts, either possibly empty (the item table lets one stand in for the other); their columns."""
    title = _column(rows, mapping.title, "title", source)
    text = list(mapping.text) or (["text"] if "text" in rows.columns else [])
    require_columns(rows, text, source)
    if title is None and not text:
        raise TableError(
            f"{source}: no title and no text; it has {[str(column) for column in rows.columns]}. "
            "Name them with `--title-column` and `--text-column`."
        )
    titles = [plain(value) for value in rows[title]] if title is not None else [""] * len(rows)
    texts = [joined(parts) for parts in zip(*(rows[column] for column in text), strict=True)] if text else titles
    return titles, texts, ", ".join([*([title] if title else []), *text])


def _require_rows(rows: pd.DataFrame, source: str) -> None:
    if not len(rows):
        raise TableError(f"{source}: has a header but no rows. Check the file.")


def _column(rows: pd.DataFrame, given: str | None, standard: str, source: str) -> str | None:
    """The column that was asked for (an error when absent), else the standard one if the source has it."""
    if given is not None:
        require_columns(rows, [given], source)
        return given
    return standard if standard in rows.columns else None


def _ids(values: pd.Series, source: str, column: str) -> pd.Series:
    """Ids as text. CSV ids come as they were written; whole floats lose their ".0", which only means "had gaps"."""
    import pandas as pd

    missing = values.isna() | values.astype(object).map(lambda value: isinstance(value, str) and not value.strip())
    if missing.any():
        raise bad_rows(source, column, values.index[missing], "no id", "Fill the ids in or drop these rows.")
    if pd.api.types.is_float_dtype(values):
        broken = (values % 1 != 0) | (values.abs() >= _LARGEST_EXACT_FLOAT)
        if broken.any():
            what = "a number that is no whole id"
            raise bad_rows(source, column, values.index[broken], what, "Store the ids as text.")
        values = values.astype("int64")
    return values.map(lambda value: value if isinstance(value, str) else str(value)).astype(object)


def _categories(value: object, separator: str) -> list[str]:
    if isinstance(value, Iterable) and not isinstance(value, str):
        return list(filter(None, map(plain, value)))
    return [part for part in map(plain, plain(value).split(separator)) if part]


def _notes(data: Interactions, unknown: int, from_title: int) -> list[str]:
    notes = []
    if data.duplicates:
        notes.append(f"{data.duplicates:,} repeated (user, item) rows: the first of each pair is kept.")
    if unknown:
        notes.append(f"{unknown:,} interactions with unknown items were left out.")
    if from_title:
        notes.append(f"{from_title:,} items have no text: their title is used.")
    if data.timestamp is None and data.in_test is None:
        notes.append("No times: items instead of periods will be held out; name a column with `--time-column`.")
    if data.timestamp is not None and data.timestamp.max() < np.datetime64("1971-01-01", "us").astype("int64"):
        notes.append("All times lie before 1971: are they Unix times?")
    if data.n_users == 1:
        notes.append("There is one user only: nothing can be learned from others.")
    return notes
