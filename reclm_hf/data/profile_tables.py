"""Reading tables of profiles: one check of their columns for all that use them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .tables import (
    ITEM_PROFILE_COLUMNS,
    PROFILE_COLUMNS,
    TableError,
    bad_rows,
    read_parquet,
    require_columns,
)

if TYPE_CHECKING:
    import pandas as pd

Side = Literal["user", "item"]
_WAY_OUT = "`reclm profiles build` writes a table that has all; give its folder with --profiles."
_NEWER = ("neighbors_by", "source")  # columns of users that tables of earlier versions lack


def read_profiles(path: str | Path, side: Side = "user") -> pd.DataFrame:
    """A table of profiles with the columns of `PROFILE_COLUMNS`, or of `ITEM_PROFILE_COLUMNS`.

    Tables of earlier versions, which knew no users without history, are filled: `source` is "interactions",
    `neighbors_by` is "interactions" where a row names neighbours and "none" elsewhere. So are rows that leave the two
    empty.

    Raises:
        ValueError: another side.
        TableError: the file is absent or broken, a column is missing, an id is repeated.
    """
    if side not in ("user", "item"):
        raise ValueError(f"side={side!r}: profiles exist of the sides 'user' and 'item'.")
    path = Path(path)
    if not path.is_file():
        raise TableError(f"{path}: there is no such file. {_WAY_OUT}")
    table = read_parquet(path)
    columns = PROFILE_COLUMNS if side == "user" else ITEM_PROFILE_COLUMNS
    require_profile_columns(table, [name for name in columns if name not in _NEWER], str(path))
    key = f"{side}_id"
    repeated = table[key].duplicated()
    if repeated.any():
        what, rows = f"a repeated id ({table[key][repeated].iloc[0]!r})", repeated.to_numpy().nonzero()[0]
        raise bad_rows(str(path), key, rows, what, f"Keep one row for each {side}.")
    return _filled(table) if side == "user" else table


def require_profile_columns(table: pd.DataFrame, required: Sequence[str], source: str) -> None:
    """As `require_columns`, with the way to a table that has them.

    Raises:
        TableError: a missing column, named.
    """
    try:
        require_columns(table, required, source)
    except TableError as error:
        raise TableError(f"{error} {_WAY_OUT}") from None


def _filled(table: pd.DataFrame) -> pd.DataFrame:
    near = table["neighbors"].map(lambda value: "interactions" if _has_entries(value) else "none").astype(object)
    for column, otherwise in (("neighbors_by", near), ("source", "interactions")):
        if column not in table.columns:
            table[column] = otherwise
        else:
            table[column] = table[column].astype(object).where(table[column].notna(), otherwise)
    return table


def _has_entries(value: object) -> bool:
    """Whether a list column's value holds anything; a missing one is None or NaN."""
    return hasattr(value, "__len__") and len(value) > 0
