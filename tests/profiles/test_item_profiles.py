from __future__ import annotations

import numpy as np
import pytest

from reclm_hf.data.tables import ITEM_PROFILE_COLUMNS, TableError
from reclm_hf.profiles.generate import generate_user_profiles
from reclm_hf.profiles.item_profiles import (
    choose_readers,
    choose_similar,
    generate_item_profiles,
    phrase_shares,
    telling_phrases,
)
from reclm_hf.profiles.leakage import certify_items
from reclm_hf.profiles.profile import Profile, well_formed
from tests.checkerboard import checkerboard
from tests.profiles.tiny import WordEngine


@pytest.fixture(scope="module")
def state():
    splits, vectors = checkerboard()
    return splits.test, splits.data.items, vectors


@pytest.fixture(scope="module")
def users(state, tmp_path_factory):
    split, items, _ = state
    near = np.full((split.n_users, 3), -1, dtype=np.int32)
    return generate_user_profiles(split, items, near, WordEngine(), tmp_path_factory.mktemp("users"), progress=False)


def write(state, users, folder, engine=None, **options):
    split, items, vectors = state
    return generate_item_profiles(
        split, items, users, vectors, engine or WordEngine(), folder, **{"shard_size": 8, "progress": False, **options}
    )


def test_warm_items_come_from_their_readers_and_cold_ones_from_similar_items(state, users, tmp_path):
    split = state[0]
    table = write(state, users, tmp_path)
    assert list(table.columns) == list(ITEM_PROFILE_COLUMNS)
    counts = np.bincount(split.history_item, minlength=split.n_items)
    assert table["item_id"].tolist() == split.item_ids[(counts >= 5) | (counts == 0)].tolist()
    assert table["profile"].map(lambda text: well_formed(text, 5)).all()
    cold = set(split.item_ids[~split.warm])
    for row in table.itertuples():
        parity = int(row.item_id) % 2
        if row.item_id in cold:
            assert (row.phase, list(row.evidence), len(row.neighbors)) == ("similar_items", [], 3)
            assert {int(item) % 2 for item in row.neighbors} == {parity}, "the texts tell the parity"
            assert not cold & set(row.neighbors)
        else:
            assert (row.phase, list(row.neighbors)) == ("interactions", [])
            assert 5 <= len(row.evidence) <= 20
            assert {int(user[-2:]) % 2 for user in row.evidence} == {parity}
    assert certify_items(table, split, state[1], users).passed


def test_a_finished_run_is_not_repeated_and_a_changed_reader_renews_his_items_alone(state, users, tmp_path):
    first = write(state, users, tmp_path)
    idle = WordEngine()
    assert write(state, users, tmp_path, idle)["input_hash"].tolist() == first["input_hash"].tolist()
    assert idle.asked == []
    changed = users.copy()
    # Phrases that everybody has: what stands out elsewhere must not move with them.
    changed.at[0, "identities"] = ["old face", "night owl", "early bird"]
    engine = WordEngine()
    write(state, changed, tmp_path, engine)
    asked = {request.key for request in engine.asked}
    reads = {row.item_id for row in first.itertuples() if users["user_id"][0] in list(row.evidence)}
    assert asked
    assert asked & set(first.loc[first["phase"] == "interactions", "item_id"]) <= reads


def test_few_interactions_are_too_few(state, users, tmp_path):
    split = state[0]
    counts = np.bincount(split.history_item, minlength=split.n_items)
    least = int(counts.max())
    table = write(state, users, tmp_path, min_interactions=least)
    warm = table[table["phase"] == "interactions"]
    assert warm["item_id"].tolist() == split.item_ids[counts >= least].tolist()
    with pytest.raises(TableError, match="--min-interactions"):
        write(state, users, tmp_path, min_interactions=least + 1)


def test_malformed_profiles_are_not_read(state, users, tmp_path):
    broken = users.copy()
    broken.at[0, "interests"] = []
    table = write(state, broken, tmp_path)
    assert not any(users["user_id"][0] in list(readers) for readers in table["evidence"])


def test_a_growing_audience_keeps_most_of_the_draw(state):
    split = state[0]
    profiles = {user: Profile(("a b",) * 3, ("c d",) * 3) for user in range(split.n_users)}
    half = {user: profile for user, profile in profiles.items() if user % 4 < 2}
    after = {part.item: part.readers for part in choose_readers(split, profiles, n=4)}
    before = {part.item: part.readers for part in choose_readers(split, half, n=4) if len(part.readers) == 4}
    kept = np.mean([len(set(before[item]) & set(after[item])) / 4 for item in before])
    assert 0.3 < kept < 0.7, "twice the audience: about half of the draw stays"
    assert all(not (set(after[item]) - set(readers)) & set(half) for item, readers in before.items())


def test_no_cold_item_or_nothing_known_means_no_second_phase(state):
    split, _, vectors = state
    assert choose_similar(split, {}, vectors) == []


def test_what_readers_share_more_than_everybody_stands_out():
    everybody = [Profile(("film fan", "tea drinker", f"only {name}"), ("old maps",)) for name in "abcdefgh"]
    readers = [
        Profile(("film fan", "knight errant", "own thing"), ("old maps", "castle tours")),
        Profile(("film fan", "knight errant", "own song"), ("castle tours",)),
    ]
    shares = phrase_shares([*everybody, *readers])
    identities, interests = telling_phrases(readers, shares)
    assert identities == ["knight errant", "film fan"]
    assert interests == ["castle tours"]
    assert telling_phrases(everybody[:1], shares)[0][0] == "film fan", "of a single reader, what is common"
