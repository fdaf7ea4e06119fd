"""Interactions as integer arrays over one id space."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .tables import TableError, validate_interactions, validate_items

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Interactions:
    """All interactions of a data set, with ids mapped to rows.

    Attributes:
        user_ids: [U] str, sorted; row u of every user matrix is `user_ids[u]`.
        item_ids: [I] str, sorted.
        user: [n] int32 user rows, ordered by (timestamp, user, item).
        item: [n] int32 item rows.
        timestamp: [n] int64 microseconds since 1970 UTC, or None where the data have no times.
        items: [I] rows of the item table in the order of `item_ids`.
        name: what reports call the data set.
        min_rating: rows below it were left out; None keeps every rating as an interaction.
        duplicates: how many repeated (user, item) rows were dropped; the first is kept, a train row before a test row.
        in_test: [n] bool, rows of a given test set (column `split`), or None where the data name none.
    """

    user_ids: np.ndarray
    item_ids: np.ndarray
    user: np.ndarray
    item: np.ndarray
    timestamp: np.ndarray | None
    items: pd.DataFrame
    name: str
    min_rating: float | None = None
    duplicates: int = 0
    in_test: np.ndarray | None = None

    @classmethod
    def from_tables(
        cls, items: pd.DataFrame, interactions: pd.DataFrame, name: str, min_rating: float | None = None
    ) -> Interactions:
        """Validate both tables and map their ids.

        Args:
            min_rating: keep interactions with at least this rating (needs a `rating` column).

        Raises:
            TableError: see `validate_items` and `validate_interactions`; also when `min_rating` leaves nothing.
        """
        items = validate_items(items, f"{name}: items").sort_values("item_id", ignore_index=True)
        rows = validate_interactions(interactions, f"{name}: interactions", known_items=set(items["item_id"]))
        if min_rating is not None:
            if "rating" not in rows.columns:
                raise TableError(f"{name}: interactions: min_rating needs a column 'rating'; leave it out.")
            rows = rows[rows["rating"] >= min_rating]
            if not len(rows):
                raise TableError(f"{name}: interactions: no rating reaches min_rating={min_rating}. Lower it.")
        user_ids, user = _sorted_ids(rows["user_id"].array)
        item_ids = items["item_id"].to_numpy(dtype=object)
        item = _positions(item_ids, rows["item_id"].array)
        stamps = rows["timestamp"].astype("int64").to_numpy() if "timestamp" in rows.columns else None
        in_test = (rows["split"] == "test").to_numpy() if "split" in rows.columns else None
        pairs = user * np.int64(len(item_ids)) + item
        kept = _first_of_each(pairs, [keys for keys in (stamps, in_test) if keys is not None])
        kept = _in_order(kept, pairs, stamps)
        return cls(
            user_ids=user_ids,
            item_ids=item_ids,
            user=user[kept],
            item=item[kept],
            timestamp=None if stamps is None else stamps[kept],
            items=items,
            name=name,
            min_rating=min_rating,
            duplicates=len(pairs) - len(kept),
            in_test=None if in_test is None else in_test[kept],
        )

    @property
    def n_users(self) -> int:
        """U, the number of users."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """I, the number of items, also those without interactions."""
        return len(self.item_ids)

    def fingerprint(self) -> str:
        """SHA-256 over ids, texts, pairs, times, rating rule and given split: equal data, equal fingerprint."""
        digest = hashlib.sha256()
        for values in (self.user_ids, self.item_ids, self.items["text"].to_numpy(dtype=object)):
            digest.update("\x00".join(values).encode())
            digest.update(b"\x01")
        for array in (self.user, self.item, self.timestamp):
            digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        digest.update(f"min_rating={self.min_rating}".encode())
        if self.in_test is not None:
            digest.update(b"split=" + np.packbits(self.in_test).tobytes())
        return digest.hexdigest()


def _sorted_ids(ids: pd.Categorical) -> tuple[np.ndarray, np.ndarray]:
    """The ids that occur, sorted, [U] str; and which of them each row has, int32 [n]."""
    names = np.asarray(ids.categories, dtype=object)
    used = np.flatnonzero(np.bincount(ids.codes, minlength=len(names)))
    order = np.array(sorted(used.tolist(), key=names.tolist().__getitem__), dtype=np.int64)
    place = np.full(len(names), -1, dtype=np.int32)
    place[order] = np.arange(len(order))
    return names[order], place[ids.codes]


def _positions(names: np.ndarray, ids: pd.Categorical) -> np.ndarray:
    """Where each row's id stands among `names`, int32 [n]; every id that occurs must be there."""
    place = {name: position for position, name in enumerate(names)}
    return np.array([place.get(name, -1) for name in ids.categories], dtype=np.int32)[ids.codes]


def _first_of_each(pairs: np.ndarray, keys: list[np.ndarray]) -> np.ndarray:
    """Rows of the first of equal pairs, int64: by the last key, then the one before it, then the order of the table."""
    in_order = np.sort(pairs)
    if not (in_order[1:] == in_order[:-1]).any():
        return np.arange(len(pairs))
    order = np.lexsort(keys) if keys else np.arange(len(pairs))
    # Stable too: of equal pairs the one that comes first in `order` stands first.
    order = order[np.argsort(pairs[order], kind="stable")]
    return order[np.append(True, in_order[1:] != in_order[:-1])]


def _in_order(rows: np.ndarray, pairs: np.ndarray, stamps: np.ndarray | None) -> np.ndarray:
    """The rows by (time, pair); pairs are distinct. A table that is in order of time already costs hardly a sort."""
    if stamps is None:
        return rows[np.argsort(pairs[rows])]
    rows = rows[np.argsort(stamps[rows], kind="stable")]
    times = stamps[rows]
    equal = times[1:] == times[:-1]
    tied = np.flatnonzero(np.append(equal, False) | np.append(False, equal))
    rows[tied] = rows[tied][np.lexsort((pairs[rows[tied]], times[tied]))]
    return rows
