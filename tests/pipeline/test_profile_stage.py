"""Profiles of each half of a history: written from that half alone, and told apart from the whole one's."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from reclm_hf.data.folds import time_folds
from reclm_hf.pipeline.profile_stage import write_fold_profiles, write_profiles
from reclm_hf.profiles.leakage import certify
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
