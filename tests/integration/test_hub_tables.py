"""Tables on the Hub, over HTTP: pushed by us, opened by `datasets`, and a data source for every command."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reclm_hf.commands.profile_options import asked_profiles, profiles_path
from reclm_hf.data.folder import write_dataset
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.load import load_interactions, load_splits
from reclm_hf.data.tables import TableError
from reclm_hf.hub.publish import Pushed, push
from reclm_hf.hub.pull import pull
from reclm_hf.hub.staging import PushOptions
from reclm_hf.tuning.inputs import read_instructions, read_preferences
from tests.checkerboard import checkerboard
from tests.hub.small_tables import USERS, user_profiles, write_chats, write_data, write_profiles


@pytest.fixture
def pushed(hub: Any, tmp_path: Path) -> Pushed:
    """The checkerboard with all that goes beside it, pushed."""
    splits = write_data(tmp_path / "data")
    instructions, preferences = write_chats(splits, tmp_path)
    options = PushOptions(
        profiles=str(write_profiles(splits, tmp_path / "profiles")),
        instructions=str(instructions),
        preferences=str(preferences),
    )
    found = push(tmp_path / "data", f"{hub.namespace}/toy-tables", options, progress=False)
    assert isinstance(found, Pushed)
    return found


def asked(hub: Any) -> list[str]:
    """The files of the repository that were fetched."""
    return [request.path for request in hub.requests if request.method == "GET" and "/resolve/" in request.path]


def test_one_commit_holds_all_of_it(hub: Any, pushed: Pushed, tmp_path: Path) -> None:
    commits = sum("/commit/" in request.path for request in hub.requests)
    assert commits == 1, "half a repository could be seen between two"
    assert set(hub.files(pushed.repo_id, "dataset")) == {*pushed.files, ".gitattributes"}
    again = push(tmp_path / "data", pushed.repo_id, PushOptions(profiles=str(tmp_path / "profiles")), progress=False)
    assert isinstance(again, Pushed)
    assert set(pushed.files) - set(again.files) == {
        *("instructions.json", "instructions.parquet", "preferences.json", "preferences.parquet")
    }
    assert set(hub.files(pushed.repo_id, "dataset")) == {*again.files, ".gitattributes"}, "what is gone is gone"


def test_datasets_opens_every_configuration(pushed: Pushed) -> None:
    from datasets import get_dataset_config_names, load_dataset

    repo = pushed.repo_id
    names = ["items", "interactions", "user_profiles", "item_profiles", "instructions", "preferences"]
    assert sorted(get_dataset_config_names(repo)) == sorted(names)
    items = load_dataset(repo, split="train")
    assert items["item_id"][:2] == ["000", "001"]
    assert items[0]["categories"] == ["alpha"]
    interactions = load_dataset(repo, "interactions")
    assert list(interactions) == ["train", "validation", "test"]
    assert sum(len(part) for part in interactions.values()) == len(checkerboard()[0].data.user)
    assert {str(feature) for feature in interactions["test"].features} == {"user_id", "item_id", "timestamp"}
    profiles = load_dataset(repo, "user_profiles")
    assert list(profiles) == ["validation", "test"]
    assert profiles["validation"][0]["as_of"] < profiles["test"][0]["as_of"]
    streamed = load_dataset(repo, "user_profiles", split="test", streaming=True)
    assert [row["user_id"] for row in streamed] == list(USERS) == profiles["test"]["user_id"][:]
    assert next(iter(streamed))["identities"] == ["alpha reader"]
    assert load_dataset(repo, "instructions", split="train")[0]["messages"][1]["role"] == "assistant"


def test_a_repository_is_a_data_source(hub: Any, pushed: Pushed) -> None:
    splits = load_splits(pushed.repo_id)
    assert splits.fingerprint == load_splits(f"{pushed.repo_id}@{pushed.revision}").fingerprint
    known = checkerboard()[0]
    assert splits.data.fingerprint() == known.data.fingerprint()
    assert splits.data.name == "checkerboard"
    np.testing.assert_array_equal(splits.test.target_item, known.test.target_item)
    fetched = {path.rsplit("/", 1)[1] for path in asked(hub) if "toy-tables" in path}
    assert fetched <= {"dataset.json", "items.parquet", "train.parquet", "validation.parquet", "test.parquet"}
    assert not any("profiles" in path for path in asked(hub)), "only what is read is fetched"


def test_a_pulled_folder_is_one_too(pushed: Pushed, tmp_path: Path) -> None:
    folder = pull(pushed.repo_id, tmp_path / "pulled")
    assert load_splits(str(folder)).fingerprint == load_splits(pushed.repo_id).fingerprint
    args = argparse.Namespace(data=str(folder), profiles=None)
    assert asked_profiles(args, "test", "user")["user_id"].tolist() == list(USERS)
    assert len(read_instructions(str(folder))) == 3


def test_profiles_are_read_from_the_data_or_from_their_own_repository(pushed: Pushed) -> None:
    splits = load_splits(pushed.repo_id)
    beside = argparse.Namespace(data=pushed.repo_id, profiles=None)
    named = argparse.Namespace(data="movietweetings-100k-u10", profiles=f"{pushed.repo_id}@{pushed.revision}")
    for args in (beside, named):
        for split in (splits.validation, splits.test):
            found = asked_profiles(args, split.name, "user")
            pd.testing.assert_frame_equal(found[["user_id", "profile"]], user_profiles(split)[["user_id", "profile"]])
            assert len(asked_profiles(args, split.name, "item")) == 2


def test_chats_are_read_by_id_and_revision(pushed: Pushed) -> None:
    for source in (pushed.repo_id, f"{pushed.repo_id}@{pushed.revision}"):
        assert read_instructions(source)["user_id"].tolist() == list(USERS)
        assert read_preferences(source)["rejected_kind"].tolist() == ["empty"] * 3
    with pytest.raises(OSError, match="could not be read from the Hub"):
        read_instructions(f"{pushed.repo_id}@{'0' * 40}")


def test_a_revision_keeps_its_data(hub: Any, pushed: Pushed, tmp_path: Path) -> None:
    data = checkerboard()[0].data
    kept = data.user != 0
    rows = pd.DataFrame({"user_id": data.user_ids[data.user[kept]], "item_id": data.item_ids[data.item[kept]]})
    rows["timestamp"] = pd.to_datetime(data.timestamp[kept], unit="us", utc=True)
    write_dataset(Interactions.from_tables(data.items, rows, "fewer"), tmp_path / "fewer")
    push(tmp_path / "fewer", pushed.repo_id, progress=False)
    assert load_interactions(pushed.repo_id).n_users == 49
    assert load_interactions(f"{pushed.repo_id}@{pushed.revision}").n_users == 50
    assert profiles_path(argparse.Namespace(data="x", profiles=pushed.repo_id), "test", "user").is_file() is False


def test_without_network_the_cache_serves(hub: Any, pushed: Pushed, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load_splits(pushed.repo_id).fingerprint
    count = len(hub.requests)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert load_splits(pushed.repo_id).fingerprint == expected
    assert len(hub.requests) == count


def test_what_is_no_repository_of_tables_is_said(hub: Any, tmp_path: Path) -> None:
    from huggingface_hub import HfApi

    with pytest.raises(TableError, match=r"nobody/nothing: there is no folder of that name, and from the Hub") as found:
        load_splits("nobody/nothing")
    assert hub.token not in str(found.value)
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    other = f"{hub.namespace}/other"
    api.create_repo(other, repo_type="dataset")
    with pytest.raises(TableError, match=r"is no repository of tables, it has no dataset\.json"):
        load_splits(other)
    with pytest.raises(TableError, match="RevisionNotFoundError"):
        load_splits(f"{other}@no-such-branch")


def test_a_changed_file_is_noticed(hub: Any, pushed: Pushed, tmp_path: Path) -> None:
    """Somebody replaced one table on the Hub by hand."""
    from huggingface_hub import HfApi

    data = replace(checkerboard()[0].data, user=checkerboard()[0].data.user[::-1].copy())
    write_dataset(data, tmp_path / "changed")
    HfApi(endpoint=hub.endpoint, token=hub.token).upload_file(
        path_or_fileobj=tmp_path / "changed" / "interactions.parquet",
        path_in_repo="interactions/test.parquet",
        repo_id=pushed.repo_id,
        repo_type="dataset",
    )
    with pytest.raises(TableError, match=r"interactions/test\.parquet is not the file that dataset\.json describes"):
        load_splits(pushed.repo_id)
    assert load_splits(f"{pushed.repo_id}@{pushed.revision}").data.n_users == 50
