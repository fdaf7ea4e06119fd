from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.interactions import Interactions
from reclm_hf.data.tables import TableError

DAY = 86_400_000_000


def items(**changes: list[object]) -> pd.DataFrame:
    columns: dict[str, list[object]] = {"item_id": ["7", "007", "10"], "title": ["Seven", "Bond", "Ten"]}
    return pd.DataFrame(columns | changes)


def rows(*entries: tuple[str, str, int], ratings: list[float] | None = None) -> pd.DataFrame:
    frame = pd.DataFrame(list(entries), columns=["user_id", "item_id", "day"])
    frame["timestamp"] = pd.to_datetime(frame.pop("day"), unit="D", utc=True)
    if ratings is not None:
        frame["rating"] = ratings
    return frame


ENTRIES = (("b", "10", 3), ("a", "7", 1), ("a", "007", 3), ("b", "7", 0))


def data(**options: object) -> Interactions:
    return Interactions.from_tables(items(), rows(*ENTRIES), "toy", **options)  # type: ignore[arg-type]


def test_rows_are_ordered_by_time_user_and_item() -> None:
    toy = data()
    assert toy.user_ids.tolist() == ["a", "b"]
    assert toy.item_ids.tolist() == ["007", "10", "7"], "ids are text: sorted as text, zeros kept"
    assert toy.items["title"].tolist() == ["Bond", "Ten", "Seven"]
    assert toy.timestamp is not None
    found = [
        (toy.user_ids[u], toy.item_ids[i], t // DAY) for u, i, t in zip(toy.user, toy.item, toy.timestamp, strict=True)
    ]
    assert found == [("b", "7", 0), ("a", "7", 1), ("a", "007", 3), ("b", "10", 3)]
    assert (toy.user.dtype, toy.item.dtype, toy.timestamp.dtype) == (np.int32, np.int32, np.int64)
    assert (toy.n_users, toy.n_items, toy.duplicates) == (2, 3, 0)


def test_items_without_interactions_keep_a_row() -> None:
    toy = Interactions.from_tables(items(), rows(("a", "7", 0)), "toy")
    assert toy.n_items == 3
    assert toy.item.tolist() == [2]


def test_without_times_the_first_row_of_a_pair_is_kept_and_users_come_in_order() -> None:
    frame = rows(("b", "10", 0), ("a", "7", 0), ("b", "10", 0), ("a", "10", 0)).drop(columns="timestamp")
    toy = Interactions.from_tables(items(), frame, "toy")
    assert toy.timestamp is None
    assert toy.duplicates == 1
    assert list(zip(toy.user.tolist(), toy.item.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 1)]


def test_min_rating_keeps_equal_ratings_and_asks_for_a_column() -> None:
    frame = rows(*ENTRIES, ratings=[1, 4, 5, 3.9])
    toy = Interactions.from_tables(items(), frame, "toy", min_rating=4)
    assert len(toy.user) == 2
    assert toy.user_ids.tolist() == ["a"], "users whose rows all went have gone"
    assert toy.min_rating == 4
    with pytest.raises(TableError, match="toy: interactions: no rating reaches min_rating=6"):
        Interactions.from_tables(items(), frame, "toy", min_rating=6)
    with pytest.raises(TableError, match="needs a column 'rating'"):
        Interactions.from_tables(items(), rows(*ENTRIES), "toy", min_rating=1)


def test_errors_name_the_data_set_and_the_table() -> None:
    with pytest.raises(TableError, match=r"toy: interactions: column 'item_id'.*does not have"):
        Interactions.from_tables(items(), rows(("a", "8", 0)), "toy")
    with pytest.raises(TableError, match="toy: items: column 'item_id': a repeated id"):
        Interactions.from_tables(items(item_id=["7", "7", "10"]), rows(*ENTRIES), "toy")


def test_the_fingerprint_is_that_of_the_content() -> None:
    toy = data()
    shuffled = Interactions.from_tables(items().iloc[::-1], rows(*ENTRIES[::-1]), "another name")
    assert shuffled.fingerprint() == toy.fingerprint(), "neither the order of the rows nor the name is content"
    others = [
        Interactions.from_tables(items(title=["Seven", "Bond", "Ten!"]), rows(*ENTRIES), "toy"),
        Interactions.from_tables(items(), rows(*ENTRIES[:3], ("b", "7", 1)), "toy"),
        Interactions.from_tables(items(), rows(*ENTRIES[:3], ("b", "007", 0)), "toy"),
        Interactions.from_tables(items(), rows(*ENTRIES[:3], ("c", "7", 0)), "toy"),
        Interactions.from_tables(items(), rows(*ENTRIES).drop(columns="timestamp"), "toy"),
        replace(toy, min_rating=1.0),
    ]
    assert len({toy.fingerprint(), *(other.fingerprint() for other in others)}) == 1 + len(others)


def plain(table: pd.DataFrame) -> list[tuple[int, str, str, bool]]:
    """Rows as a loop would keep and order them: the first of a pair, train before test, then by time."""
    entries = list(
        zip(
            table["user_id"],
            table["item_id"],
            table["timestamp"].astype("int64") if "timestamp" in table else [0] * len(table),
            table["split"] == "test" if "split" in table else [False] * len(table),
            strict=True,
        )
    )
    first: dict[tuple[str, str], tuple[int, str, str, bool]] = {}
    for user, item, time, test in sorted(entries, key=lambda entry: (entry[3], entry[2])):
        first.setdefault((user, item), (int(time), user, item, bool(test)))
    return sorted(first.values())


@pytest.mark.parametrize("days", [1, 4, 10**6, None])
@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("in_order", [False, True])
def test_rows_are_those_of_a_plain_loop(days: int | None, split: bool, in_order: bool) -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 200))
        names = np.array(["é", "b", "B", "10", "9", "\U0001f600", "\uffee", "a b", " a"], dtype=object)
        table = pd.DataFrame({"user_id": rng.choice(names, n), "item_id": rng.choice(names, n)})
        if days is not None:
            stamps = rng.integers(0, days, n)
            table["timestamp"] = pd.to_datetime(np.sort(stamps) if in_order else stamps, unit="D", utc=True)
        if split:
            table["split"] = np.where(rng.random(n) < 0.4, "test", "train")
        catalogue = pd.DataFrame({"item_id": rng.permutation(names), "title": "t"})
        found = Interactions.from_tables(catalogue, table, "random")
        expected = plain(table)
        assert found.item_ids.tolist() == sorted(names)
        assert found.user_ids.tolist() == sorted(set(table["user_id"]))
        assert [(found.user_ids[u], found.item_ids[i]) for u, i in zip(found.user, found.item, strict=True)] == [
            (user, item) for _, user, item, _ in expected
        ]
        if found.timestamp is not None:
            assert found.timestamp.tolist() == [time for time, *_ in expected]
        if found.in_test is not None:
            assert found.in_test.tolist() == [test for *_, test in expected]
        assert found.duplicates == n - len(expected)
        assert (found.user.dtype, found.item.dtype) == (np.int32, np.int32)
