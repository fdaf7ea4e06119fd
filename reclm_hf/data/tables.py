"""The schemas of every table and the checks that a table must pass before anything is computed from it.

Tables travel as pandas frames in memory and as Parquet on disk. A failed check raises `TableError`, whose message
names the source, the column, the first bad rows and the way out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

ITEM_COLUMNS = {
    "item_id": "string",
    "title": "string",
    "text": "string",
    "categories": "list<string>",
    "created_at": "timestamp[us, tz=UTC]",
}
INTERACTION_COLUMNS = {
    "user_id": "string",
    "item_id": "string",
    "timestamp": "timestamp[us, tz=UTC]",
    "split": "string",
}
SPLIT_NAMES = ("train", "test")
PROFILE_COLUMNS = {
    "user_id": "string",
    "profile": "string",
    "identities": "list<string>",
    "interests": "list<string>",
    "evidence": "list<string>",
    "neighbors": "list<string>",
    "as_of": "timestamp[us, tz=UTC]",
    "generator": "string",
    "prompt_version": "string",
    "input_hash": "string",
    "format_score": "double",
    "tokens_in": "int64",
    "tokens_out": "int64",
    "neighbors_by": "string",
    "source": "string",
}
"""Of users: `neighbors_by` is interactions, text or none; `source` is interactions, stated (what the user said to like)
or prior (nothing is known of the user)."""
ITEM_PROFILE_COLUMNS = {
    "item_id": "string",
    **{name: kind for name, kind in PROFILE_COLUMNS.items() if name not in ("user_id", "neighbors_by", "source")},
    "phase": "string",
}
"""Of items: `phase` is interactions, where `evidence` names the users whose profiles were read, or similar_items, where
`neighbors` names the items whose profiles were read."""
INSTRUCTION_COLUMNS = {
    "messages": "list<message>",
    "variant": "string",
    "user_id": "string",
    "candidate_item_id": "string",
    "label": "bool",
}
PREFERENCE_COLUMNS = {
    "prompt": "list<message>",
    "chosen": "list<message>",
    "rejected": "list<message>",
    "rejected_kind": "string",
    "user_id": "string",
    "accepted": "bool",
}
_SHOWN_ROWS = 3


class TableError(ValueError):
    """A table that cannot be used; the message names the source, the column, the first bad rows and the way out."""


def require_columns(table: pd.DataFrame, required: Sequence[str], source: str) -> None:
    """Raise `TableError` when a required column is absent, offering the nearest existing names."""
    import difflib

    existing = [str(column) for column in table.columns]
    for column in required:
        if column not in existing:
            near = difflib.get_close_matches(column, existing, n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise TableError(f"{source}: there is no column {column!r}; it has {existing}.{hint}")


def bad_rows(
    source: str, column: str, rows: Iterable[int], what: str, way_out: str, total: int | None = None
) -> TableError:
    """The error for a list of bad row positions (0-based), shown as a person counts them: the first data row is 1."""
    positions = list(rows)
    shown = ", ".join(str(position + 1) for position in positions[:_SHOWN_ROWS])
    count = len(positions) if total is None else total
    more = f" and {count - _SHOWN_ROWS} more" if count > _SHOWN_ROWS else ""
    return TableError(f"{source}: column {column!r}: {what} in row {shown}{more}. {way_out}")


def _require_ids(table: pd.DataFrame, column: str, source: str) -> pd.Categorical:
    """The ids of a column, checked; each distinct id is looked at once, however many rows have it."""
    import numpy as np
    import pandas as pd

    values = table[column]
    kind = values.cat.categories.dtype if isinstance(values.dtype, pd.CategoricalDtype) else values.dtype
    if len(values) and not (pd.api.types.is_string_dtype(kind) or pd.api.types.is_object_dtype(kind)):
        raise TableError(
            f"{source}: column {column!r} holds {kind}, not text; ids such as '007' would lose their zeros. "
            f"Read it as a string (pandas: dtype={{{column!r}: str}})."
        )
    try:
        codes, distinct = pd.factorize(values)
    except TypeError:  # lists and the like have no hash
        codes, distinct = pd.factorize(values.map(lambda value: value if isinstance(value, str) else None))
    ids = np.asarray(distinct, dtype=object)
    # One more at the end, for the code -1 of a missing value.
    unusable = np.array([not (isinstance(value, str) and value.strip()) for value in ids] + [True])
    if unusable[codes].any():
        raise bad_rows(source, column, unusable[codes].nonzero()[0], "no id", "Fill the ids in or drop these rows.")
    return pd.Categorical.from_codes(codes, pd.Index(ids, dtype=object))


def _utc_microseconds(values: pd.Series, column: str, source: str) -> pd.Series:
    import pandas as pd

    if not pd.api.types.is_datetime64_any_dtype(values):
        raise TableError(
            f"{source}: column {column!r} holds {values.dtype}, not timestamps. "
            "Use `reclm data import`, which reads ISO dates and Unix seconds or milliseconds."
        )
    aware = values if values.dt.tz is not None else values.dt.tz_localize("UTC")
    return aware.dt.tz_convert("UTC").astype("datetime64[us, UTC]")


def validate_items(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """Check an item table and return it with exactly the columns of `ITEM_COLUMNS`.

    Args:
        table: needs `item_id`; `title` and `text` may stand in for each other, one of them must be non-empty in each
            row. `categories` (lists of strings) and `created_at` are optional.
        source: the file or data set name used in errors.

    Raises:
        TableError: a missing column, an empty or repeated id, a row with neither title nor text.
    """
    import pandas as pd

    require_columns(table, ["item_id"], source)
    if "title" not in table.columns and "text" not in table.columns:
        require_columns(table, ["title"], source)
    ids = pd.Series(_require_ids(table, "item_id", source), index=table.index).astype(object)
    repeated = ids.duplicated()
    if repeated.any():
        first = ids[repeated].iloc[0]
        raise bad_rows(
            source,
            "item_id",
            repeated.to_numpy().nonzero()[0],
            f"a repeated id ({first!r})",
            "Keep one row for an item.",
        )
    columns = {}
    for column, other in (("title", "text"), ("text", "title")):
        values = table[column] if column in table.columns else table[other]
        columns[column] = values.map(lambda value: value.strip() if isinstance(value, str) else "").astype(object)
    title = columns["title"].where(columns["title"] != "", columns["text"])
    text = columns["text"].where(columns["text"] != "", columns["title"])
    empty = text == ""
    if empty.any():
        raise bad_rows(
            source,
            "text",
            empty.to_numpy().nonzero()[0],
            "neither a title nor a text",
            "Fill one in or drop these rows.",
        )
    if "categories" in table.columns:
        categories = table["categories"].map(_string_list)
    else:
        categories = pd.Series([[] for _ in range(len(table))], index=table.index, dtype=object)
    if "created_at" in table.columns and table["created_at"].notna().any():
        created = _utc_microseconds(table["created_at"], "created_at", source)
    else:
        created = pd.Series(pd.NaT, index=table.index, dtype="datetime64[us, UTC]")
    checked = pd.DataFrame(
        {"item_id": ids, "title": title, "text": text, "categories": categories, "created_at": created}
    )
    return checked.reset_index(drop=True)


def _string_list(value: object) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    entries = value if isinstance(value, Iterable) else []  # None, NaN and pd.NA stand for "no category"
    return [str(entry) for entry in entries if entry is not None]


def validate_interactions(table: pd.DataFrame, source: str, *, known_items: set[str] | None = None) -> pd.DataFrame:
    """Check an interaction table and return `user_id`, `item_id` and, where present, `timestamp`, `split`, `rating`.

    Ids and splits come back as categoricals of strings, so that no row has a Python object of its own.

    Args:
        table: needs `user_id` and `item_id`. `split` holds `train` or `test` in every row: a given test set.
        source: the file or data set name used in errors.
        known_items: when given, an interaction with any other item is an error.

    Raises:
        TableError: a missing column, an empty id, an unknown item, an unusable timestamp, another split, no rows.
    """
    import numpy as np
    import pandas as pd

    require_columns(table, ["user_id", "item_id"], source)
    if not len(table):
        raise TableError(f"{source}: no interactions in it. Check the file or the filters.")
    ids = {column: _require_ids(table, column, source) for column in ("user_id", "item_id")}
    if known_items is not None:
        items = ids["item_id"]
        unknown = np.array([item not in known_items for item in items.categories], dtype=bool)[items.codes]
        if unknown.any():
            rows = unknown.nonzero()[0]
            raise bad_rows(
                source,
                "item_id",
                rows,
                f"an item that the item table does not have ({items[rows[0]]!r})",
                "Add the items or drop these rows (`reclm data import --drop-unknown-items`).",
            )
    checked = pd.DataFrame(ids)
    if "timestamp" in table.columns:
        stamps = _utc_microseconds(table["timestamp"], "timestamp", source)
        if stamps.isna().any():
            raise bad_rows(
                source, "timestamp", stamps.isna().to_numpy().nonzero()[0], "no time", "Fill in or drop these rows."
            )
        checked["timestamp"] = stamps.array
    if "split" in table.columns:
        other = ~table["split"].isin(SPLIT_NAMES).to_numpy()
        if other.any():
            what = f"neither 'train' nor 'test' ({table['split'][other].iloc[0]!r})"
            way_out = "Name validation rows 'train' (validation is cut out of it), or leave the column out."
            raise bad_rows(source, "split", other.nonzero()[0], what, way_out)
        checked["split"] = pd.Categorical(table["split"], categories=SPLIT_NAMES)
    if "rating" in table.columns:
        checked["rating"] = pd.to_numeric(table["rating"], errors="coerce").array
    return checked


def write_parquet(table: pd.DataFrame, path: str | Path, columns: dict[str, str] | None = None) -> None:
    """Write a frame atomically: a reader sees the old file or the whole new one, never a part.

    Args:
        columns: name -> Arrow type; gives the file a fixed schema even where a column is empty.

    Raises:
        TableError: the file could not be written (disk full, no permission); nothing half-written is left behind.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    schema = None
    if columns is not None:
        schema = pa.schema([(name, _arrow_type(kind)) for name, kind in columns.items()])
        table = table[list(columns)]
    arrow = pa.Table.from_pandas(table, schema=schema, preserve_index=False).replace_schema_metadata(None)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            pq.write_table(arrow, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise TableError(
            f"{path}: could not be written ({error.strerror or error}). Free some space or choose another folder; "
            "files finished before are intact, and the same command goes on from them."
        ) from error


def _arrow_type(kind: str) -> object:
    import pyarrow as pa

    return {
        "string": pa.string(),
        "list<string>": pa.list_(pa.string()),
        "list<message>": pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
        "bool": pa.bool_(),
        "timestamp[us, tz=UTC]": pa.timestamp("us", tz="UTC"),
        "double": pa.float64(),
        "int64": pa.int64(),
    }[kind]


def read_parquet(path: str | Path, categorical: Sequence[str] = ()) -> pd.DataFrame:
    """Read a Parquet file as a frame.

    Args:
        categorical: text columns that become categoricals, which hold each distinct text once.

    Raises:
        TableError: the file is absent, empty (0 bytes) or not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    if not path.is_file():
        raise TableError(f"{path}: there is no such file.")
    if path.stat().st_size == 0:
        raise TableError(f"{path}: the file is empty (0 bytes). Copy or download it again.")
    try:
        # `read_table` imports what reads folders of files, .3 s
        with pq.ParquetFile(path) as file:
            kinds = (pa.string(), pa.large_string())
            texts = {field.name for field in file.schema_arrow if field.type in kinds}
            if not texts.intersection(categorical):
                return file.read().to_pandas()
        with pq.ParquetFile(path, read_dictionary=sorted(texts.intersection(categorical))) as file:
            return file.read().to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        raise TableError(f"{path}: cannot be read as Parquet ({error}). Copy or download it again.") from error
