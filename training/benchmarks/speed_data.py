"""What is timed on: the authors' MIND release, or data of its size made here; and a catalogue of a million items.

Item vectors are random: the text encoder is in no row's memory, and no step takes longer for one vector than another.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from reclm_hf.data.interactions import Interactions
    from reclm_hf.data.splits import Split

TEXT_DIM = 384


@dataclass(frozen=True)
class Sizes:
    """Of made data. seen: warm items among the targets; the test day has these and the new ones."""

    users: int
    warm: int
    new: int
    seen: int
    history: int
    targets: int


MIND = Sizes(users=57_128, warm=2_386, new=1_441, seen=1_020, history=89_734, targets=87_974)
TINY = Sizes(users=600, warm=80, new=40, seen=40, history=950, targets=900)


@dataclass(frozen=True)
class SpeedData:
    """name: for the table. vectors: float32 [I, d_t]."""

    name: str
    data: Interactions
    split: Split
    vectors: np.ndarray


def load(folder: Path | None, quick: bool) -> SpeedData:
    """The release in `folder`, or data made here: tiny ones for `quick`, else of MIND's size where there is none."""
    if quick:
        return made(TINY)
    if folder is None or not folder.is_dir():
        return made(MIND)
    from reclm_hf.pipeline.reproduce import load_release

    splits, _ = load_release(folder)
    return SpeedData(f"{folder.name} (the authors' release)", splits.data, splits.test, random_vectors(splits.test))


def random_vectors(split: Split, width: int = TEXT_DIM) -> np.ndarray:
    """float32 [I, width]."""
    return np.random.default_rng(0).standard_normal((split.n_items, width), dtype=np.float32)


def made(sizes: Sizes, seed: int = 0) -> SpeedData:
    """Power-law data: most users have one item, few items have most of the clicks."""
    rng = np.random.default_rng(seed)
    history = _pairs(sizes.users, np.arange(sizes.warm), sizes.history, rng)
    there = np.concatenate([np.arange(sizes.seen), np.arange(sizes.warm, sizes.warm + sizes.new)])
    targets = _pairs(sizes.users, rng.permutation(there), sizes.targets, rng)
    name = f"made here: {sizes.users:,} users, {sizes.warm + sizes.new:,} items, {sizes.history:,} interactions"
    return _speed_data(name, sizes.users, sizes.warm + sizes.new, history, targets, TEXT_DIM)


def large_catalogue(items: int, users: int = 200, each: int = 20) -> SpeedData:
    """Few users with `each` items out of very many. Vectors of width 8: serving reads none of them."""
    rng = np.random.default_rng(0)
    chosen = rng.choice(items, users * each, replace=False)
    history = np.stack([np.repeat(np.arange(users), each), chosen])
    return _speed_data(f"made here: {items:,} items", users, items, history, history[:, :1], 8)


def _pairs(users: int, items: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """int64 [2, count] distinct (user, item): every user and every item once at least, the rest by power laws."""
    weight = 1.0 / np.arange(1, len(items) + 1) ** 1.2
    active = 1.0 / np.arange(1, users + 1) ** 0.6
    user, item = np.arange(users), rng.choice(items, users, p=weight / weight.sum())
    item[: len(items)] = items
    keys = np.unique(user * (items.max() + 1) + item)
    while len(keys) < count:
        missing = count - len(keys)
        user = rng.choice(users, missing, p=active / active.sum())
        item = rng.choice(items, missing, p=weight / weight.sum())
        keys = np.unique(np.concatenate([keys, user * (items.max() + 1) + item]))
    return np.stack(np.divmod(keys, items.max() + 1))


def _speed_data(
    name: str, n_users: int, n_items: int, history: np.ndarray, targets: np.ndarray, width: int
) -> SpeedData:
    import pandas as pd

    from reclm_hf.data.interactions import Interactions
    from reclm_hf.data.splits import make_split

    user_ids = np.array([f"u{row:07d}" for row in range(n_users)], dtype=object)
    item_ids = np.array([f"i{row:07d}" for row in range(n_items)], dtype=object)
    # A pair of both sides is history only, as everywhere.
    repeated = np.isin(targets[0] * n_items + targets[1], history[0] * n_items + history[1])
    targets = targets[:, ~repeated] if not repeated.all() else targets
    user, item = np.concatenate([history, targets], axis=1).astype(np.int32)
    in_history = np.arange(len(user)) < history.shape[1]
    none = np.empty(n_items, dtype=object)
    none[:] = [[] for _ in range(n_items)]
    items = pd.DataFrame({"item_id": item_ids, "title": item_ids, "text": item_ids, "categories": none})
    data = Interactions(user_ids, item_ids, user, item, None, items, name, in_test=~in_history)
    split = make_split((user_ids, item_ids), (user, item, None), in_history, ~in_history, "test", None)
    return SpeedData(name, data, split, random_vectors(split, width))
