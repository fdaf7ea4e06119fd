"""What a checked table looks like; what is refused stands in test_bad_input.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reclm_hf.data.tables import (
    ITEM_COLUMNS,
    PROFILE_COLUMNS,
    TableError,
    bad_rows,
    read_parquet,
    validate_interactions,
    validate_items,
    write_parquet,
)


def test_title_and_text_stand_in_for_each_other() -> None:
    table = pd.DataFrame({"item_id": ["1", "2", "3"], "title": [" A ", None, "C"], "text": [np.nan, "b", "c"]})
    checked = validate_items(table, "items")
    assert list(checked.columns) == list(ITEM_COLUMNS)
    assert checked["title"].tolist() == ["A", "b", "C"]
    assert checked["text"].tolist() == ["A", "b", "c"]
    assert validate_items(table[["item_id", "title"]].iloc[[0]], "items")["text"].tolist() == ["A"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        (np.array(["a"], dtype=object), ["a"]),
        (["a", None, 7], ["a", "7"]),
        ("a", ["a"]),
        ("", []),
        (None, []),
        (float("nan"), []),
        (pd.NA, []),
    ],
)
def test_categories_become_lists_of_words(value: object, expected: list[str]) -> None:
    table = pd.DataFrame({"item_id": ["1"], "title": ["A"], "categories": pd.Series([value], dtype=object)})
    assert validate_items(table, "items")["categories"].tolist() == [expected]


def test_rows_are_numbered_by_place_and_not_by_the_frames_index() -> None:
    table = pd.DataFrame({"item_id": ["1", "2", None], "title": ["A", "B", "C"]}, index=[7, 7, 7])
    with pytest.raises(TableError, match="no id in row 3"):
        validate_items(table, "items")
    checked = validate_items(table.iloc[:2], "items")
    assert checked.index.tolist() == [0, 1]
    assert checked["title"].tolist() == ["A", "B"]


def test_times_become_utc_microseconds() -> None:
    brussels = pd.Series(pd.to_datetime(["2020-06-01T02:00:00"])).dt.tz_localize("Europe/Brussels")
    naive = pd.Series(pd.to_datetime(["2020-06-01T00:00:00"]))
    for stamps in (brussels, naive):
        table = pd.DataFrame({"user_id": ["a"], "item_id": ["1"], "timestamp": stamps})
        checked = validate_interactions(table, "rows")
        assert str(checked["timestamp"].dtype) == "datetime64[us, UTC]"
        assert checked["timestamp"].iloc[0] == pd.Timestamp("2020-06-01T00:00:00Z")


def test_columns_that_are_not_known_are_left_out() -> None:
    table = pd.DataFrame({"user_id": ["a"], "item_id": ["1"], "rating": ["4"], "mood": ["good"]})
    checked = validate_interactions(table, "rows")
    assert list(checked.columns) == ["user_id", "item_id", "rating"]
    assert checked["rating"].tolist() == [4.0]


def test_only_the_first_bad_rows_are_shown() -> None:
    message = str(bad_rows("file.csv", "age", [0, 4, 5, 9, 11], "no number", "Mend them."))
    assert message == "file.csv: column 'age': no number in row 1, 5, 6 and 2 more. Mend them."


def test_a_written_schema_is_the_declared_one_even_where_columns_are_empty(tmp_path: Path) -> None:
    empty = pd.DataFrame({name: pd.Series([], dtype=object) for name in PROFILE_COLUMNS})
    path = tmp_path / "new" / "profiles.parquet"
    write_parquet(empty, path, PROFILE_COLUMNS)
    schema = pq.read_schema(path)
    assert schema.names == list(PROFILE_COLUMNS)
    assert schema.field("as_of").type == pa.timestamp("us", tz="UTC")
    assert schema.field("evidence").type == pa.list_(pa.string())
    assert schema.metadata is None, "no trace of the library that wrote it"
    assert [entry.name for entry in path.parent.iterdir()] == ["profiles.parquet"]


def test_reading_names_the_broken_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    with pytest.raises(TableError, match=r"rows\.parquet: there is no such file"):
        read_parquet(path)
    path.touch()
    with pytest.raises(TableError, match=r"rows\.parquet: the file is empty \(0 bytes\)"):
        read_parquet(path)
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(TableError, match=r"rows\.parquet: cannot be read as Parquet"):
        read_parquet(path)


def test_ids_and_splits_come_back_as_categoricals() -> None:
    ids = pd.Series(["b", "a", "b"], dtype=object)
    for users in (ids, ids.astype("str"), ids.astype("category")):
        table = pd.DataFrame({"user_id": users, "item_id": ["1", "2", "1"], "split": ["test", "train", "train"]})
        checked = validate_interactions(table.set_axis([4, 4, 4]), "rows", known_items={"1", "2", "3"})
        assert checked["user_id"].tolist() == ["b", "a", "b"]
        assert checked["split"].tolist() == ["test", "train", "train"]
        assert {str(checked[column].dtype) for column in checked} == {"category"}
        assert checked.index.tolist() == [0, 1, 2]


@pytest.mark.parametrize("bad", [None, np.nan, pd.NA, 7, "", " \t", ["a"], {"a"}, True, b"a"])
@pytest.mark.parametrize("column", ["user_id", "item_id"])
def test_what_is_no_id_is_named_by_its_row(column: str, bad: object) -> None:
    columns = {name: pd.Series(["x", "x", "x"], dtype=object) for name in ("user_id", "item_id")}
    columns[column] = pd.Series(["x", bad, "x"], dtype=object)
    with pytest.raises(TableError, match=f"rows: column '{column}': no id in row 2. Fill"):
        validate_interactions(pd.DataFrame(columns), "rows")


def test_categories_that_no_row_has_are_no_matter() -> None:
    users = pd.Categorical(["a", "a"], categories=["", "zz", "a"])
    table = pd.DataFrame({"user_id": users, "item_id": pd.Categorical(["1", "1"], categories=["9", "1"])})
    checked = validate_interactions(table, "rows", known_items={"1"})
    assert checked["user_id"].tolist() == ["a", "a"]


def test_a_categorical_of_numbers_is_no_id() -> None:
    table = pd.DataFrame({"user_id": pd.Categorical([7, 8]), "item_id": ["1", "1"]})
    with pytest.raises(TableError, match="column 'user_id' holds int64, not text"):
        validate_interactions(table, "rows")


def test_text_columns_are_read_as_categoricals_on_demand(tmp_path: Path) -> None:
    table = pd.DataFrame({"user_id": ["b", "a", None, "b"], "item_id": [1, 2, 3, 4], "note": ["x"] * 4})
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pandas(table), path, row_group_size=1)  # a dictionary for each group
    found = read_parquet(path, categorical=("user_id", "item_id", "split"))
    assert isinstance(found["user_id"].dtype, pd.CategoricalDtype)
    assert found["user_id"].astype(object).where(found["user_id"].notna(), None).tolist() == ["b", "a", None, "b"]
    assert found["item_id"].tolist() == [1, 2, 3, 4]
    assert not isinstance(found["note"].dtype, pd.CategoricalDtype)
