"""A test set that is given (column `split`): kept as it is, through folders too; validation is cut out of train."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data import splits
from reclm_hf.data.folder import read_dataset, write_dataset
from reclm_hf.data.importers.columns import ColumnMapping, import_tables
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.load import load_splits
from reclm_hf.data.splits import Split, item_split, snapshot_split
from reclm_hf.data.tables import TableError

DAY = 86_400_000_000


def data(train: str, test: str, *, times: bool = False) -> Interactions:
    """Interactions from words such as "a1": user a, item 1; one a day, in this order."""
    words = train.split() + test.split()
    frame = pd.DataFrame({"user_id": [word[0] for word in words], "item_id": [word[1:] for word in words]})
    frame["split"] = ["train"] * len(train.split()) + ["test"] * len(test.split())
    if times:
        frame["timestamp"] = pd.to_datetime(range(len(words)), unit="D", utc=True)
    ids = sorted(set(frame["item_id"]))
    return Interactions.from_tables(pd.DataFrame({"item_id": ids, "title": ids}), frame, "toy")


def pairs(split: Split, part: str) -> list[str]:
    users, items = getattr(split, f"{part}_user"), getattr(split, f"{part}_item")
    return sorted(str(split.user_ids[u]) + str(split.item_ids[i]) for u, i in zip(users, items, strict=True))


def grid(users: int = 40, items: int = 60) -> Interactions:
    """Everybody takes half of the items in train; two new items and one old one in test."""
    rows = [(user, item, "train") for user in range(users) for item in range(items) if (user + item) % 2]
    rows += [(user, item, "test") for user in range(users) for item in (user % 2, items, items + 1)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "split"])
    frame[["user_id", "item_id"]] = frame[["user_id", "item_id"]].map("{:02d}".format).astype(object)
    ids = sorted(set(frame["item_id"]))
    return Interactions.from_tables(pd.DataFrame({"item_id": ids, "title": ids}), frame, "grid")


def test_the_given_test_set_is_the_test() -> None:
    test = snapshot_split(data("a1 a2 a3 a4 b1 b2 b3 b4 c1 c2", "a5 b5 c3 d1")).test
    assert (test.name, test.cut) == ("test", None)
    assert pairs(test, "history") == ["a1", "a2", "a3", "a4", "b1", "b2", "b3", "b4", "c1", "c2"]
    assert pairs(test, "target") == ["a5", "b5", "c3"]
    assert test.users_without_history == 1
    assert {str(item) for item in test.item_ids[test.cold]} == {"5"}


@pytest.mark.parametrize("times", [True, False])
def test_a_pair_of_both_stays_in_train(times: bool) -> None:
    toy = data("a1 a2 b1 b2 a3", "a1 b3 b3", times=times)
    assert toy.duplicates == 2
    assert toy.in_test is not None
    given = zip(toy.user_ids[toy.user[toy.in_test]], toy.item_ids[toy.item[toy.in_test]], strict=True)
    assert list(given) == [("b", "3")]
    reverse = pd.DataFrame({"user_id": ["a", "a"], "item_id": ["1", "1"], "split": ["test", "train"]})
    items = pd.DataFrame({"item_id": ["1"], "title": ["A"]})
    assert Interactions.from_tables(items, reverse, "toy").in_test.tolist() == [False], "whatever the order of the rows"


def test_validation_by_time() -> None:
    splits = snapshot_split(data("a1 b1 a2 b2 c1 c2 b3 a4 b4 a5", "a6 b6 c4", times=True))
    assert (splits.validation.cut, splits.test.cut) == (8 * DAY, 10 * DAY)
    assert pairs(splits.validation, "target") == ["a5", "b4"]
    assert pairs(splits.test, "target") == ["a6", "b6", "c4"]


def test_validation_by_hash_has_cold_and_warm_targets() -> None:
    toy = grid()
    splits = snapshot_split(toy)
    validation, test = splits.validation, splits.test
    known = set(pairs(validation, "history")) | set(pairs(validation, "target"))
    assert known == set(pairs(test, "history")), "nobody loses a whole history here"
    assert not set(pairs(validation, "history")) & set(pairs(validation, "target"))
    assert 5 <= validation.cold.sum() <= 20, "some 20 % of 60 items"
    cold = validation.cold[validation.target_item]
    left = len(test.history_user) - cold.sum()
    assert 0.05 < (~cold).sum() / left < 0.15, "some 10 % of the pairs of the other items"
    held_out = np.unique(validation.target_item[cold])
    assert not np.isin(held_out, validation.history_item).any()
    assert len(np.unique(validation.target_item[~cold])) > 30, "pairs are drawn one by one, not by item"
    assert len(np.unique(validation.target_user[~cold])) > 30, "nor by user"


def test_nothing_of_the_test_reaches_validation() -> None:
    toy = grid()
    new = np.flatnonzero(np.isin(toy.item_ids, ["60", "61"]))
    validation = snapshot_split(toy).validation
    assert not np.isin(validation.history_item, new).any()
    assert not np.isin(validation.target_item, new).any()
    assert not (validation.warm | validation.cold)[new].any()


def test_users_who_lose_their_history_are_counted() -> None:
    words = " ".join(f"{user}{item}" for item in range(1, 9) for user in "abcd") + " z1"
    for seed in range(200):
        validation = snapshot_split(data(words, "a9 b9"), seed=seed).validation
        if "z1" not in pairs(validation, "history"):
            break
    assert validation.users_without_history >= 1
    assert "z1" not in pairs(validation, "target")


def test_the_fingerprint_names_data_and_rule() -> None:
    toy = grid()
    first = snapshot_split(toy)
    assert snapshot_split(grid()).fingerprint == first.fingerprint
    others = [
        snapshot_split(toy, seed=1),
        snapshot_split(toy, pair_fraction=0.2),
        snapshot_split(toy, validation_fraction=0.3),
        item_split(toy),
        snapshot_split(grid(users=39)),
    ]
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 1 + len(others)


def test_only_a_given_split_changes_the_fingerprint_of_the_data() -> None:
    plain = pd.DataFrame({"user_id": ["a", "a", "b"], "item_id": ["1", "2", "1"]})
    items = pd.DataFrame({"item_id": ["1", "2"], "title": ["A", "B"]})
    kinds = [None, ["train", "train", "test"], ["train", "test", "test"]]
    tables = [plain if kind is None else plain.assign(split=kind) for kind in kinds]
    prints = [Interactions.from_tables(items, table, "toy").fingerprint() for table in tables]
    assert len(set(prints)) == 3
    # Measured before the column existed: data without it keep the name that they had.
    assert prints[0] == "6859ff1908cdff0cd1ceacfc56f842ee9b16f0bf18094ec92018f6186deeb964"


@pytest.mark.parametrize("times", [True, False])
def test_folders_keep_it(tmp_path: Path, times: bool) -> None:
    toy = data("a1 b1 a2 b2 c1 c2 b3 a4 b4 a5", "a6 b6 c4", times=times)
    write_dataset(toy, tmp_path)
    again, info = read_dataset(tmp_path)
    assert again.fingerprint() == toy.fingerprint() == info["fingerprint"]
    assert pd.read_parquet(tmp_path / "interactions.parquet")["split"].value_counts().to_dict() == {
        "train": 10,
        "test": 3,
    }
    assert load_splits(str(tmp_path)).fingerprint == snapshot_split(toy).fingerprint


def test_columns_import_it_where_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("user_id,item_id,title,part\na,1,A,train\nb,1,A,train\na,2,B,test\n")
    mapping = ColumnMapping(split="part")
    imported = import_tables(str(path), None, mapping, "mine")
    assert imported.data.in_test is not None
    assert imported.data.in_test.sum() == 1
    assert imported.notes == []
    assert import_tables(str(path), None, ColumnMapping(), "mine").data.in_test is None
    path.write_text("user_id,item_id,title,part\na,1,A,train\nb,1,A,valid\n")
    with pytest.raises(TableError, match=r"column 'split': neither 'train' nor 'test' \('valid'\) in row 2"):
        import_tables(str(path), None, mapping, "mine")
    with pytest.raises(TableError, match="no column 'parts'"):
        import_tables(str(path), None, ColumnMapping(split="parts"), "mine")


def test_sets_that_cannot_be_split() -> None:
    timeless = data("a1 a2 b1 b2", "a3 b3")
    with pytest.raises(ValueError, match=r"pair_fraction=1\.0 must lie between 0 and 1"):
        snapshot_split(timeless, pair_fraction=1.0)
    with pytest.raises(TableError, match="toy: the test split would have no targets"):
        snapshot_split(data("a1 a2 b1 b2", ""))
    with pytest.raises(TableError, match="toy: the test split would have no history"):
        snapshot_split(data("", "a1 a2"))
    plain = pd.DataFrame({"user_id": ["a"], "item_id": ["1"]})
    with pytest.raises(TableError, match="toy: a snapshot split needs a column 'split'"):
        snapshot_split(Interactions.from_tables(pd.DataFrame({"item_id": ["1"], "title": ["A"]}), plain, "toy"))


def test_train_must_be_earlier_than_test() -> None:
    frame = pd.DataFrame({"user_id": list("aab"), "item_id": list("121"), "split": ["train", "test", "train"]})
    frame["timestamp"] = pd.to_datetime([0, 1, 2], unit="D", utc=True)
    items = pd.DataFrame({"item_id": ["1", "2"], "title": ["A", "B"]})
    with pytest.raises(TableError, match="toy: 1 train rows are not earlier than the first test row"):
        snapshot_split(Interactions.from_tables(items, frame, "toy"))


def test_shares_come_from_the_first_eight_bytes_of_sha256() -> None:
    keys = [f"ключ {number}" for number in range(50)] + [""]
    expected = [int.from_bytes(hashlib.sha256(f"7:{key}".encode()).digest()[:8], "big") / 2.0**64 for key in keys]
    assert splits._hash_shares(keys, 7).tolist() == expected
    assert len(splits._hash_shares([], 7)) == 0
