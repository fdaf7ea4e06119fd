"""Tables of any kind in; the history that may be read out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.interactions import Interactions
from reclm_hf.data.tables import TableError
from reclm_hf.profiler.sources import known_before, neighbor_rows, user_rows
from tests.checkerboard import checkerboard


@pytest.fixture(scope="module")
def splits():
    return checkerboard()[0]


@pytest.fixture(scope="module")
def tables(splits):
    data = splits.data
    interactions = pd.DataFrame(
        {
            "user_id": data.user_ids[data.user],
            "item_id": data.item_ids[data.item],
            "timestamp": pd.to_datetime(data.timestamp, unit="us", utc=True),
        }
    )
    return {"items": data.items, "interactions": interactions.sample(frac=1, random_state=0)}


def same(left, right):
    assert left.cut == right.cut
    for name in ("user_ids", "item_ids", "history_user", "history_item", "history_time"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


def test_a_split_is_read_up_to_its_cut(splits):
    split, items = known_before(splits.validation, splits.data.items)
    assert split is splits.validation
    assert items["item_id"].tolist() == split.item_ids.tolist()


def test_of_splits_the_period_is_chosen(splits):
    assert known_before(splits)[0] is splits.test
    assert known_before(splits, period="validation")[0] is splits.validation
    with pytest.raises(ValueError, match="period='train'"):
        known_before(splits, period="train")


def test_items_come_in_the_order_of_the_split(splits):
    shuffled = splits.data.items.sample(frac=1, random_state=1)
    _, items = known_before(splits.test, shuffled)
    pd.testing.assert_frame_equal(items, known_before(splits)[1])
    with pytest.raises(TableError, match=r"1 items of the split are missing, '007'"):
        known_before(splits.test, shuffled[shuffled["item_id"] != "007"])


def test_tables_of_all_kinds_are_the_same_data(splits, tables):
    import datasets

    expected, _ = known_before(splits.data)
    assert len(expected.history_user) == len(splits.data.user)
    assert expected.cut == splits.data.timestamp.max() + 1
    same(known_before(tables)[0], expected)
    same(known_before(tables["interactions"], tables["items"])[0], expected)
    stored = {name: datasets.Dataset.from_pandas(table, preserve_index=False) for name, table in tables.items()}
    same(known_before(stored)[0], expected)
    same(known_before(stored["interactions"], stored["items"])[0], expected)


@pytest.mark.parametrize("zone", ["", "+00:00"])
def test_nothing_from_as_of_on_is_read(splits, tables, zone):
    time = pd.Timestamp(splits.test.cut, unit="us").isoformat() + zone
    split, _ = known_before(tables, as_of=time)
    same(split, splits.test)
    assert not len(split.target_user)


def test_a_given_test_set_is_never_read(splits, tables):
    data = splits.data
    named = Interactions.from_tables(
        tables["items"],
        tables["interactions"].assign(
            split=np.where(
                tables["interactions"]["timestamp"] < pd.Timestamp(splits.test.cut, unit="us", tz="UTC"),
                "train",
                "test",
            )
        ),
        "named",
    )
    split, _ = known_before(named)
    np.testing.assert_array_equal(split.history_item, splits.test.history_item)
    assert splits.test.history_time.max() < split.cut <= splits.test.cut
    timeless = dataclasses.replace(named, timestamp=None)
    assert known_before(timeless)[0].cut is None
    assert len(known_before(timeless)[0].history_user) == len(splits.test.history_user) < len(data.user)
    early, _ = known_before(named, as_of=pd.Timestamp(splits.validation.cut, unit="us"))
    same(early, splits.validation)


def test_what_makes_no_sense_is_said(splits, tables):
    with pytest.raises(TableError, match="a split has no item texts"):
        known_before(splits.test)
    with pytest.raises(ValueError, match="as_of: the split 'test' has its own cut"):
        known_before(splits, as_of="2020-02-01")
    for source in (splits, splits.data, tables):
        with pytest.raises(ValueError, match=r"items: the .* bring"):
            known_before(source, tables["items"])
    with pytest.raises(TableError, match="pass the item table"):
        known_before(tables["interactions"])
    with pytest.raises(TableError, match="there is no 'interactions'; they hold"):
        known_before({"items": tables["items"], "events": tables["interactions"]})
    with pytest.raises(TypeError, match="data is list: pass a Split"):
        known_before([1, 2])
    with pytest.raises(TableError, match="nothing happened before"):
        known_before(tables, as_of="1999-01-01")


def test_users_by_id(splits):
    split = splits.test
    assert user_rows(split, ["user-07", "user-02"]).tolist() == [7, 2]
    assert user_rows(split, "user-07").tolist() == [7]
    assert user_rows(split, None).tolist() == list(range(50))
    with pytest.raises(KeyError, match="unknown users: 'nobody'"):
        user_rows(split, ["user-07", "nobody"])
    silent = dataclasses.replace(split, user_ids=np.append(split.user_ids, "user-99"))
    with pytest.raises(KeyError, match="without a known interaction before the cut: 'user-99'"):
        user_rows(silent, ["user-99"])


def test_neighbours_by_vectors_by_rows_and_none(splits):
    split = splits.test
    assert (neighbor_rows(None, split, 3) == -1).all()
    rows = np.stack([(np.arange(50) + step) % 50 for step in (1, 2, 3, 4)], axis=1)
    assert neighbor_rows(rows, split, 3).tolist() == rows[:, :3].tolist()
    angle = np.arange(50) * 0.01
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert set(neighbor_rows(vectors, split, 2)[10].tolist()) == {9, 11}
    for wrong, words in (
        (rows[:49], r"shape \(49, 4\)"),
        (rows + 1, "between 0 and 49"),
        (np.arange(50)[:, None], "among the own neighbours"),
        (np.full((50, 1), "user-01"), "holds <U7"),
    ):
        with pytest.raises(ValueError, match=words):
            neighbor_rows(wrong, split, 3)


def test_nobody_without_history_is_a_neighbour(splits):
    split = splits.test
    silent = dataclasses.replace(
        split,
        history_user=split.history_user[split.history_user != 11],
        history_item=split.history_item[split.history_user != 11],
    )
    angle = np.arange(50) * 0.01
    found = neighbor_rows(np.stack([np.cos(angle), np.sin(angle)], axis=1), silent, 3)
    assert not (found == 11).any()
    assert (found[11] == -1).all()
