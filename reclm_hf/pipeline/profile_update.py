"""Renewing profiles after new interactions: what did not change is kept, what did is written again."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reclm_hf.data.interactions import Interactions
from reclm_hf.data.profile_tables import read_profiles
from reclm_hf.data.splits import Split
from reclm_hf.data.tables import ITEM_PROFILE_COLUMNS, PROFILE_COLUMNS, TableError
from reclm_hf.profiles.item_profiles import MIN_INTERACTIONS
from reclm_hf.profiles.new_users import check_new_users, generate_new_user_profiles, stated_texts
from reclm_hf.profiles.prompts import PROMPT_VERSION, PromptStyle
from reclm_hf.profiles.shards import ShardStore

from .profile_stage import ITEM_TABLE, SHARDS, USER_TABLE, write_item_profiles, write_profiles

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """What an update did to one table: rows kept as they were, written again, and of ids that had none before."""

    kept: int
    rewritten: int
    new: int
    gone: int
    seconds: float

    @property
    def written_share(self) -> float:
        """The share of the rows that a language model had to write."""
        return (self.rewritten + self.new) / max(self.kept + self.rewritten + self.new, 1)

    def line(self, what: str) -> str:
        """For a terminal."""
        return (
            f"{what}: {self.kept} kept, {self.rewritten} written again because their input changed, {self.new} new, "
            f"{self.gone} no longer there ({self.written_share:.1%} written, {self.seconds:.0f} s)"
        )


def update_profiles(
    data: Interactions,
    split: Split,
    item_vectors: np.ndarray,
    engine: Any,
    folder: Path,
    *,
    new_users: pd.DataFrame | None = None,
    encoder: Any = None,
    style: PromptStyle | None = None,
    min_interactions: int = MIN_INTERACTIONS,
    rewrite: bool = False,
) -> dict[str, Change]:
    """Bring the tables of `folder` up to the cut of `split`, in place.

    `folder` needs `user_profiles.parquet`; where `item_profiles.parquet` stands beside it, it is renewed too. Shards of
    an earlier run are used when they are there, but the tables alone will do: they may come from the Hub. An item that
    has been chosen by somebody since, but by too few to be described by them, keeps the profile that it had.

    Args:
        new_users: columns user_id and text, people without history; see `generate_new_user_profiles`. Profiles of
            earlier new users who still have no history are kept.
        encoder: of texts; needed where new users state preferences.
        rewrite: write everything again where another model, prompt or style wrote the table.

    Returns:
        `users`, and `items` where there is such a table.

    Raises:
        TableError: no table to update, one by another model, prompt or style, or new users that cannot be used.
        LeakageError: as `write_profiles`.
    """
    style = style or PromptStyle()
    if not (folder / USER_TABLE).is_file():
        raise TableError(f"{folder / USER_TABLE}: there are no profiles to update. Write them: `reclm profiles build`.")
    before = read_profiles(folder / USER_TABLE, "user")
    if not rewrite:
        _require_origin(before, folder / USER_TABLE, engine.generator, PROMPT_VERSION + style.version)
    if new_users is not None:
        check_new_users(new_users, split)
    _adopt(before, folder / SHARDS, PROFILE_COLUMNS, split)
    started = time.perf_counter()
    others = _without_history(before, split, new_users)
    if new_users is not None and len(new_users):
        written = _new_users(new_users, data, split, item_vectors, engine, folder, encoder, style)
        others = _joined([others, written])
    users = write_profiles(data, split, item_vectors, engine, folder, style=style, beside=others)
    changes = {"users": _change(before, users, "user_id", time.perf_counter() - started)}
    if (folder / ITEM_TABLE).is_file():
        items_before = read_profiles(folder / ITEM_TABLE, "item")
        _adopt(items_before, folder / f"item-{SHARDS}", ITEM_PROFILE_COLUMNS, split)
        started = time.perf_counter()
        items = write_item_profiles(
            data, split, item_vectors, users, engine, folder, style, min_interactions, before=items_before
        )
        changes["items"] = _change(items_before, items, "item_id", time.perf_counter() - started)
    return changes


def _require_origin(table: pd.DataFrame, path: Path, generator: str, version: str) -> None:
    """Refuse a table that would have to be written again from its first row to its last."""
    written = table[table["source"] == "interactions"]
    origins = set(zip(written["generator"], written["prompt_version"], strict=True))
    if origins and (generator, version) not in origins:
        was = "; ".join(f"{name}, prompt {number}" for name, number in sorted(origins)[:2])
        raise TableError(
            f"{path}: was written by {was}; this is {generator}, prompt {version}. Give the same --model, --columns "
            "and --language, or write all profiles again with --rewrite."
        )


def _adopt(table: pd.DataFrame, shards: Path, columns: Mapping[str, str], split: Split) -> None:
    """Make the rows of a finished table known to the shards, where a table came without them."""
    store = ShardStore(shards, columns, split.cut)
    known = store.rows()
    unknown = [row for row in table.to_dict("records") if str(row["input_hash"]) not in known]
    if unknown:
        store.write(unknown)


def _without_history(before: pd.DataFrame, split: Split, new_users: pd.DataFrame | None) -> pd.DataFrame:
    active = set(split.user_ids[np.unique(split.history_user)].tolist())
    asked = set() if new_users is None else set(new_users["user_id"])
    kept = (before["source"] != "interactions") & ~before["user_id"].isin(active | asked)
    return before[kept]


def _new_users(
    new_users: pd.DataFrame,
    data: Interactions,
    split: Split,
    item_vectors: np.ndarray,
    engine: Any,
    folder: Path,
    encoder: Any,
    style: PromptStyle | None,
) -> pd.DataFrame:
    texts = stated_texts(new_users)
    if any(texts) and encoder is None:
        raise ValueError("encoder=None: new users state preferences; give the encoder that made the item vectors.")
    stated = np.zeros((len(texts), item_vectors.shape[1]), dtype=np.float32)
    said = [row for row, text in enumerate(texts) if text]
    if said:
        stated[said] = encoder.encode([texts[row] for row in said])
    return generate_new_user_profiles(
        new_users,
        split,
        data.items,
        engine,
        folder / SHARDS,
        stated_vectors=stated,
        history_vectors=split.history_matrix() @ item_vectors,
        style=style,
    )


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([table for table in tables if len(table)], ignore_index=True)


def _change(before: pd.DataFrame, after: pd.DataFrame, key: str, seconds: float) -> Change:
    old = dict(zip(before[key], before["input_hash"], strict=True))
    kept = sum(old.get(name) == digest for name, digest in zip(after[key], after["input_hash"], strict=True))
    new = sum(name not in old for name in after[key])
    gone = len(set(old) - set(after[key]))
    return Change(kept, len(after) - kept - new, new, gone, seconds)
