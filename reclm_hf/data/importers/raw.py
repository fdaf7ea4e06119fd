"""What a reader of one known format returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RawTables:
    """Both tables as read, before `Interactions.from_tables` checks them.

    Attributes:
        items: `item_id`, `title`, `text` and, where known, `categories`.
        interactions: `user_id`, `item_id` and, where known, `timestamp`, `rating`, `split`.
        info: for `dataset.json`: `licence`, `attribution`, `homepage` and, for two snapshots, `test_cut` (int
            microseconds UTC).
        notes: what a person should know about how the rows came in.
    """

    items: pd.DataFrame
    interactions: pd.DataFrame
    info: dict[str, Any]
    notes: list[str] = field(default_factory=list)
