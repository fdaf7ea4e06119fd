"""The authors' release: MIND as they cut it, and what can be had of Netflix without its train matrix."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import coo_matrix

from reclm_hf.data.importers.reclm_release import read_reclm_release
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.splits import snapshot_split
from reclm_hf.data.tables import TableError


def entries(pairs: list[tuple[int, int]], shape: tuple[int, int]) -> coo_matrix:
    rows, columns = zip(*pairs, strict=True)
    return coo_matrix((np.ones(len(pairs)), (rows, columns)), shape=shape)


NEWS = {
    item: {"cate": "sports", "sub_cate": "golf", "title": f"News {item}", "abstract": "It began." if item == 1 else ""}
    for item in range(4)
}
MIND = {
    "item_info_dict": NEWS,
    "item_id_map_train": {0: 0, 1: 1, 3: 2},
    "item_id_map_test": {1: 1, 2: 0},
    "trnMat_zero": entries([(0, 0), (0, 2), (1, 1), (2, 1)], (3, 3)),
    "tstMat_zero_": entries([(0, 1), (1, 0), (2, 0)], (3, 2)),
}
NETFLIX = {
    "item_info_dict": {item: {"year": 1990 + item, "title": f"Film {item}"} for item in range(4)},
    "item_id_map_zero": {2: 0, 3: 1},
    "user_item_dict_test": {1: [0, 1, 2], 0: [1, 3]},
}


def write(folder: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(content, protocol=4))
    return folder


def rows(folder: Path) -> set[tuple[str, str, str]]:
    table = read_reclm_release(folder).interactions
    return set(table[["user_id", "item_id", "split"]].itertuples(index=False, name=None))


def test_mind_keeps_the_given_split(tmp_path: Path) -> None:
    raw = read_reclm_release(write(tmp_path, MIND))
    assert rows(tmp_path) == {
        *{("0", "0", "train"), ("0", "3", "train"), ("1", "1", "train"), ("2", "1", "train")},
        *{("0", "1", "test"), ("1", "2", "test"), ("2", "2", "test")},
    }
    assert raw.items["text"].tolist()[:2] == ["News 0. sports. golf", "News 1. It began. sports. golf"]
    assert raw.items["title"][1] == "News 1"
    assert raw.items["categories"][0] == ["sports", "golf"]
    assert raw.notes == []


def test_netflix_without_its_train_matrix_says_so(tmp_path: Path) -> None:
    raw = read_reclm_release(write(tmp_path, NETFLIX))
    assert rows(tmp_path) == {
        *{("1", "0", "train"), ("1", "1", "train"), ("0", "1", "train")},
        *{("1", "2", "test"), ("0", "3", "test")},
    }
    assert raw.items["text"][0] == "Film 0 (1990)"
    assert raw.notes == [raw.info["protocol"]]
    assert "Not the paper's protocol: the release lacks trnMat_zero.pkl and tstMat_zero_.pkl" in raw.notes[0]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({**MIND, "item_id_map_train": {0: 0}}, r"item_id_map_train\.pkl: does not map ids to the 3 columns"),
        ({**MIND, "tstMat_zero_": entries([(0, 1)], (2, 2))}, r"trnMat_zero\.pkl has 3 users and tstMat_zero_\.pkl 2"),
        ({**MIND, "trnMat_zero": {}}, r"trnMat_zero\.pkl: holds dict, not a COO matrix"),
        ({**NETFLIX, "user_item_dict_test": {0: 3}}, r"user_item_dict_test\.pkl: user 0 has no list of items"),
        ({**MIND, "item_info_dict": {0: {"name": "x"}}}, r"item_info_dict\.pkl: item 0 has .*expected title with year"),
        (
            {name: content for name, content in MIND.items() if name != "trnMat_zero"},
            r"trnMat_zero\.pkl and some of item_id_map_zero\.pkl and user_item_dict_test\.pkl are missing.*github",
        ),
        (
            {name: content for name, content in MIND.items() if name != "item_id_map_test"},
            r"item_id_map_test\.pkl: there is no such file.*github",
        ),
        ({}, r"item_info_dict\.pkl: there is no such file.*github"),
    ],
)
def test_what_is_missing_or_does_not_fit(tmp_path: Path, files: dict[str, object], expected: str) -> None:
    with pytest.raises(TableError, match=expected):
        read_reclm_release(write(tmp_path, files))


@pytest.mark.shared_data
def test_mind_as_published(shared_data: Path) -> None:
    raw = read_reclm_release(shared_data / "reclm-release" / "mind")
    splits = snapshot_split(Interactions.from_tables(raw.items, raw.interactions, "mind"))
    data, test = splits.data, splits.test
    assert (data.n_users, data.n_items, len(data.user), data.duplicates) == (57_128, 3_827, 177_708, 0)
    assert (len(test.history_user), int(test.warm.sum())) == (89_734, 2_386)
    assert (len(test.target_user), len(np.unique(test.target_user))) == (87_974, 56_972)
    assert test.users_without_history == 0
    assert len(test.candidates("test_items")) == 2_461
    assert len(test.candidates("catalogue")) == 3_827
    zero = test.targets_matrix("zero_shot").tocoo()
    assert (len(test.candidates("zero_shot")), zero.nnz, len(np.unique(zero.row))) == (1_441, 25_928, 20_394)
    validation = splits.validation
    warm_targets = validation.warm[validation.target_item]
    assert warm_targets.any()
    assert not warm_targets.all()
    assert not np.isin(np.flatnonzero(test.cold), np.union1d(validation.history_item, validation.target_item)).any()


@pytest.mark.shared_data
def test_netflix_as_published(shared_data: Path) -> None:
    raw = read_reclm_release(shared_data / "reclm-release" / "netflix")
    table = raw.interactions
    new = table[table["split"] == "test"]
    assert (table["user_id"].nunique(), len(table)) == (16_835, 1_307_051)
    assert (len(new), new["item_id"].nunique(), new["user_id"].nunique()) == (157_286, 1_979, 13_096)
    assert "Not the paper's protocol" in raw.notes[0]
