"""Tables of profiles, of this version and of earlier ones."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from reclm_hf.data import bundled
from reclm_hf.data.profile_tables import read_profiles
from reclm_hf.data.tables import ITEM_PROFILE_COLUMNS, PROFILE_COLUMNS, TableError, write_parquet

NEWER = ["neighbors_by", "source"]


@pytest.fixture
def table() -> pd.DataFrame:
    empty = {name: [None, None, None] for name in PROFILE_COLUMNS}
    near = {"user_id": ["a", "b", "c"], "neighbors": [["b", "c"], [], None]}
    given = {"neighbors_by": ["text", "none", "none"], "source": ["stated", "prior", "interactions"]}
    return pd.DataFrame(empty | near | given).astype({"as_of": "datetime64[us, UTC]"})


def kept(table: pd.DataFrame, path: Path, columns: dict[str, str] = PROFILE_COLUMNS) -> Path:
    write_parquet(table, path, {name: kind for name, kind in columns.items() if name in table.columns})
    return path


def test_what_a_table_says_stays(table: pd.DataFrame, tmp_path: Path) -> None:
    read = read_profiles(kept(table, tmp_path / "users.parquet"))
    assert list(read.columns) == list(PROFILE_COLUMNS)
    assert read[NEWER].to_numpy().tolist() == [["text", "stated"], ["none", "prior"], ["none", "interactions"]]


def test_tables_of_earlier_versions_are_filled(table: pd.DataFrame, tmp_path: Path) -> None:
    expected = [["interactions", "interactions"], ["none", "interactions"], ["none", "interactions"]]
    read = read_profiles(kept(table.drop(columns=NEWER), tmp_path / "users.parquet"))
    assert list(read.columns) == list(PROFILE_COLUMNS)
    assert read[NEWER].to_numpy().tolist() == expected
    empty = table.assign(**dict.fromkeys(NEWER, pd.Series([None] * 3, dtype=object)))
    assert read_profiles(kept(empty, tmp_path / "empty.parquet"))[NEWER].to_numpy().tolist() == expected
    assert list(read_profiles(kept(table[:0].drop(columns=NEWER), tmp_path / "no.parquet")).columns) == [
        *PROFILE_COLUMNS
    ]


def test_a_repeated_id_names_its_rows(table: pd.DataFrame, tmp_path: Path) -> None:
    path = kept(table.assign(user_id=["a", "b", "a"]), tmp_path / "users.parquet")
    with pytest.raises(TableError, match=r"users\.parquet: column 'user_id': a repeated id \('a'\) in row 3\."):
        read_profiles(path)


@pytest.mark.parametrize("column", [name for name in PROFILE_COLUMNS if name not in NEWER])
def test_a_missing_column_of_users(table: pd.DataFrame, tmp_path: Path, column: str) -> None:
    path = kept(table.drop(columns=column), tmp_path / "users.parquet")
    with pytest.raises(TableError, match=rf"users\.parquet: there is no column '{column}'.*`reclm profiles build`"):
        read_profiles(path)


def test_tables_of_items(tmp_path: Path) -> None:
    table = pd.DataFrame({name: [None, None] for name in ITEM_PROFILE_COLUMNS} | {"item_id": ["x", "y"]})
    path = kept(table, tmp_path / "items.parquet", ITEM_PROFILE_COLUMNS)
    assert list(read_profiles(path, "item").columns) == list(ITEM_PROFILE_COLUMNS)
    kept(table.assign(item_id="x"), path, ITEM_PROFILE_COLUMNS)
    with pytest.raises(TableError, match=r"'item_id': a repeated id \('x'\) in row 2\."):
        read_profiles(path, "item")
    kept(table.drop(columns="phase"), path, ITEM_PROFILE_COLUMNS)
    with pytest.raises(TableError, match=r"no column 'phase'.*`reclm profiles build`"):
        read_profiles(path, "item")


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"absent\.parquet: there is no such file\. `reclm profiles build`"):
        read_profiles(tmp_path / "absent.parquet")
    with pytest.raises(ValueError, match="'user' and 'item'"):
        read_profiles(tmp_path / "absent.parquet", "both")  # type: ignore[arg-type]


@pytest.mark.parametrize("which", ["validation", "test"])
def test_the_shipped_tables_have_all_columns(which: str) -> None:
    table = bundled.bundled_profiles(which=which)
    assert set(PROFILE_COLUMNS) <= set(table.columns)
    assert set(table["source"]) == {"interactions"}
    assert (table["neighbors_by"] == "interactions").tolist() == [len(near) > 0 for near in table["neighbors"]]
