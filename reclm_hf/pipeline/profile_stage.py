"""Profiles as of a cut, of users and of items: neighbours, generation, leak certificate."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reclm_hf.data.folder import write_json
from reclm_hf.data.folds import time_folds
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.splits import Split
from reclm_hf.data.tables import ITEM_PROFILE_COLUMNS, PROFILE_COLUMNS, write_parquet
from reclm_hf.profiles.forms import CHAT_TOKENS, EXAMPLES_FORM
from reclm_hf.profiles.generate import generate_user_profiles
from reclm_hf.profiles.item_profiles import MIN_INTERACTIONS, generate_item_profiles
from reclm_hf.profiles.leakage import Certificate, certify, certify_items
from reclm_hf.profiles.neighbors import find_neighbors
from reclm_hf.profiles.prompts import PromptStyle

from .texts import neighbor_vectors

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

REDRAWS = 3
"""How often a profile that names something first seen later is drawn anew."""

SHARDS = "shards"
USER_TABLE = "user_profiles.parquet"
ITEM_TABLE = "item_profiles.parquet"


def write_profiles(
    data: Interactions,
    split: Split,
    item_vectors: np.ndarray,
    engine: Any,
    folder: Path,
    users: Sequence[int] | np.ndarray | None = None,
    mask_titles: bool = False,
    style: PromptStyle | None = None,
    beside: pd.DataFrame | None = None,
    form: str = EXAMPLES_FORM,
    tokenizer: PreTrainedTokenizerBase | None = None,
    max_tokens: int = CHAT_TOKENS,
) -> pd.DataFrame:
    """Profiles of `users` (rows; None: all with history) as of the cut of `split`, resumable in `folder`.

    `folder` receives the neighbour vectors, the shards, `user_profiles.parquet` and `certificate.json`.

    Args:
        beside: rows of other users that stand in the table too: of people without history.
        form, tokenizer, max_tokens: how the model is asked, see `generate_user_profiles`.

    Raises:
        LeakageError: a profile knows something from after the cut; the table is not written then.
    """
    import pandas as pd

    near = find_neighbors(_neighbor_vectors(data, split, item_vectors, folder))

    def make(draws: Mapping[str, int]) -> pd.DataFrame:
        table = generate_user_profiles(
            split,
            data.items,
            near.rows,
            engine,
            folder / SHARDS,
            users=users,
            neighbors_by=near.by,
            style=style,
            mask_titles=mask_titles,
            form=form,
            tokenizer=tokenizer,
            max_tokens=max_tokens,
            draws=draws,
        )
        return table if beside is None or not len(beside) else pd.concat([table, beside], ignore_index=True)

    table = _certified(make, lambda table: certify(table, split, data.items), folder / "certificate.json")
    write_parquet(table, folder / USER_TABLE, PROFILE_COLUMNS)
    return table


def write_item_profiles(
    data: Interactions,
    split: Split,
    item_vectors: np.ndarray,
    user_profiles: pd.DataFrame,
    engine: Any,
    folder: Path,
    style: PromptStyle | None = None,
    min_interactions: int = MIN_INTERACTIONS,
    before: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Profiles of the items with enough interactions, and of all cold ones, as of the cut of `split`, resumable.

    `folder` receives the shards, `item_profiles.parquet` and `item_certificate.json`.

    Args:
        user_profiles: as of the same cut.
        before: an earlier table; its rows stay for items that have got too few interactions to be described by them.

    Raises:
        TableError: as `generate_item_profiles`. LeakageError: as `write_profiles`.
    """
    import pandas as pd

    def make(draws: Mapping[str, int]) -> pd.DataFrame:
        table = generate_item_profiles(
            split,
            data.items,
            user_profiles,
            item_vectors,
            engine,
            folder / f"item-{SHARDS}",
            min_interactions=min_interactions,
            style=style,
            draws=draws,
        )
        if before is None:
            return table
        few = set(split.item_ids[split.warm].tolist()) - set(table["item_id"])
        kept = before[before["item_id"].isin(few) & (before["phase"] == "similar_items")]
        return pd.concat([table, kept], ignore_index=True) if len(kept) else table

    table = _certified(
        make,
        lambda table: certify_items(table, split, data.items, user_profiles),
        folder / "item_certificate.json",
    )
    write_parquet(table, folder / ITEM_TABLE, ITEM_PROFILE_COLUMNS)
    return table


def _certified(
    make: Callable[[Mapping[str, int]], pd.DataFrame], check: Callable[[pd.DataFrame], Certificate], path: Path
) -> pd.DataFrame:
    """A table that passes its leak certificate, which is written to `path` either way.

    A language model remembers things that are first seen later and may name one by itself. Such a profile, greedy as
    it is, would be written in the same words again: it is drawn anew instead, `REDRAWS` times at most.

    Raises:
        LeakageError: a fault of another kind, or profiles that go on naming later things.
    """
    draws: dict[str, int] = {}
    table = make(draws)
    certificate = check(table)
    for draw in range(1, REDRAWS + 1):
        if not certificate.naming:
            break
        logger.warning(
            "%d profiles name something first seen later, from the model's own memory, and are drawn anew (%d. time)",
            len(certificate.naming),
            draw,
        )
        draws |= dict.fromkeys(certificate.naming, draw)
        table = make(draws)
        certificate = check(table)
    certificate = replace(certificate, redrawn=len(draws))
    logger.info(certificate.summary())
    write_json(certificate.to_dict(), path)
    certificate.require()
    return table


def write_fold_profiles(
    data: Interactions,
    split: Split,
    item_vectors: np.ndarray,
    engine: Any,
    folder: Path,
    users: Sequence[int] | np.ndarray | None = None,
    style: PromptStyle | None = None,
    **form: Any,
) -> list[pd.DataFrame]:
    """Profiles written from the earlier and from the later half of the history of `split`, for `cross_fit` training.

    `folder` receives `fold-0` and `fold-1`, each as of `write_profiles`. A user without history in a half has no
    profile there.

    Args:
        form: how the model is asked, as of `write_profiles`.

    Raises:
        TableError: the data have no times. LeakageError: as `write_profiles`.
    """
    tables = []
    for number, part in enumerate(time_folds(split)):
        known = np.unique(part.history_user)
        chosen = known if users is None else np.intersect1d(known, users)
        place = folder / f"fold-{number}"
        tables.append(write_profiles(data, part, item_vectors, engine, place, chosen, style=style, **form))
    return tables


def _neighbor_vectors(data: Interactions, split: Split, item_vectors: np.ndarray, folder: Path) -> np.ndarray:
    # Kept beside the shards: retraining on other hardware could move a neighbour, and a resumed run must go on alike.
    from safetensors import safe_open
    from safetensors.numpy import save_file

    from reclm_hf.recommender.catalog import write_atomically

    path = folder / "neighbor_vectors.safetensors"
    # Splits without times have no cut to be told apart by.
    seen = hashlib.sha256(split.history_user.tobytes() + split.history_item.tobytes() + item_vectors.tobytes())
    origin = {"data": data.fingerprint(), "split": split.name, "cut": str(split.cut), "seen": seen.hexdigest()}
    if path.is_file():
        with safe_open(path, framework="np") as file:
            if file.metadata() == origin:
                return np.asarray(file.get_tensor("user"))
    logger.info("training LightGCN for neighbours as of the %s cut", split.name)
    vectors = neighbor_vectors(data, split, item_vectors)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda name: save_file({"user": vectors}, name, metadata=origin))
    return vectors
