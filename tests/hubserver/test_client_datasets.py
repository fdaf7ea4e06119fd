"""The real datasets client against the server: configurations pushed, loaded, streamed, pushed again."""

from __future__ import annotations

import pytest
from datasets import Dataset, DatasetDict, get_dataset_config_names, load_dataset
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub.errors import RepositoryNotFoundError

from tests.hubserver.loopback import LoopbackHub


def table(*names: str) -> Dataset:
    return Dataset.from_dict({"user_id": list(names), "interests": [[name, "films"] for name in names]})


def test_two_configurations(hub: LoopbackHub) -> None:
    repo = f"{hub.namespace}/tables"
    items = DatasetDict(train=table("a", "b"), test=table("c"))
    items.push_to_hub(repo, "items", set_default=True, private=True)
    pinned = table(*"abcdef").push_to_hub(repo, "user_profiles", num_shards=3).oid
    assert get_dataset_config_names(repo) == ["items", "user_profiles"]
    assert {name for name in hub.files(repo, "dataset") if name.startswith("user_profiles/")} == {
        f"user_profiles/train-0000{number}-of-00003.parquet" for number in range(3)
    }
    with pytest.raises(DatasetNotFoundError):
        load_dataset(f"{repo}2")
    # Before anything is loaded: later the cache would answer. The card is in it already, hence the other error.
    with pytest.raises((DatasetNotFoundError, RepositoryNotFoundError)):
        load_dataset(repo, token=hub.other_token)
    loaded = load_dataset(repo)
    assert {split: loaded[split].to_list() for split in loaded} == {split: items[split].to_list() for split in items}
    profiles = load_dataset(repo, "user_profiles", split="train")
    assert profiles["user_id"][:] == list("abcdef")
    streamed = load_dataset(repo, "user_profiles", split="train", streaming=True)
    assert [row["user_id"] for row in streamed] == list("abcdef")

    table("z").push_to_hub(repo, "user_profiles")
    assert [name for name in hub.files(repo, "dataset") if "user_profiles" in name] == [
        "user_profiles/train-00000-of-00001.parquet"
    ]
    assert load_dataset(repo, "user_profiles", split="train")["user_id"][:] == ["z"]
    assert len(load_dataset(repo, "user_profiles", split="train", revision=pinned)) == 6
