"""The Netflix Prize: ratings below the line of their movie, two consecutive years, read in chunks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.importers import netflix
from reclm_hf.data.importers.netflix import read_netflix
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.splits import temporal_split
from reclm_hf.data.tables import TableError

FIRST = "1:\n7,3,2004-09-06\n8,5,2005-05-13\n9,4,2003-01-01\n2:\n7,4,2005-01-01\n"
SECOND = "3:\n8,1,2004-12-31\n9,2,2004-02-29\n4:\n"
TITLES = "1,1995,Dragons\n2,2004,Lost, Found, and Lost\n3,NULL,Amélie\n4,1999,Unseen\n"


def write(folder: Path, first: str = FIRST, second: str = SECOND, titles: str = TITLES) -> Path:
    """The files of the prize."""
    (folder / "combined_data_1.txt").write_text(first)
    (folder / "combined_data_2.txt").write_text(second)
    (folder / "movie_titles.csv").write_bytes(titles.encode("latin-1"))
    return folder


@pytest.mark.parametrize("chunk", [1, 2, 3, 1000])
def test_two_years_in_chunks_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(netflix, "_CHUNK_ROWS", chunk)
    raw = read_netflix(write(tmp_path))
    rows = raw.interactions.assign(day=raw.interactions["timestamp"].dt.strftime("%Y-%m-%d"))
    assert rows[["user_id", "item_id", "rating", "day"]].values.tolist() == [
        ["7", "1", 3.0, "2004-09-06"],
        ["8", "1", 5.0, "2005-05-13"],
        ["7", "2", 4.0, "2005-01-01"],
        ["8", "3", 1.0, "2004-12-31"],
    ], "9 is not active in 2005, and its rating of 2003 is outside"
    assert str(rows["timestamp"].dtype) == "datetime64[us, UTC]"
    assert raw.items["text"].tolist() == ["Dragons (1995)", "Lost, Found, and Lost (2004)", "Amélie"]
    assert raw.info["test_cut"] == 1_104_537_600_000_000  # 2005-01-01 00:00 UTC


def test_the_cut_divides_the_years(tmp_path: Path) -> None:
    raw = read_netflix(write(tmp_path, second=SECOND + "7,2,2004-12-31\n"))  # something to validate on
    data = Interactions.from_tables(raw.items, raw.interactions, "netflix")
    test = temporal_split(data, cut=raw.info["test_cut"]).test
    assert {str(item) for item in test.item_ids[test.warm]} == {"1", "3", "4"}
    assert {str(item) for item in test.item_ids[test.cold]} == {"2"}


def test_other_years(tmp_path: Path) -> None:
    raw = read_netflix(write(tmp_path), "2003", "2004")
    assert set(raw.interactions["user_id"]) == {"9"}
    assert raw.interactions["timestamp"].dt.year.tolist() == [2003, 2004]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"first": "7,3,2004-09-06\n"}, r"combined_data_1\.txt: row 1 is '7,3,2004-09-06'"),
        ({"first": FIRST + "7,9,2004-09-06\n"}, r"combined_data_1\.txt: row 7 is '7,9,2004-09-06'"),
        ({"first": FIRST + "x,3,2004-09-06\n"}, r"combined_data_1\.txt: row 7 is 'x,3,2004-09-06'"),
        ({"first": FIRST + ",3,2004-09-06\n"}, r"combined_data_1\.txt: row 7 is ',3,2004-09-06'"),
        ({"second": SECOND + "7,3,06.09.2004\n"}, r"combined_data_2\.txt: row 5 is '7,3,06\.09\.2004'"),
        ({"second": SECOND + "7,3\n"}, r"combined_data_2\.txt: row 5 is '7,3'"),
        ({"second": SECOND + "x:\n7,3,2004-09-06\n"}, r"combined_data_2\.txt: row 5 is 'x:'"),
        ({"second": SECOND + "7,3,2004-09-06,1\n"}, r"combined_data_2\.txt: is not lines"),
        ({"titles": "1,Dragons\n"}, r"movie_titles\.csv: row 1 is '1,Dragons'"),
    ],
)
def test_bad_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: str) -> None:
    for chunk in (2, 1000):
        monkeypatch.setattr(netflix, "_CHUNK_ROWS", chunk)
        with pytest.raises(TableError, match=expected):
            read_netflix(write(tmp_path, **files))


def test_blank_lines_are_none(tmp_path: Path) -> None:
    assert len(read_netflix(write(tmp_path, FIRST + "\n", "\n" + SECOND)).interactions) == 4


def test_years_and_files_that_are_not_there(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(TableError, match="no interactions in 2001; there are some in 2003, 2004, 2005"):
        read_netflix(tmp_path, "2001")
    with pytest.raises(TableError, match="--test-period 'now' is not a year; write it like 2005"):
        read_netflix(tmp_path, test_year="now")
    (tmp_path / "movie_titles.csv").unlink()
    with pytest.raises(TableError, match=r"movie_titles\.csv: there is no such file.*kaggle"):
        read_netflix(tmp_path)
    write(tmp_path)
    for path in tmp_path.glob("combined*"):
        path.unlink()
    with pytest.raises(TableError, match=r"combined_data_1\.txt: there is no such file"):
        read_netflix(tmp_path)


def test_a_sample_of_users_is_the_same_every_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["1:"]
    for user in range(200):
        lines += [f"{user},3,{year}-0{rng.integers(1, 9)}-11" for year in (2004, 2005)]
    folder = write(tmp_path, "\n".join(lines) + "\n", "2:\n")
    drawn = [set(read_netflix(folder, max_users=count).interactions["user_id"]) for count in (50, 50, 20, 10_000)]
    assert [len(users) for users in drawn] == [50, 50, 20, 200]
    assert drawn[0] == drawn[1]
    assert drawn[2] < drawn[0]
    rows = read_netflix(folder, max_users=20).interactions
    assert pd.Series(rows["user_id"]).value_counts().eq(2).all(), "both years of a drawn user are kept"
