"""Tables, data sets and splits in; a split whose history is all that may be read, and its items, out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..data.as_of import state_as_of
from ..data.interactions import Interactions
from ..data.splits import Split, Splits
from ..data.tables import TableError, validate_items

if TYPE_CHECKING:
    import pandas as pd

Source: TypeAlias = "Split | Splits | Interactions | Mapping[str, Any] | pd.DataFrame"
PERIODS = ("validation", "test")


def known_before(
    data: Source,
    items: pd.DataFrame | None = None,
    *,
    as_of: str | pd.Timestamp | None = None,
    period: str = "test",
) -> tuple[Split, pd.DataFrame]:
    """The history that may be read, as a split, and the item table in the order of its item rows.

    Args:
        data: a `Split`: its history, as of its cut. `Splits`: the split of `period`. `Interactions`, a mapping with the
            tables `items` and `interactions`, or an interactions table: everything before `as_of`; without one, the
            train rows where the data bring a test set, all rows where they do not.
        items: the item table; needed with a `Split` or an interactions table, refused elsewhere.
        as_of: a time; UTC where it names no zone. Only for data that are not split.

    Raises:
        TypeError: something else than these.
        TableError: tables that cannot be used, no items, items that the split does not know, nothing before `as_of`.
        ValueError: an unknown period, a time for data that are already cut, items given twice.
    """
    if isinstance(data, Splits):
        _refuse(items is not None, "items: the splits bring their own; leave the argument out.")
        if period not in PERIODS:
            raise ValueError(f"period={period!r} is not known; choose one of {', '.join(PERIODS)}.")
        items, data = data.data.items, getattr(data, period)
    if isinstance(data, Split):
        _refuse(as_of is not None, f"as_of: the split {data.name!r} has its own cut; leave the argument out.")
        if items is None:
            raise TableError("items: a split has no item texts; pass the item table.")
        return data, _in_order(items, data.item_ids)
    if isinstance(data, Interactions):
        _refuse(items is not None, "items: the interactions bring their own; leave the argument out.")
    else:
        data = _from_tables(data, items)
    return _until(data, as_of), data.items


def _refuse(wrong: bool, message: str) -> None:
    if wrong:
        raise ValueError(message)


def _from_tables(data: Any, items: Any) -> Interactions:
    import pandas as pd

    if isinstance(data, Mapping):
        _refuse(items is not None, "items: the tables bring their own; leave the argument out.")
        missing = [name for name in ("items", "interactions") if name not in data]
        if missing:
            raise TableError(f"tables: there is no {missing[0]!r}; they hold {sorted(map(str, data))}.")
        data, items = data["interactions"], data["items"]
    data, items = _frame(data), _frame(items)
    if not isinstance(data, pd.DataFrame):
        raise TypeError(
            f"data is {type(data).__name__}: pass a Split, Splits, Interactions, the tables {{'items': ..., "
            "'interactions': ...}}, or an interactions table with items=..."
        )
    if not isinstance(items, pd.DataFrame):
        raise TableError("items: pass the item table beside the interactions.")
    return Interactions.from_tables(items, data, "tables")


def _frame(table: Any) -> Any:
    """A `datasets.Dataset` as a frame; anything else as it is."""
    return table.to_pandas() if hasattr(table, "to_pandas") else table


def _in_order(items: pd.DataFrame, item_ids: np.ndarray) -> pd.DataFrame:
    checked = validate_items(items, "items").set_index("item_id", drop=False)
    missing = [identity for identity in item_ids if identity not in checked.index]
    if missing:
        raise TableError(f"items: {len(missing)} items of the split are missing, {missing[0]!r} the first; add them.")
    return checked.loc[list(item_ids)].reset_index(drop=True)


def _until(data: Interactions, as_of: str | pd.Timestamp | None) -> Split:
    import pandas as pd

    if as_of is None:
        return state_as_of(data)
    time = pd.Timestamp(as_of)
    time = time.tz_localize("UTC") if time.tz is None else time.tz_convert("UTC")
    return state_as_of(data, time.value // 1000)


def user_rows(split: Split, users: Sequence[str] | None) -> np.ndarray:
    """int64 rows of users by id, in their order; everybody with history for None.

    Raises:
        KeyError: unknown ids, or users without history, named.
    """
    known = np.unique(split.history_user)
    if users is None:
        return known
    if isinstance(users, str):
        users = [users]
    row_of = {identity: row for row, identity in enumerate(split.user_ids)}
    unknown = [user for user in users if user not in row_of]
    if unknown:
        raise KeyError(f"unknown users: {', '.join(map(repr, unknown[:3]))}; the interactions do not have them")
    rows = np.array([row_of[user] for user in users], dtype=np.int64)
    silent = rows[~np.isin(rows, known)]
    if len(silent):
        named = ", ".join(repr(split.user_ids[row]) for row in silent[:3])
        raise KeyError(f"users without a known interaction before the cut: {named}; nothing can be written of them")
    return rows


def neighbor_rows(neighbors: Any, split: Split, n: int) -> np.ndarray:
    """[U, n] int32 rows of similar users, -1 for none.

    Args:
        neighbors: None for none; float [U, d] user vectors, whose nearest by cosine are taken; or the rows themselves,
            integers [U, m], of which the first n are taken. U counts the ids of the split, in their (sorted) order.

    Raises:
        ValueError: another shape, rows that are nobody's, or the user's own.
    """
    if neighbors is None or n == 0:
        return np.full((split.n_users, max(n, 1)), -1, dtype=np.int32)
    table = np.asarray(neighbors)
    if table.ndim != 2 or len(table) != split.n_users:
        raise ValueError(
            f"neighbors has shape {table.shape}: give one row for each of the {split.n_users} users, in the order of "
            "their ids"
        )
    if np.issubdtype(table.dtype, np.floating):
        from ..profiles.neighbors import top_neighbors

        # Nobody without history can be a neighbour, whatever vector a model has for them.
        known = np.isin(np.arange(split.n_users), split.history_user)
        return top_neighbors(np.where(known[:, None], table, 0.0), n)
    if not np.issubdtype(table.dtype, np.integer):
        raise ValueError(f"neighbors holds {table.dtype}: give user vectors (floats) or rows of users (integers)")
    if table.size and (table.min() < -1 or table.max() >= split.n_users):
        raise ValueError(f"neighbors: rows lie between 0 and {split.n_users - 1}, -1 stands for none")
    if (table == np.arange(split.n_users)[:, None]).any():
        raise ValueError("neighbors: a user is among the own neighbours; leave the user out")
    return table[:, :n].astype(np.int32)
