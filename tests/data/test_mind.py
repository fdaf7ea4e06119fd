"""MIND's impression log: clicks, two consecutive days, users active in both."""

from __future__ import annotations

from pathlib import Path

import pytest

from reclm_hf.data.folder import write_dataset
from reclm_hf.data.importers.mind import read_mind
from reclm_hf.data.importers.raw import RawTables
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.load import load_splits
from reclm_hf.data.tables import TableError

BEHAVIOURS = (
    "1\tU1\t11/12/2019 11:59:59 PM\tN8 N9\tN1-1 N2-0\n"
    "2\tU1\t11/13/2019 9:05:58 AM\tN8\tN1-0 N2-1 N3-1\n"
    "3\tU2\t11/13/2019 12:00:00 AM\t\tN3-1\n"
    "4\tU3\t11/13/2019 1:00:00 PM\t\tN1-0 N2-0\n"
    "5\tU1\t11/14/2019 12:00:00 AM\tN8\tN4-1 N2-1\n"
    "6\tU3\t11/14/2019 8:00:00 AM\t\tN4-1\n"
    "7\tU2\t11/14/2019 11:59:59 PM\t\tN1-1 N3-0\n"
)
NEWS = "".join(
    f'N{number}\tsports\tgolf\tTitle "{number}\t{abstract}\thttps://example.org/{number}\t[]\t[]\n'
    for number, abstract in enumerate(("It began.", "", "Late news", "x", "y"), start=1)
)


def write(folder: Path, behaviours: str = BEHAVIOURS, news: str = NEWS) -> Path:
    """The two files of one part of the log."""
    folder.mkdir(exist_ok=True)
    (folder / "behaviors.tsv").write_text(behaviours)
    (folder / "news.tsv").write_text(news)
    return folder


def pairs(raw: RawTables) -> set[tuple[str, str, str]]:
    rows = raw.interactions
    return set(zip(rows["user_id"], rows["item_id"], rows["timestamp"].dt.strftime("%d %H:%M:%S"), strict=True))


EXPECTED = {
    ("U1", "N2", "13 09:05:58"),
    ("U1", "N3", "13 09:05:58"),
    ("U2", "N3", "13 00:00:00"),
    ("U1", "N4", "14 00:00:00"),
    ("U1", "N2", "14 00:00:00"),
    ("U2", "N1", "14 23:59:59"),
}


def test_the_last_two_days_by_default(tmp_path: Path) -> None:
    raw = read_mind(write(tmp_path))
    assert pairs(raw) == EXPECTED, "U3 has no click on the 13th; the 12th is outside"
    assert raw.info["test_cut"] == 1_573_689_600_000_000  # 2019-11-14 00:00 UTC
    assert "train = 2019-11-13, test = 2019-11-14" in raw.notes[0]
    assert raw.items["item_id"].tolist() == ["N1", "N2", "N3", "N4"], "N5 is clicked by nobody"
    texts = raw.items.set_index("item_id")["text"]
    assert texts["N1"] == 'Title "1. It began. sports. golf'
    assert texts["N2"] == 'Title "2. sports. golf'
    assert raw.items["categories"][0] == ["sports", "golf"]


def test_named_days(tmp_path: Path) -> None:
    folder = write(tmp_path)
    expected = {("U1", "N1", "12 23:59:59"), ("U1", "N2", "13 09:05:58"), ("U1", "N3", "13 09:05:58")}
    assert pairs(read_mind(folder, "2019-11-12", "2019-11-13")) == expected
    assert pairs(read_mind(folder, "2019-11-12")) == expected, "the day after is the default"
    assert pairs(read_mind(folder, test_day="2019-11-13")) == expected, "and the day before"


def test_the_folder_is_cut_between_the_days(tmp_path: Path) -> None:
    more = "8\tU1\t11/13/2019 10:00:00 AM\t\tN5-1\n"  # something to validate on
    raw = read_mind(write(tmp_path / "log", BEHAVIOURS + more))
    write_dataset(Interactions.from_tables(raw.items, raw.interactions, "mind"), tmp_path / "out", raw.info)
    test = load_splits(str(tmp_path / "out")).test
    assert (len(test.history_user), len(test.target_user)) == (4, 2), "the repeated click on N2 is no target"
    assert {str(item) for item in test.item_ids[test.cold]} == {"N1", "N4"}


def test_several_parts(tmp_path: Path) -> None:
    first, last = BEHAVIOURS.splitlines(keepends=True)[:4], BEHAVIOURS.splitlines(keepends=True)[4:]
    write(tmp_path / "MINDsmall_train", "".join(first))
    write(tmp_path / "MINDsmall_dev", "".join(last))
    raw = read_mind(tmp_path)
    assert pairs(raw) == EXPECTED
    assert raw.items["item_id"].is_unique


def test_fewer_users(tmp_path: Path) -> None:
    raw = read_mind(write(tmp_path), max_users=1)
    assert raw.interactions["user_id"].nunique() == 1
    assert "At most 1" in raw.notes[1]
    with pytest.raises(ValueError, match="max_users=0"):
        read_mind(tmp_path, max_users=0)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"behaviours": BEHAVIOURS + "8\tU1\t11/14/2019 9:00:00 AM\t\n"}, r"behaviors\.tsv: row 8 is"),
        ({"behaviours": "1\tU1\t11/14/2019 9:00:00 AM\t\tN1 N2\n"}, r"behaviors\.tsv: row 1 is .*test part lacks"),
        ({"behaviours": BEHAVIOURS.replace("11/13/2019 9:05:58 AM", "noon")}, r"behaviors\.tsv: column 'time'.* row 2"),
        ({"behaviours": "1\tU1\t11/14/2019 9:00:00 AM\t\tN1-0\n"}, r"behaviors\.tsv: holds no click"),
        ({"news": NEWS + "N6\tsports\tgolf\n"}, r"news\.tsv: row 6 is"),
        ({"news": NEWS + "N6\tsports\tgolf\t\tno title\turl\t[]\t[]\n"}, r"news\.tsv: row 6 is"),
    ],
)
def test_bad_rows(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    with pytest.raises(TableError, match=expected):
        read_mind(write(tmp_path, **files))


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (("13.11.2019", None), "--train-period '13.11.2019' is not a day; write it like 2019-11-13"),
        (("2019", None), "--train-period '2019' is not a day"),
        ((None, "2019-12-24"), "no interactions in 2019-12-23; there are some in 2019-11-12, 2019-11-13, 2019-11-14"),
        (("2019-11-14", "2019-11-13"), "train period 2019-11-14 is not before the test period 2019-11-13"),
    ],
)
def test_days_that_cannot_be_taken(tmp_path: Path, days: tuple[str | None, str | None], expected: str) -> None:
    with pytest.raises(TableError, match=expected):
        read_mind(write(tmp_path), *days)


def test_nobody_in_both_days(tmp_path: Path) -> None:
    behaviours = "1\tU1\t11/13/2019 9:00:00 AM\t\tN1-1\n2\tU2\t11/14/2019 9:00:00 AM\t\tN1-1\n"
    with pytest.raises(TableError, match="nobody is active in both 2019-11-13 and 2019-11-14"):
        read_mind(write(tmp_path, behaviours))


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"behaviors\.tsv: there is no such file.*msnews"):
        read_mind(tmp_path)
    write(tmp_path)
    (tmp_path / "news.tsv").unlink()
    with pytest.raises(TableError, match=r"news\.tsv: there is no such file.*msnews"):
        read_mind(tmp_path)
