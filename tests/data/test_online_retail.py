"""UCI Online Retail: which rows count, and what an article is called."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from reclm_hf.data.importers.files import read_table
from reclm_hf.data.importers.online_retail import read_online_retail
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.tables import TableError

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
ROWS = [
    "536365,85123A,WHITE HOLDER,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom",
    "536366,85123A,CREAM HOLDER,6,2010-12-01 08:27:00,2.55,17851.0,United Kingdom",
    "536367,85123A,CREAM HOLDER ,6,2010-12-01 08:28:00,2.55,17852.0,United Kingdom",
    "536367,71053,,6,2010-12-01 08:28:00,3.39,17852.0,United Kingdom",
    '536368,71053,"LANTERN, METAL",6,2010-12-01 08:29:00,3.39,17852.0,United Kingdom',
    "C536369,22139,RETURNED,-1,2010-12-01 08:30:00,2.55,17850.0,United Kingdom",
    "536370,22139,NOBODY,1,2010-12-01 08:31:00,2.55,,United Kingdom",
    "536371,POST,POSTAGE,1,2010-12-01 08:32:00,18.0,17850.0,France",
    "536372,85123 A,ODD,1,2010-12-01 08:33:00,18.0,17850.0,France",
    "536373,84029gl,EVEN,1,2010-12-01 08:34:00,18.0,17850.0,France",
    "536374,84029gl,ODD,1,2010-12-01 08:35:00,18.0,17850.0,France",
]


def write(folder: Path, rows: list[str] = ROWS) -> Path:
    path = folder / "online_retail.csv"
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows))
    return path


def test_rules_and_descriptions(tmp_path: Path) -> None:
    raw = read_online_retail(write(tmp_path))
    titles = dict(zip(raw.items["item_id"], raw.items["text"], strict=True))
    assert titles == {"85123A": "CREAM HOLDER", "71053": "LANTERN, METAL", "84029gl": "EVEN"}
    rows = raw.interactions
    assert rows["user_id"].tolist() == ["17850", "17851", "17852", "17852", "17852", "17850", "17850"]
    assert rows["timestamp"][0] == pd.Timestamp("2010-12-01 08:26", tz="UTC")
    assert [note.split()[0] for note in raw.notes] == ["1", "1", "2"]
    assert raw.info["licence"] == "CC BY 4.0"
    assert "Chen" in raw.info["attribution"]


def test_times_of_another_format_and_zone(tmp_path: Path) -> None:
    path = write(tmp_path, ["536365,85123A,HOLDER,6,7/1/2011 8:26,2.55,17850,United Kingdom"])
    with pytest.raises(TableError, match=r"online_retail\.csv: column 'InvoiceDate'.*row 1.*--time-format"):
        read_online_retail(path)
    rows = read_online_retail(path, "Europe/London", "%m/%d/%Y %H:%M").interactions
    assert rows["timestamp"][0] == pd.Timestamp("2011-07-01 07:26", tz="UTC")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (ROWS[5:9], r"no row is left \(1 rows left out: cancelled"),
        ([*ROWS, "536375,84030,,1,2010-12-01 08:35:00,1.0,17850.0,France"], r"no description of '84030' in row 12\."),
        ([*ROWS, "536375,84030,BOX,1,soon,1.0,17850.0,France"], r"cannot be read \('soon'\) in row 12\."),
    ],
)
def test_bad_rows(tmp_path: Path, rows: list[str], expected: str) -> None:
    with pytest.raises(TableError, match=rf"online_retail\.csv: .*{expected}"):
        read_online_retail(write(tmp_path, rows))


def test_missing_file_and_column(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"gone\.csv: there is no such file.*archive\.ics\.uci\.edu"):
        read_online_retail(tmp_path / "gone.csv")
    path = tmp_path / "online_retail.csv"
    path.write_text("Invoice,StockCode\n1,2\n")
    with pytest.raises(TableError, match="no column 'InvoiceNo'"):
        read_online_retail(path)


@pytest.mark.slow
@pytest.mark.shared_data
def test_the_counts_that_the_data_set_is_known_by(shared_data: Path) -> None:
    rows = read_table(str(shared_data / "online-retail" / "online_retail.csv.gz"))
    named = rows[rows["CustomerID"] != ""]
    counts = (len(rows), len(named), named["CustomerID"].nunique(), named["StockCode"].nunique())
    assert counts == (541_909, 406_829, 4_372, 3_684)


@pytest.mark.shared_data
def test_real_table(shared_data: Path) -> None:
    raw = read_online_retail(shared_data / "online-retail" / "online_retail.csv.gz")
    assert [int(note.split()[0].replace(",", "")) for note in raw.notes] == [9_288, 134_697, 1_554]
    assert len(raw.interactions) == 541_909 - 9_288 - 134_697 - 1_554 == 396_370
    data = Interactions.from_tables(raw.items, raw.interactions, "online-retail")
    assert (data.n_users, data.n_items, len(data.user), data.duplicates) == (4_335, 3_659, 266_226, 130_144)
