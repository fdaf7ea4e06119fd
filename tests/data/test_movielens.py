"""MovieLens in its four shapes, from files in the documented formats and from the real 100K."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from reclm_hf.data.importers.movielens import GENRES_100K, read_movielens
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.tables import TableError

STAMP = pd.Timestamp(881250949, unit="s", tz="UTC")


def flags(*genres: str) -> str:
    """The 19 genre flags of a row of u.item."""
    return "|".join(str(int(name in genres)) for name in GENRES_100K)


def item_100k(item: str, title: str, *genres: str) -> str:
    return f"{item}|{title}|01-Jan-1995||http://example.org/{item}|{flags(*genres)}\n"


FILES = {
    "100K": {
        "u.data": "196\t1\t3\t881250949\n22\t2\t1\t881250950\n",
        "u.item": (
            item_100k("1", "Misérables, Les (1995)", "Drama", "Musical") + item_100k("2", "?", "unknown")
        ).encode("latin-1"),
    },
    "1M": {
        "ratings.dat": "196::1::3::881250949\n22::2::1::881250950\n",
        "movies.dat": "1::Misérables, Les (1995)::Drama|Musical\n2::?::\n".encode("latin-1"),
    },
    "10M": {
        "ratings.dat": "196::1::3.0::881250949\n22::2::1::881250950\n",
        "movies.dat": "1::Misérables, Les (1995)::Drama|Musical\n2::?::(no genres listed)\n".encode(),
    },
    "latest": {
        "ratings.csv": "userId,movieId,rating,timestamp\n196,1,3.0,881250949\n22,2,1.0,881250950\n",
        "movies.csv": 'movieId,title,genres\n1,"Misérables, Les (1995)",Drama|Musical\n2,?,(no genres listed)\n',
    },
    "atomic": {
        "ml.inter": (
            "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t1\t3\t881250949\n22\t2\t1\t881250950\n"
        ),
        "ml.item": (
            "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
            "1\tMisérables, Les\t1995\tDrama Musical\n2\t?\tunknown\tunknown\n"
        ).encode(),
    },
}


def write(folder: Path, release: str, **changed: str | bytes | None) -> Path:
    """The files of a release; a keyword such as `u_item` changes `u.item` (None: the file is absent)."""
    for name, content in FILES[release].items():
        content = changed.get(name.replace(".", "_"), content)
        if content is not None:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@pytest.mark.parametrize("release", FILES)
def test_every_release_gives_the_same_tables(tmp_path: Path, release: str) -> None:
    raw = read_movielens(write(tmp_path, release))
    assert raw.items["item_id"].tolist() == ["1", "2"]
    assert raw.items["title"].tolist() == ["Misérables, Les (1995)", "?"]
    assert raw.items["text"].tolist() == ["Misérables, Les (1995). Genres: Drama, Musical", "?"]
    assert raw.items["categories"].tolist() == [["Drama", "Musical"], []]
    rows = raw.interactions
    assert rows[["user_id", "item_id", "rating"]].values.tolist() == [["196", "1", 3.0], ["22", "2", 1.0]]
    assert rows["timestamp"].tolist() == [STAMP, STAMP + pd.Timedelta(seconds=1)]
    assert "Harper" in raw.info["attribution"]
    assert Interactions.from_tables(raw.items, rows, "ml", min_rating=3).n_users == 1


def test_the_flags_are_the_documented_genres(tmp_path: Path) -> None:
    rows = "".join(item_100k(str(number), f"Film {number}", name) for number, name in enumerate(GENRES_100K))
    items = read_movielens(write(tmp_path, "100K", u_item=rows)).items
    assert len(GENRES_100K) == 19
    assert items["categories"].tolist() == [[], *([name] for name in GENRES_100K[1:])]


@pytest.mark.parametrize(
    ("release", "changed", "expected"),
    [
        ("100K", {"u_data": "196\t1\t3\n"}, r"u\.data: row 1 is '196\\t1\\t3', expected"),
        ("100K", {"u_item": "1|Heat (1995)|01-Jan-1995||url|0|1\n"}, r"u\.item: row 1 is '1\|Heat"),
        ("100K", {"u_item": item_100k("1", "Heat").replace("|0\n", "|2\n")}, r"u\.item: row 1 is"),
        ("100K", {"u_item": None}, r"u\.item: there is no such file.*grouplens\.org"),
        ("1M", {"movies_dat": None}, r"movies\.dat: there is no such file.*grouplens\.org"),
        ("1M", {"ratings_dat": "1::1::5::x\n"}, r"ratings\.dat: row 1 is '1::1::5::x'"),
        ("latest", {"movies_csv": None}, r"movies\.csv: there is no such file.*grouplens\.org"),
        (
            "latest",
            {"ratings_csv": "userId,movieId,rating,timestamp\n1,1,good,1\n"},
            r"ratings\.csv.*no number in row 1",
        ),
        ("latest", {"ratings_csv": "userId,movieId,rating\n1,1,5\n"}, r"ratings\.csv: there is no column 'timestamp'"),
        ("atomic", {"ml_item": None}, r"ml\.item: there is no such file.*recbole"),
        ("atomic", {"ml_item": "item_id:token\n1\n"}, r"ml\.item: there is no column 'movie_title'"),
    ],
)
def test_bad_files_are_named_with_their_row(tmp_path: Path, release: str, changed: dict, expected: str) -> None:
    with pytest.raises(TableError, match=expected):
        read_movielens(write(tmp_path, release, **changed))


def test_another_folder(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"holds none of u\.data.*ratings\.csv.*grouplens\.org"):
        read_movielens(tmp_path)


@pytest.mark.shared_data
def test_real_100k(shared_data: Path) -> None:
    raw = read_movielens(shared_data / "ml-100k")
    data = Interactions.from_tables(raw.items, raw.interactions, "ml-100k")
    assert (data.n_users, data.n_items, len(data.user), data.duplicates) == (943, 1_682, 100_000, 0)
    assert data.items["text"][0] == "Toy Story (1995). Genres: Animation, Children's, Comedy"


@pytest.mark.shared_data
def test_real_1m_titles_are_latin1(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "movies.dat").write_bytes((shared_data / "ml-1m-llm" / "movies.dat").read_bytes())
    (tmp_path / "ratings.dat").write_text("1::1::5::978300760\n")
    items = read_movielens(tmp_path).items.set_index("item_id")
    assert len(items) == 3_883
    assert items.loc["73", "text"] == "Misérables, Les (1995). Genres: Drama, Musical"
