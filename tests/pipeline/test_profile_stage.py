"""Profiles of each half of a history, from that half alone; and what a model remembers of later things."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.folds import time_folds
from reclm_hf.pipeline.profile_stage import REDRAWS, write_fold_profiles, write_item_profiles, write_profiles
from reclm_hf.profiles.engines import GeneratedProfile, ProfileRequest
from reclm_hf.profiles.leakage import LeakageError, certify
from tests.checkerboard import checkerboard
from tests.profiles.tiny import WordEngine


def test_fold_profiles_are_written_from_their_half_alone(tmp_path: Path) -> None:
    splits, vectors = checkerboard()
    split, items = splits.validation, splits.data.items
    users = [3, 7, 12]
    tables = write_fold_profiles(splits.data, split, vectors, WordEngine(), tmp_path, users)
    folds = time_folds(split)
    for number, (table, own, other) in enumerate(zip(tables, folds, folds[::-1], strict=True)):
        stored = pd.read_parquet(tmp_path / f"fold-{number}" / "user_profiles.parquet")
        assert stored["user_id"].tolist() == table["user_id"].tolist() == [split.user_ids[user] for user in users]
        assert certify(table, own, items).passed
        assert not certify(table, other, items).passed, "a profile of one half knows nothing of the other"
    whole = write_profiles(splits.data, split, vectors, WordEngine(), tmp_path, users)
    assert not set(whole["input_hash"]) & {key for table in tables for key in table["input_hash"]}


class RememberingEngine(WordEngine):
    """Names a later title in some profiles: in the greedy one, and in the draws before `until`."""

    def __init__(self, title: str, keys: set[str], until: int) -> None:
        super().__init__()
        self.title, self.keys, self.until = title, keys, until

    def _one(self, request: ProfileRequest) -> GeneratedProfile:
        written = super()._one(request)
        if request.key not in self.keys or request.sample >= self.until:
            return written
        return replace(written, text=written.text.replace("long walks", self.title.lower()))


@pytest.fixture(scope="module")
def world() -> tuple[Any, ...]:
    """Data with a telling title of an item that is first seen later."""
    splits, vectors = checkerboard()
    split = splits.validation
    items = splits.data.items.copy()
    later = int(np.flatnonzero(~split.warm)[0])
    items.loc[later, "title"] = "Quarrelsome Zeppelin Upholsterers"
    return replace(splits.data, items=items), split, vectors, items["title"].iloc[later]


def test_a_later_title_from_the_models_memory_is_drawn_away(world: tuple[Any, ...], tmp_path: Path) -> None:
    data, split, vectors, title = world
    users = [3, 7, 12]
    keys = {split.user_ids[3], split.user_ids[12]}
    engine = RememberingEngine(title, keys, until=2)
    table = write_profiles(data, split, vectors, engine, tmp_path, users)
    assert not table["profile"].str.contains("zeppelin").any()
    assert [(asked.key, asked.sample) for asked in engine.asked if asked.sample] == [
        (key, draw) for draw in (1, 2) for key in sorted(keys)
    ]
    certificate = json.loads((tmp_path / "certificate.json").read_text())
    assert (certificate["redrawn"], certificate["passed"]) == (2, True)
    again = RememberingEngine(title, keys, until=2)
    pd.testing.assert_frame_equal(write_profiles(data, split, vectors, again, tmp_path, users), table)
    assert not again.asked, "what was drawn is kept"


def test_a_model_that_goes_on_naming_it_is_refused(world: tuple[Any, ...], tmp_path: Path) -> None:
    data, split, vectors, title = world
    engine = RememberingEngine(title, {split.user_ids[3]}, until=99)
    with pytest.raises(LeakageError, match="Quarrelsome Zeppelin"):
        write_profiles(data, split, vectors, engine, tmp_path, [3, 7])
    assert max(asked.sample for asked in engine.asked) == REDRAWS
    assert not (tmp_path / "user_profiles.parquet").exists()


def test_items_are_drawn_anew_too(world: tuple[Any, ...], tmp_path: Path) -> None:
    data, split, vectors, title = world
    users = write_profiles(data, split, vectors, WordEngine(), tmp_path)
    warm, cold = str(split.item_ids[split.warm][0]), str(split.item_ids[~split.warm][1])
    engine = RememberingEngine(title, {warm, cold}, until=1)
    table = write_item_profiles(data, split, vectors, users, engine, tmp_path, min_interactions=1)
    assert not table["profile"].str.contains("zeppelin").any()
    assert {warm, cold} <= {asked.key for asked in engine.asked if asked.sample == 1}
