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
        if "split" in rows.columns:
            rows = rows.assign(in_test=rows["split"] == "test")
        order = [column for column in ("in_test", "timestamp") if column in rows.columns]
        # A stable sort keeps the file's order among equal times, so that "the first" of a duplicate is the earliest.
        rows = rows.sort_values(order, kind="stable") if order else rows
        repeated = rows.duplicated(["user_id", "item_id"])
        rows = rows[~repeated]
        user_ids, user = np.unique(rows["user_id"].to_numpy(dtype=object), return_inverse=True)
        item_ids = items["item_id"].to_numpy(dtype=object)
        item = np.searchsorted(item_ids, rows["item_id"].to_numpy(dtype=object))
        stamps = rows["timestamp"].astype("int64").to_numpy() if "timestamp" in rows.columns else None
        in_test = rows["in_test"].to_numpy(dtype=bool) if "in_test" in rows.columns else None
        keys = (item, user, stamps) if stamps is not None else (item, user)
        by_time = np.lexsort(keys)
        return cls(
            user_ids=user_ids,
            item_ids=item_ids,
            user=user[by_time].astype(np.int32),
            item=item[by_time].astype(np.int32),
            timestamp=None if stamps is None else stamps[by_time],
            items=items,
            name=name,
            min_rating=min_rating,
            duplicates=int(repeated.sum()),
            in_test=None if in_test is None else in_test[by_time],
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
