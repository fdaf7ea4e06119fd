"""The data set that ships with the package is the one its script builds, and says what it is."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from reclm_hf.data import bundled
from reclm_hf.data.load import load_interactions, load_splits
from reclm_hf.data.tables import TableError

NAME = "movietweetings-100k-u10"


def test_counts_and_cut() -> None:
    splits = bundled.bundled_splits()
    test = splits.test
    assert (splits.data.n_users, splits.data.n_items, len(splits.data.user)) == (2_086, 8_758, 60_183)
    assert test.cut == 1_375_229_568_000_000
    assert (int(test.warm.sum()), int(test.cold.sum())) == (8_057, 701)
    assert np.bincount(test.history_user, minlength=test.n_users).min() >= 10
    assert splits.validation.cut is not None
    assert splits.validation.cut < test.cut


def test_every_way_in_gives_the_same_split() -> None:
    folder = str(bundled.bundled_folder())
    assert load_splits(NAME).fingerprint == load_splits(folder).fingerprint == bundled.bundled_splits().fingerprint
    assert load_interactions(NAME).fingerprint() == bundled.bundled_info()["fingerprint"]


def test_licence_and_attribution_travel_with_it() -> None:
    folder, info = bundled.bundled_folder(), bundled.bundled_info()
    assert info["licence"] == "MIT"
    assert "Dooms" in info["citation"]
    assert "Simon Dooms" in (folder / "LICENSE.txt").read_text()
    assert info["rules"]
    assert info["source"]


def test_it_is_small() -> None:
    tables = [bundled.bundled_folder() / name for name in ("items.parquet", "interactions.parquet")]
    assert sum(path.stat().st_size for path in tables) < 2_000_000


def test_a_changed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(bundled.bundled_folder(), tmp_path / NAME)
    monkeypatch.setattr(bundled, "_TABLES", tmp_path)
    assert bundled.load_bundled(NAME).n_users == 2_086
    path = tmp_path / NAME / "items.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TableError, match=r"items\.parquet: is not the file that was shipped"):
        bundled.load_bundled(NAME)


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(ValueError, match=NAME):
        bundled.load_bundled("movielens")
    with pytest.raises(TableError, match="reclm data import"):
        load_splits("movielens")
    with pytest.raises(ValueError, match="'validation' and 'test'"):
        bundled.bundled_profiles(NAME, "train")


@pytest.mark.shared_data
def test_the_script_rebuilds_it(shared_data: Path, repository: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("build", repository / "training" / "build_movietweetings.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.build(shared_data / "movietweetings" / "100K", tmp_path)
    built, shipped = (json.loads((path / "dataset.json").read_text()) for path in (tmp_path, bundled.bundled_folder()))
    # The bytes depend on the Parquet library's version, the content must not.
    built.pop("sha256")
    shipped.pop("sha256")
    for key in ("profiles", "item_profiles"):
        shipped.pop(key, None)  # written by another script, from a long run
    assert built == shipped
