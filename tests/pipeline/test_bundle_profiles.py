"""The script that ships profiles: tables are checked against their cuts, and items against the users beside them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.folder import file_sha256, write_json
from reclm_hf.data.profile_tables import read_profiles
from reclm_hf.data.tables import ITEM_PROFILE_COLUMNS, PROFILE_COLUMNS, write_parquet
from reclm_hf.profiles.generate import generate_user_profiles
from reclm_hf.profiles.item_profiles import generate_item_profiles
from reclm_hf.profiles.leakage import LeakageError
from tests.checkerboard import checkerboard
from tests.profiles.tiny import WordEngine


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Profiles of users and items as of both cuts."""
    splits, vectors = checkerboard()
    near = (np.arange(50, dtype=np.int32)[:, None] + 2) % 50
    for split in (splits.validation, splits.test):
        place, items = tmp_path / "profiles" / split.name, splits.data.items
        users = generate_user_profiles(split, items, near, WordEngine(), place / "u", progress=False)
        write_parquet(users, place / "user_profiles.parquet", PROFILE_COLUMNS)
        readers = generate_item_profiles(split, items, users, vectors, WordEngine(), place / "i", progress=False)
        write_parquet(readers, place / "item_profiles.parquet", ITEM_PROFILE_COLUMNS)
    return tmp_path / "profiles"


@pytest.fixture
def script(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with another bundle to write into."""
    spec = importlib.util.spec_from_file_location("bundle", repository / "training" / "bundle_profiles.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    write_json({"sha256": {}}, tmp_path / "bundle" / "dataset.json")
    monkeypatch.setattr(script, "bundled_folder", lambda name: tmp_path / "bundle")
    monkeypatch.setattr(script, "bundled_info", lambda name: {"sha256": {}})
    monkeypatch.setattr(script, "bundled_splits", lambda name: checkerboard()[0])
    return script


def test_four_tables_are_shipped_with_their_checksums(script: ModuleType, written: Path, tmp_path: Path) -> None:
    lineage = script.bundle(written)
    info = json.loads((tmp_path / "bundle" / "dataset.json").read_text())
    assert {key: list(cuts) for key, cuts in lineage.items()} == {
        "profiles": ["validation", "test"],
        "item_profiles": ["validation", "test"],
    }
    assert info["profiles"]["test"]["rows"] == 50
    assert len(info["sha256"]) == 4
    for name, digest in info["sha256"].items():
        assert file_sha256(tmp_path / "bundle" / name) == digest
        side, cut = name.removesuffix(".parquet").split("_profiles-")
        source = read_profiles(written / cut / f"{side}_profiles.parquet", side)
        pd.testing.assert_frame_equal(read_profiles(tmp_path / "bundle" / name, side), source)


def test_items_written_from_users_who_are_not_there_are_refused(script: ModuleType, written: Path) -> None:
    path = written / "validation" / "user_profiles.parquet"
    write_parquet(read_profiles(path)[10:], path, PROFILE_COLUMNS)
    with pytest.raises(LeakageError, match="has no profile in the given table"):
        script.bundle(written)
