"""Frames that cannot be used: every error names the source, the column, the first rows and the way out."""

from __future__ import annotations

import pandas as pd
import pytest

from reclm_hf.data.interactions import Interactions
from reclm_hf.data.splits import item_split, temporal_split
from reclm_hf.data.tables import TableError, validate_interactions, validate_items

DAY = 86_400_000_000


def rows(pairs: str, days: list[int] | None = None) -> pd.DataFrame:
    """Interactions from words such as "a1 a2 b1": user a, item 1."""
    words = pairs.split()
    frame = pd.DataFrame({"user_id": [word[0] for word in words], "item_id": [word[1:] for word in words]})
    stamps = list(range(len(words))) if days is None else days
    frame["timestamp"] = pd.to_datetime(stamps, unit="D", utc=True)
    return frame


def data(pairs: str, days: list[int] | None = None) -> Interactions:
    """The same, with an item table that has exactly the items."""
    table = rows(pairs, days)
    ids = sorted(set(table["item_id"]))
    return Interactions.from_tables(pd.DataFrame({"item_id": ids, "title": ids}), table, "toy")


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"itemid": ["1"], "title": ["A"]}, "no column 'item_id'.*Did you mean 'itemid'"),
        ({"item_id": ["1"]}, "no column 'title'"),
        ({"item_id": [1, 2], "title": ["A", "B"]}, "column 'item_id' holds int64.*'007' would lose"),
        ({"item_id": ["1", None, ""], "title": ["A", "B", "C"]}, "column 'item_id': no id in row 2, 3"),
        ({"item_id": ["1", "2", "1"], "title": ["A", "B", "C"]}, r"column 'item_id': a repeated id \('1'\) in row 3"),
        ({"item_id": ["1", "2"], "title": ["A", None], "text": ["a", float("nan")]}, "'text'.* in row 2"),
        ({"item_id": ["1"], "title": ["A"], "created_at": ["2013"]}, "column 'created_at' holds"),
    ],
)
def test_items(table: dict[str, list[object]], expected: str) -> None:
    with pytest.raises(TableError, match=rf"things\.parquet: .*{expected}"):
        validate_items(pd.DataFrame(table), "things.parquet")


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"user": ["a"], "item_id": ["1"]}, "no column 'user_id'.*Did you mean 'user'"),
        ({"user_id": [], "item_id": []}, "no interactions"),
        ({"user_id": [7], "item_id": ["1"]}, "column 'user_id' holds int64"),
        ({"user_id": ["a"] * 5, "item_id": ["1", "9", "9", "9", "9"]}, r"\('9'\) in row 2, 3, 4 and 1 more"),
        ({"user_id": ["a"], "item_id": ["1"], "timestamp": ["now"]}, "column 'timestamp' holds"),
        ({"user_id": ["a", "b"], "item_id": ["1", "1"], "timestamp": [pd.Timestamp(0, tz="UTC"), pd.NaT]}, "row 2"),
    ],
)
def test_interactions(table: dict[str, list[object]], expected: str) -> None:
    with pytest.raises(TableError, match=rf"rows\.parquet: .*{expected}"):
        validate_interactions(pd.DataFrame(table), "rows.parquet", known_items={"1"})


def test_duplicate_pairs_keep_the_first_in_time() -> None:
    toy = data("a1 b1 a1 a2", [5, 1, 2, 3])
    assert toy.duplicates == 1
    assert toy.timestamp is not None
    pairs = {(toy.user_ids[u], toy.item_ids[i]): t for u, i, t in zip(toy.user, toy.item, toy.timestamp, strict=True)}
    assert pairs["a", "1"] == 2 * DAY


def test_a_pair_known_before_the_cut_is_no_target() -> None:
    splits = temporal_split(data("a1 b2 a2 b1 a1 b3 a3 a4", [0, 1, 2, 3, 8, 9, 10, 11]), cut=8 * DAY)
    targets = {
        (splits.test.user_ids[u], splits.test.item_ids[i])
        for u, i in zip(splits.test.target_user, splits.test.target_item, strict=True)
    }
    assert targets == {("b", "3"), ("a", "3"), ("a", "4")}


def test_one_user_only_still_splits() -> None:
    splits = temporal_split(data("a1 a2 a3 a4 a5 a6 a7 a8 a9 a0"))
    assert splits.test.n_users == 1
    assert len(splits.test.target_user) == 2


def test_no_cold_items_leaves_zero_shot_empty() -> None:
    splits = temporal_split(data("a1 a2 b1 b3 a3 c1 c2 b2 c3"), test_fraction=0.3)
    assert not splits.test.cold.any()
    assert len(splits.test.candidates("zero_shot")) == 0
    assert splits.test.targets_matrix("zero_shot").nnz == 0


def test_users_without_history_are_counted() -> None:
    splits = temporal_split(data("a1 a2 a3 b1 b2 a4 z1 z2"), cut=5 * DAY)
    assert splits.test.users_without_history == 1
    assert set(splits.test.user_ids[splits.test.target_user]) == {"a"}


@pytest.mark.parametrize(
    ("cut", "expected"),
    [(0, "test split would have no history"), (99 * DAY, "test split would have no targets")],
)
def test_a_cut_outside_the_data(cut: int, expected: str) -> None:
    with pytest.raises(TableError, match=expected):
        temporal_split(data("a1 a2 b1 b2"), cut=cut)


def test_one_time_for_everything_cannot_be_cut() -> None:
    with pytest.raises(TableError, match=r"toy: the test split would have no history: 0 rows before the cut, 4 after"):
        temporal_split(data("a1 a2 b1 b2", [7, 7, 7, 7]))


def test_nobody_returns_after_the_cut() -> None:
    with pytest.raises(TableError, match="nobody in the test period has an earlier interaction"):
        temporal_split(data("a1 a2 b1 b2 a3 c1 d2"), cut=5 * DAY)


def test_no_times() -> None:
    toy = data("a1 a2 b1 b2")
    timeless = Interactions.from_tables(toy.items, rows("a1 a2 b1 b2").drop(columns="timestamp"), "toy")
    with pytest.raises(TableError, match="needs a timestamp column"):
        temporal_split(timeless)
    with pytest.raises(TableError, match=r"toy: the .* split would have no"):
        item_split(timeless, fraction=0.0001)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0])
def test_fractions(fraction: float) -> None:
    with pytest.raises(ValueError, match="test_fraction"):
        temporal_split(data("a1 a2"), test_fraction=fraction)
