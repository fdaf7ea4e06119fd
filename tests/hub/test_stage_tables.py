"""A data folder staged as a repository: nothing is lost, nothing leaks, and the manifest tells what is there."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.bundled import DEFAULT, bundled_folder, bundled_info
from reclm_hf.data.folder import file_sha256, read_dataset, write_dataset
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.load import load_splits
from reclm_hf.data.tables import PROFILE_COLUMNS, TableError, read_parquet, write_parquet
from reclm_hf.hub.stage_tables import split_parts, stage_tables
from reclm_hf.hub.staging import PushOptions
from reclm_hf.profiles.leakage import LeakageError
from tests.checkerboard import checkerboard
from tests.hub.small_tables import USERS, user_profiles, write_chats, write_data, write_profiles

REPO = "org/toy-tables"


def frame() -> pd.DataFrame:
    toy = checkerboard()[0].data
    rows = pd.DataFrame({"user_id": toy.user_ids[toy.user], "item_id": toy.item_ids[toy.item]})
    return rows.assign(timestamp=pd.to_datetime(toy.timestamp, unit="us", utc=True))


def given_test_set(times: bool) -> pd.DataFrame:
    rows = frame()
    cut = pd.Timestamp(checkerboard()[0].test.cut, unit="us", tz="UTC")
    rows["split"] = np.where(rows["timestamp"] < cut, "train", "test")
    return rows if times else rows.drop(columns="timestamp")


SHAPES: dict[str, tuple[pd.DataFrame, dict[str, Any]]] = {
    "cut by a time": (frame(), {"test_cut": checkerboard()[0].test.cut}),
    "cut by a share": (frame(), {}),
    "no times": (frame().drop(columns="timestamp"), {}),
    "a given test set": (given_test_set(times=True), {}),
    "a given test set, no times": (given_test_set(times=False), {}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_data_and_splits_are_read_back(tmp_path: Path, shape: str) -> None:
    rows, info = SHAPES[shape]
    data = Interactions.from_tables(checkerboard()[0].data.items, rows, "toy")
    write_dataset(replace(data, min_rating=3.0), tmp_path / "data", info)
    splits = load_splits(str(tmp_path / "data"))
    stage_tables(tmp_path / "data", tmp_path / "place", REPO, PushOptions())
    again = load_splits(str(tmp_path / "place"))
    assert again.fingerprint == splits.fingerprint
    assert again.data.fingerprint() == splits.data.fingerprint()
    for name in ("user", "item", "timestamp", "in_test", "user_ids", "item_ids"):
        np.testing.assert_array_equal(getattr(again.data, name), getattr(splits.data, name), err_msg=name)
    pd.testing.assert_frame_equal(again.data.items, splits.data.items)
    for split, other in ((again.validation, splits.validation), (again.test, splits.test)):
        assert (split.cut, split.users_without_history) == (other.cut, other.users_without_history)
        np.testing.assert_array_equal(split.target_item, other.target_item)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_parts_are_history_and_targets(shape: str) -> None:
    rows, info = SHAPES[shape]
    data = Interactions.from_tables(checkerboard()[0].data.items, rows, "toy")
    from reclm_hf.data.splits import item_split, snapshot_split, temporal_split

    if data.in_test is not None:
        splits = snapshot_split(data)
    elif data.timestamp is None:
        splits = item_split(data)
    else:
        splits = temporal_split(data, cut=info.get("test_cut"))
    parts = split_parts(splits)
    assert (sum(part.astype(int) for part in parts.values()) == 1).all()
    assert parts["train"].sum() == len(splits.validation.history_user)
    assert (parts["train"] | parts["validation"]).sum() == len(splits.test.history_user)
    for split in (splits.validation, splits.test):
        there = set(zip(data.user[parts[split.name]], data.item[parts[split.name]], strict=True))
        assert set(zip(split.target_user, split.target_item, strict=True)) <= there


def test_what_the_repository_holds_and_its_manifest_says(tmp_path: Path) -> None:
    splits = write_data(tmp_path / "data", title="Squares", source="/home/somebody/squares.csv")
    profiles = write_profiles(splits, tmp_path / "profiles")
    instructions, preferences = write_chats(splits, tmp_path)
    options = PushOptions(profiles=str(profiles), instructions=str(instructions), preferences=str(preferences))
    place = tmp_path / "place"
    manifest = stage_tables(tmp_path / "data", place, REPO, options)
    configs = {entry["config_name"]: entry for entry in manifest["details"]["configs"]}
    assert list(configs) == [
        *("items", "interactions", "user_profiles", "item_profiles", "instructions", "preferences")
    ]
    assert [name for name, entry in configs.items() if entry.get("default")] == ["items"]
    named = {file["path"] for entry in configs.values() for file in entry["data_files"]}
    there = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    assert there == named | {"dataset.json", "instructions.json", "preferences.json"}
    for entry in configs.values():
        for file in entry["data_files"]:
            table = read_parquet(place / file["path"])
            assert len(table) == entry["splits"][file["split"]]
            assert list(table.columns) == list(entry["columns"])
        assert entry["rows"] == sum(entry["splits"].values())
    assert [file["split"] for file in configs["interactions"]["data_files"]] == ["train", "validation", "test"]
    assert [file["split"] for file in configs["user_profiles"]["data_files"]] == ["validation", "test"]
    assert manifest["data"]["fingerprint"] == splits.fingerprint
    assert manifest["data"]["counts"] == {"users": 50, "items": 50, "interactions": len(splits.data.user)}
    assert (manifest["title"], manifest["license"]) == ("Squares", "CC BY 4.0")
    assert manifest["profiles"]["validation"]["rows"] == len(USERS)
    checked = [(entry["table"], entry["split"], entry["passed"], entry["rows"]) for entry in manifest["certificates"]]
    assert checked == [
        (table, split, True, rows)
        for split in ("validation", "test")
        for table, rows in (("user_profiles", 3), ("item_profiles", 2))
    ]
    assert [entry["redrawn"] for entry in manifest["certificates"]] == [2, None, 2, None]
    assert manifest["details"]["instructions"]["seed"] == 3
    info = json.loads((place / "dataset.json").read_text())
    assert info["sha256"] == {name: file_sha256(place / name) for name in named}
    assert str(tmp_path) not in json.dumps(manifest) + json.dumps(info)
    assert "/home/somebody" not in json.dumps(manifest) + json.dumps(info)


def test_what_was_staged_can_be_staged_again(tmp_path: Path) -> None:
    """A pulled folder is a data folder with its profiles, chats, title and licence."""
    splits = write_data(tmp_path / "data")
    profiles = write_profiles(splits, tmp_path / "profiles")
    instructions, _ = write_chats(splits, tmp_path)
    asked = PushOptions(profiles=str(profiles), instructions=str(instructions), title="Mine", license="cc0-1.0")
    first = stage_tables(tmp_path / "data", tmp_path / "first", REPO, asked)
    for entry in first["certificates"]:
        entry["redrawn"] = None  # noted beside the tables of a build only
    again = stage_tables(tmp_path / "first", tmp_path / "again", REPO, PushOptions())
    assert again == first
    names = {path.relative_to(tmp_path / "first").as_posix() for path in (tmp_path / "first").rglob("*.*")}
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_a_leaking_table_is_refused(tmp_path: Path) -> None:
    splits = write_data(tmp_path / "data")
    folder = write_profiles(splits, tmp_path / "profiles")
    table = user_profiles(splits.test)  # as of the later cut
    write_parquet(table, folder / "validation" / "user_profiles.parquet", PROFILE_COLUMNS)
    with pytest.raises(LeakageError, match="3 leaks in profiles for the validation cut"):
        stage_tables(tmp_path / "data", tmp_path / "place", REPO, PushOptions(profiles=str(folder)))


def test_chats_of_other_data_are_refused(tmp_path: Path) -> None:
    splits = write_data(tmp_path / "data")
    instructions, _ = write_chats(replace(splits, fingerprint="0" * 16), tmp_path)
    with pytest.raises(TableError, match=r"these instructions were made from checkerboard, not from .* as it is cut"):
        stage_tables(tmp_path / "data", tmp_path / "place", REPO, PushOptions(instructions=str(instructions)))


def test_a_folder_without_profiles_is_no_folder_of_profiles(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    with pytest.raises(TableError, match="holds no profiles of these cuts"):
        stage_tables(tmp_path / "data", tmp_path / "place", REPO, PushOptions(profiles=str(tmp_path)))
    manifest = stage_tables(tmp_path / "data", tmp_path / "other", REPO, PushOptions())
    assert [entry["config_name"] for entry in manifest["details"]["configs"]] == ["items", "interactions"]
    assert manifest["certificates"] == []


def test_a_lost_part_is_missed(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    stage_tables(tmp_path / "data", tmp_path / "place", REPO, PushOptions())
    os.remove(tmp_path / "place" / "interactions" / "validation.parquet")
    with pytest.raises(TableError, match=r"validation\.parquet: there is no such file"):
        read_dataset(tmp_path / "place")


def test_parts_must_hold_every_row_once(tmp_path: Path) -> None:
    data = checkerboard()[0].data
    parts = split_parts(checkerboard()[0])
    with pytest.raises(ValueError, match="that hold every row once"):
        write_dataset(data, tmp_path, parts={**parts, "test": parts["train"]})
    with pytest.raises(ValueError, match="give masks for train, validation, test"):
        write_dataset(data, tmp_path, parts={"train": np.ones(len(data.user), dtype=bool)})


def test_the_bundled_data_by_its_folder(tmp_path: Path) -> None:
    manifest = stage_tables(bundled_folder(DEFAULT), tmp_path, REPO, PushOptions())
    info = bundled_info(DEFAULT)
    assert manifest["data"]["counts"] == info["counts"]
    assert manifest["details"]["data_fingerprint"] == info["fingerprint"]
    assert manifest["data"]["citation"].startswith("Simon Dooms")
    assert (manifest["title"], manifest["license"]) == (info["title"], "MIT")
    assert (tmp_path / "LICENSE.txt").read_text().startswith("The MIT License")
    assert [entry["rows"] for entry in manifest["certificates"]] == [2054, 3105, 2086, 2525]
    interactions = manifest["details"]["configs"][1]["splits"]
    assert interactions["test"] == info["split"]["test_interactions"]
    assert interactions["train"] + interactions["validation"] == info["split"]["train_interactions"]
