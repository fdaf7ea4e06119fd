"""Cuts, counts and shapes by hand; sets that cannot be cut stand in test_bad_input.py."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.interactions import Interactions
from reclm_hf.data.splits import Split, Splits, blocks, item_split, temporal_split
from reclm_hf.data.tables import TableError
from tests.checkerboard import checkerboard

DAY = 86_400_000_000

# One row a day, user and item. Test from day 8, validation from day 6.
WORDS = "a1 b1 a2 b2 c1 c2 a3 b4 a4 c3 b5 d1"
#        0  1  2  3  4  5  6  7  8  9  10 11


def data(words: str = WORDS, *, times: bool = True, extra: str = "") -> Interactions:
    """Interactions from words such as "a1": user a, item 1, one a day."""
    entries = words.split()
    frame = pd.DataFrame({"user_id": [word[0] for word in entries], "item_id": [word[1:] for word in entries]})
    if times:
        frame["timestamp"] = pd.to_datetime(range(len(entries)), unit="D", utc=True)
    ids = sorted({*frame["item_id"], *extra})
    return Interactions.from_tables(pd.DataFrame({"item_id": ids, "title": ids}), frame, "toy")


def pairs(split: Split, part: str) -> list[str]:
    users, items = getattr(split, f"{part}_user"), getattr(split, f"{part}_item")
    return [str(split.user_ids[user]) + str(split.item_ids[item]) for user, item in zip(users, items, strict=True)]


def names(split: Split, mask: np.ndarray) -> set[str]:
    return {str(item) for item in split.item_ids[mask]}


@pytest.fixture
def splits() -> Splits:
    return temporal_split(data(extra="9"), cut=8 * DAY, validation_fraction=0.25)


def test_the_test_split_by_hand(splits: Splits) -> None:
    test = splits.test
    assert (test.name, test.cut, test.n_users, test.n_items) == ("test", 8 * DAY, 4, 6)
    assert pairs(test, "history") == ["a1", "b1", "a2", "b2", "c1", "c2", "a3", "b4"]
    assert pairs(test, "target") == ["a4", "c3", "b5"]
    assert test.users_without_history == 1, "d has no history"
    assert test.history_time is not None
    assert (test.history_time < 8 * DAY).all()
    assert names(test, test.warm) == {"1", "2", "3", "4"}
    assert names(test, test.cold) == {"5"}, "9 was never touched: neither warm nor cold"


def test_the_validation_split_is_shaped_as_the_test(splits: Splits) -> None:
    validation = splits.validation
    assert (validation.name, validation.cut) == ("validation", 6 * DAY)
    assert pairs(validation, "history") == ["a1", "b1", "a2", "b2", "c1", "c2"]
    assert pairs(validation, "target") == ["a3", "b4"]
    assert names(validation, validation.cold) == {"3", "4"}, "first seen in validation, though warm in test"
    assert not (validation.warm & validation.cold).any()
    # One id space, and nothing that the test has to predict.
    assert validation.user_ids is splits.test.user_ids
    assert not set(pairs(validation, "history") + pairs(validation, "target")) & set(pairs(splits.test, "target"))
    assert pairs(validation, "history") + pairs(validation, "target") == pairs(splits.test, "history")


def test_candidates_and_targets_of_each_setting(splits: Splits) -> None:
    test = splits.test
    expected = {
        "catalogue": ({"1", "2", "3", "4", "5"}, {"a4", "b5", "c3"}),
        "zero_shot": ({"5"}, {"b5"}),
        "test_items": ({"3", "4", "5"}, {"a4", "b5", "c3"}),
    }
    for setting, (candidates, targets) in expected.items():
        found = test.candidates(setting)
        assert found.dtype == np.int32
        assert {str(item) for item in test.item_ids[found]} == candidates
        matrix = test.targets_matrix(setting).tocoo()
        named = {
            str(test.user_ids[user]) + str(test.item_ids[item])
            for user, item in zip(matrix.row, matrix.col, strict=True)
        }
        assert named == targets
    with pytest.raises(ValueError, match=r"'warm'.*choose one of catalogue, zero_shot, test_items"):
        test.candidates("warm")


def test_the_history_matrix_holds_ones_in_sorted_columns(splits: Splits) -> None:
    matrix = splits.test.history_matrix()
    assert matrix.shape == (4, 6)
    assert matrix.dtype == np.float32
    expected = np.zeros((4, 6))
    for pair in pairs(splits.test, "history"):
        expected["abcd".index(pair[0]), int(pair[1]) - 1] = 1
    np.testing.assert_array_equal(matrix.toarray(), expected)
    for start, end in zip(matrix.indptr, matrix.indptr[1:], strict=False):
        assert (np.diff(matrix.indices[start:end]) > 0).all()


def test_fractions_count_rows() -> None:
    splits = temporal_split(data("a1 a2 a3 a4 a5 a6 a7 a8 a9 a0"), test_fraction=0.4, validation_fraction=0.5)
    assert splits.test.cut == 6 * DAY
    assert splits.validation.cut == 3 * DAY
    assert [len(split.target_user) for split in (splits.validation, splits.test)] == [3, 4]


def test_rows_at_the_cut_are_targets_however_many() -> None:
    frame = pd.DataFrame({"user_id": ["a"] * 10, "item_id": [f"{item:02d}" for item in range(10)]})
    frame["timestamp"] = pd.to_datetime([0, 1, 2, 3, 4, 8, 8, 8, 8, 9], unit="D", utc=True)
    ids = frame["item_id"].tolist()
    splits = temporal_split(Interactions.from_tables(pd.DataFrame({"item_id": ids, "title": ids}), frame, "toy"))
    assert splits.test.cut == 8 * DAY
    assert len(splits.test.target_user) == 5


def test_the_fingerprint_names_data_and_cut(splits: Splits) -> None:
    again = temporal_split(data(extra="9"), cut=8 * DAY, validation_fraction=0.25)
    assert again.fingerprint == splits.fingerprint
    assert len(again.fingerprint) == 16
    others = [
        temporal_split(data(extra="9"), cut=9 * DAY, validation_fraction=0.25),
        temporal_split(data(extra="9"), cut=8 * DAY, validation_fraction=0.4),
        temporal_split(data(), cut=8 * DAY, validation_fraction=0.25),
        temporal_split(data("a1 b1 a2 b2 c1 c2 a3 b4 a4 c3 b5 a5", extra="9"), cut=8 * DAY, validation_fraction=0.25),
        item_split(data(extra="9"), fraction=0.3, seed=3),
    ]
    assert len({splits.fingerprint, *(other.fingerprint for other in others)}) == 1 + len(others)


def test_item_split_holds_out_whole_items() -> None:
    words = " ".join(f"{user}{item:02d}" for user in "abcdef" for item in range(60))
    splits = item_split(data(words, times=False))
    held_out = {}
    for split in (splits.validation, splits.test):
        assert split.cut is None
        assert split.history_time is None
        assert set(split.target_item) == set(np.flatnonzero(split.cold)), "every target is a cold item"
        assert not set(split.target_item) & set(split.history_item)
        held_out[split.name] = set(split.target_item.tolist())
    assert not held_out["validation"] & held_out["test"]
    assert not held_out["test"] & set(splits.validation.history_item.tolist())
    assert held_out["validation"] <= set(splits.test.history_item.tolist()), "the refit knows validation"
    assert 5 <= len(held_out["test"]) <= 19, "some 20 % of 60 items"
    assert item_split(data(words, times=False)).fingerprint == splits.fingerprint
    assert item_split(data(words, times=False), seed=1).fingerprint != splits.fingerprint


def test_item_split_does_not_move_items_when_others_are_added() -> None:
    words = " ".join(f"{user}{item:02d}" for user in "ab" for item in range(40))
    more = words + " " + " ".join(f"{user}{item:02d}" for user in "ab" for item in range(40, 60))
    first, second = (item_split(data(text, times=False)).test for text in (words, more))
    assert names(first, first.cold) == {item for item in names(second, second.cold) if int(item) < 40}


def test_blocks_are_cuts_through_the_history() -> None:
    split = checkerboard()[0].test
    assert split.history_time is not None
    found = blocks(split, 8)
    assert [part.name for part in found] == [f"block-{number}" for number in range(1, 8)]
    ends = [part.cut for part in found[1:]] + [split.history_time.max() + 1]
    stamp = dict(zip(pairs(split, "history"), split.history_time, strict=True))
    for part, end in zip(found, ends, strict=True):
        early = split.history_time < part.cut
        assert pairs(part, "history") == [pair for pair, old in zip(pairs(split, "history"), early, strict=True) if old]
        assert all(part.cut <= stamp[pair] < end for pair in pairs(part, "target"))
        assert set(part.target_user) <= set(part.history_user)
        known = np.zeros(split.n_items, dtype=bool)
        known[part.history_item] = True
        np.testing.assert_array_equal(part.warm, known)
        assert set(np.flatnonzero(part.cold)) == set(part.target_item) - set(np.flatnonzero(known))
    # Every row after the first block is a target once, but those of users who had no history then.
    targets = [pair for part in found for pair in pairs(part, "target")]
    assert len(targets) == len(set(targets))
    lost = set(pairs(split, "history")) - set(targets) - set(pairs(found[0], "history"))
    assert sum(part.users_without_history for part in found) == len({pair[:7] for pair in lost})
    sizes = [len(part.target_user) for part in found[2:]]
    assert max(sizes) - min(sizes) <= 0.2 * max(sizes), "blocks of about equal counts"


def test_blocks_need_times() -> None:
    words = " ".join(f"{user}{item:02d}" for user in "ab" for item in range(40))
    with pytest.raises(TableError, match="'standard' for data without times"):
        blocks(item_split(data(words, times=False)).test)
