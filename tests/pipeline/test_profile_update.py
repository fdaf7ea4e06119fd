"""A new day: what changed is written again, everything else is kept, and the counts say so."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.as_of import state_as_of
from reclm_hf.data.tables import TableError, read_parquet
from reclm_hf.pipeline.profile_stage import write_item_profiles, write_profiles
from reclm_hf.pipeline.profile_update import update_profiles
from reclm_hf.profiles.leakage import certify, certify_items
from reclm_hf.profiles.prompts import PromptStyle
from tests.checkerboard import checkerboard
from tests.profiles.tiny import WordEngine

_DAY = 86_400_000_000


@pytest.fixture(scope="module")
def world():
    splits, vectors = checkerboard()
    return (
        splits.data,
        vectors,
        state_as_of(splits.data, splits.test.cut),
        state_as_of(splits.data, splits.test.cut + _DAY),
    )


@pytest.fixture(scope="module")
def built(world, tmp_path_factory) -> Path:
    """Both tables as of the earlier time."""
    data, vectors, before, _ = world
    folder = tmp_path_factory.mktemp("profiles")
    users = write_profiles(data, before, vectors, WordEngine(), folder)
    write_item_profiles(data, before, vectors, users, WordEngine(), folder)
    return folder


@pytest.fixture
def folder(built, tmp_path) -> Path:
    shutil.copytree(built, tmp_path / "profiles")
    return tmp_path / "profiles"


def active(before, after) -> set[str]:
    new = np.setdiff1d(np.flatnonzero(after.history_matrix().sum(1) != before.history_matrix().sum(1)), [])
    return set(after.user_ids[new])


def test_only_who_did_something_is_written_again(world, folder):
    data, vectors, before, after = world
    old = read_parquet(folder / "user_profiles.parquet")
    engine = WordEngine()
    changes = update_profiles(data, after, vectors, engine, folder)
    moved = active(before, after)
    users = read_parquet(folder / "user_profiles.parquet")
    assert 0 < len(moved) < len(users)
    assert {request.key for request in engine.asked if request.size == 3} == moved
    assert (changes["users"].kept, changes["users"].rewritten) == (len(users) - len(moved), len(moved))
    kept = ~users["user_id"].isin(moved)
    assert users["profile"][kept].tolist() == old["profile"][kept].tolist()
    assert users["as_of"][kept].eq(old["as_of"][kept]).all(), "a kept profile says when it was written"
    assert users["as_of"][~kept].gt(old["as_of"][~kept]).all()
    items = read_parquet(folder / "item_profiles.parquet")
    assert changes["items"].kept > 0
    assert changes["items"].rewritten > 0
    assert certify(users, after, data.items).passed
    assert certify_items(items, after, data.items, users).passed
    again = WordEngine()
    assert update_profiles(data, after, vectors, again, folder)["users"].written_share == 0
    assert again.asked == []


def test_tables_alone_will_do(world, folder):
    """As they come from the Hub: without the shards that they were written in."""
    data, vectors, before, after = world
    for name in ("shards", "item-shards"):
        shutil.rmtree(folder / name)
    engine = WordEngine()
    changes = update_profiles(data, after, vectors, engine, folder)
    assert {request.key for request in engine.asked if request.size == 3} == active(before, after)
    assert changes["items"].kept > 0


def test_new_users_stay_until_they_have_a_history(world, folder):
    data, vectors, before, _ = world

    class Encoder:
        def encode(self, texts):
            return np.tile(vectors[1], (len(texts), 1))

    people = pd.DataFrame({"user_id": ["ann", "bob"], "text": ["odd things", ""]})
    changes = update_profiles(data, before, vectors, WordEngine(), folder, new_users=people, encoder=Encoder())
    assert changes["users"].new == 2
    table = read_parquet(folder / "user_profiles.parquet")
    assert table["source"].tolist()[-2:] == ["stated", "prior"]
    update_profiles(data, before, vectors, WordEngine(), folder)
    assert read_parquet(folder / "user_profiles.parquet")["user_id"].tolist()[-2:] == ["ann", "bob"]


def test_a_failing_update_loses_nobody(world, folder):
    """What somebody stated is stored nowhere else."""
    data, vectors, before, after = world
    update_profiles(data, before, vectors, WordEngine(), folder, new_users=pd.DataFrame({"user_id": ["bob"]}))
    known = read_parquet(folder / "user_profiles.parquet")

    class Broken(WordEngine):
        def generate(self, requests):
            raise OSError("the server has gone")

    with pytest.raises(OSError, match="gone"):
        update_profiles(data, after, vectors, Broken(), folder)
    wrong = pd.DataFrame({"user_id": ["user-03"]})
    with pytest.raises(TableError, match="has a history"):
        update_profiles(data, after, vectors, WordEngine(), folder, new_users=wrong)
    with pytest.raises(TableError, match="no column 'user_id'"):
        update_profiles(data, after, vectors, WordEngine(), folder, new_users=pd.DataFrame({"user": ["x"]}))
    kept = read_parquet(folder / "user_profiles.parquet")
    assert kept["user_id"].tolist() == known["user_id"].tolist()
    assert kept["profile"].tolist() == known["profile"].tolist()


def test_another_model_or_style_must_be_meant(world, folder):
    data, vectors, before, _ = world
    with pytest.raises(TableError, match="--rewrite"):
        update_profiles(data, before, vectors, WordEngine("other words"), folder)
    with pytest.raises(TableError, match="--columns"):
        update_profiles(data, before, vectors, WordEngine(), folder, style=PromptStyle(columns=("title",)))
    changes = update_profiles(data, before, vectors, WordEngine("other words"), folder, rewrite=True)
    assert changes["users"].kept == 0


def test_an_item_with_too_few_new_interactions_keeps_its_profile(world, folder):
    data, vectors, before, after = world
    counts = np.bincount(after.history_item, minlength=after.n_items)
    few = set(after.item_ids[after.warm & ~before.warm & (counts < 5)].tolist())
    assert few, "the day should bring a first interaction to a cold item"
    old = read_parquet(folder / "item_profiles.parquet").set_index("item_id")
    update_profiles(data, after, vectors, WordEngine(), folder)
    new = read_parquet(folder / "item_profiles.parquet").set_index("item_id")
    assert {item: new["profile"][item] for item in few} == {item: old["profile"][item] for item in few}


def test_neighbours_of_another_split_are_not_taken_up(world, folder):
    """Splits without times share name and cut; what they saw tells them apart."""
    data, vectors, before, _ = world
    path = folder / "neighbor_vectors.safetensors"
    first = path.read_bytes()
    write_profiles(data, before, vectors, WordEngine(), folder)
    assert path.read_bytes() == first
    other = replace(before, history_user=before.history_user[:-5], history_item=before.history_item[:-5])
    write_profiles(data, other, vectors, WordEngine(), folder)
    assert path.read_bytes() != first


def test_nothing_to_update_is_said(world, tmp_path):
    data, vectors, before, _ = world
    with pytest.raises(TableError, match="reclm profiles build"):
        update_profiles(data, before, vectors, WordEngine(), tmp_path)
