"""Importing by column mapping: what comes out of good files, and what is said about bad ones."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from reclm_hf.data.importers.columns import ColumnMapping, Imported, import_tables
from reclm_hf.data.tables import TableError

RATINGS = """userId,movieId,rating,when
007,001,4,1365029107
007,2,2,1365029108
8,001,5,1365029109
"""
MOVIES = """movieId,name,plot,cast,genres
001,Heat (1995),A thief and a detective.,Pacino; De Niro,Crime|Drama
2,"Ronin, again",,,
"""
MAPPING = ColumnMapping(
    user="userId",
    item="movieId",
    time="when",
    rating="rating",
    title="name",
    text=("name", "plot", "cast"),
    categories="genres",
)


def run(
    folder: Path,
    ratings: str | bytes = RATINGS,
    movies: str | bytes = MOVIES,
    mapping: ColumnMapping = MAPPING,
    **rules,
) -> Imported:
    """Write both files and import them."""
    for name, content in (("ratings.csv", ratings), ("movies.csv", movies)):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return import_tables(str(folder / "ratings.csv"), str(folder / "movies.csv"), mapping, "mine", **rules)


def error(folder: Path, *args, **kwargs) -> str:
    """The message of the error that importing these files ends in."""
    with pytest.raises(TableError) as caught:
        run(folder, *args, **kwargs)
    return str(caught.value)


def test_ids_texts_times_and_categories(tmp_path: Path) -> None:
    data = run(tmp_path).data
    assert data.user_ids.tolist() == ["007", "8"]
    assert data.item_ids.tolist() == ["001", "2"]
    assert data.items["title"].tolist() == ["Heat (1995)", "Ronin, again"]
    assert data.items["text"][0] == "Heat (1995). A thief and a detective. Pacino; De Niro"
    assert data.items["text"][1] == "Ronin, again"
    assert data.items["categories"].tolist() == [["Crime", "Drama"], []]
    assert data.timestamp is not None
    assert data.timestamp.tolist() == [1365029107_000000, 1365029108_000000, 1365029109_000000]


def test_ids_that_look_like_missing_values_survive(tmp_path: Path) -> None:
    ratings = RATINGS.replace("007", "NA").replace("8,", "null,")
    assert run(tmp_path, ratings).data.user_ids.tolist() == ["NA", "null"]


def test_misspelt_column_names_file_and_near_names(tmp_path: Path) -> None:
    message = error(tmp_path, mapping=ColumnMapping(user="userID", item="movieId"))
    assert "ratings.csv" in message
    assert "'userID'" in message
    assert "Did you mean 'userId'?" in message


def test_missing_column_of_the_items(tmp_path: Path) -> None:
    message = error(tmp_path, mapping=ColumnMapping(user="userId", item="movieId", title="title"))
    assert "movies.csv" in message
    assert "'title'" in message
    message = error(tmp_path, mapping=ColumnMapping(user="userId", item="movieId"))
    assert "--title-column" in message


def test_unknown_items_name_rows_or_are_dropped(tmp_path: Path) -> None:
    ratings = RATINGS + "9,404,1,1365029110\n9,001,1,1365029111\n"
    message = error(tmp_path, ratings)
    assert "ratings.csv" in message
    assert "'movieId'" in message
    assert "'404'" in message
    assert "row 4." in message
    assert "--drop-unknown-items" in message
    kept = run(tmp_path, ratings, drop_unknown_items=True)
    assert kept.unknown_rows == 1
    assert len(kept.data.user) == 4
    assert "1 interactions with unknown items" in " ".join(kept.notes)


def test_items_that_match_nothing_are_an_error_even_when_dropping(tmp_path: Path) -> None:
    movies = MOVIES.replace("001,", "x,").replace("\n2,", "\ny,")
    assert "none of its items" in error(tmp_path, movies=movies, drop_unknown_items=True)


def test_duplicate_pairs_keep_the_first_and_are_counted(tmp_path: Path) -> None:
    imported = run(tmp_path, RATINGS + "007,001,1,1365029000\n007,001,1,1365029999\n")
    assert imported.data.duplicates == 2
    assert "2 repeated (user, item) rows" in imported.notes[0]
    assert imported.data.timestamp is not None
    assert imported.data.timestamp.min() == 1365029000_000000
    assert len(imported.data.user) == 3


@pytest.mark.parametrize("nothing", ["", "NaN", "nan", "  "])
def test_empty_text_falls_back_to_the_title(tmp_path: Path, nothing: str) -> None:
    mapping = ColumnMapping(user="userId", item="movieId", title="name", text=("plot",))
    movies = MOVIES.replace("A thief and a detective.", nothing)
    imported = run(tmp_path, movies=movies, mapping=mapping)
    assert imported.text_from_title == 2
    assert imported.data.items["text"].tolist() == ["Heat (1995)", "Ronin, again"]
    assert "2 items have no text" in " ".join(imported.notes)


def test_neither_title_nor_text_names_the_rows(tmp_path: Path) -> None:
    movies = MOVIES + "3,NaN,,,Drama\n4, ,nan,,\n"
    message = error(tmp_path, movies=movies)
    assert "movies.csv" in message
    assert "name, plot, cast" in message
    assert "row 3, 4." in message


def test_empty_and_repeated_ids_name_rows(tmp_path: Path) -> None:
    assert "column 'userId': no id in row 4" in error(tmp_path, RATINGS + ",2,3,1365029110\n")
    message = error(tmp_path, movies=MOVIES + "001,Heat again,,,\n")
    assert "column 'movieId': a repeated id ('001') in row 3" in message


def test_not_utf8_names_the_byte(tmp_path: Path) -> None:
    movies = MOVIES.replace("Heat", "Amélie").encode("cp1252")
    message = error(tmp_path, movies=movies)
    assert "movies.csv" in message
    assert f"byte {movies.index(0xE9)} (0xe9)" in message
    assert "--encoding cp1252" in message
    mapping = ColumnMapping(**{**MAPPING.__dict__, "encoding": "cp1252"})
    assert run(tmp_path, movies=movies, mapping=mapping).data.items["title"][0] == "Amélie (1995)"


def test_the_bad_byte_is_found_far_into_a_compressed_file(tmp_path: Path) -> None:
    content = RATINGS.encode() + b"8,2,3,1365029110\n" * 200_000
    offset = len(content)
    (tmp_path / "ratings.csv.gz").write_bytes(gzip.compress(content + b"\xff,2,3,1365029110\n", compresslevel=1))
    (tmp_path / "movies.csv").write_text(MOVIES)
    with pytest.raises(TableError, match=rf"byte {offset} \(0xff\)"):
        import_tables(str(tmp_path / "ratings.csv.gz"), str(tmp_path / "movies.csv"), MAPPING, "mine")


@pytest.mark.parametrize(
    ("ratings", "expected"),
    [
        ("", "empty (0 bytes)"),
        ("userId,movieId,rating,when\n", "has a header but no rows"),
        (RATINGS + "1,2,3,4,5,6\n", "cannot be read as a table"),
        ("userId,movieId,rating,when\n1,2,3,1365029107,x\n", "cannot be read as a table"),
        (RATINGS + "8,2,good,1365029110\n", "column 'rating': no number in row 4"),
    ],
    ids=["0 bytes", "no rows", "too many fields", "too many fields throughout", "rating is no number"],
)
def test_broken_files(tmp_path: Path, ratings: str, expected: str) -> None:
    message = error(tmp_path, ratings)
    assert "ratings.csv" in message
    assert expected in message


def test_absent_and_truncated_files(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"gone\.csv: there is no such file"):
        import_tables(str(tmp_path / "gone.csv"), None, MAPPING, "mine")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(RATINGS.encode() * 100)[:-20])
    with pytest.raises(TableError, match=r"cut\.csv\.gz: is not a whole gzip file"):
        import_tables(str(tmp_path / "cut.csv.gz"), None, MAPPING, "mine")


def test_unknown_encoding(tmp_path: Path) -> None:
    mapping = ColumnMapping(**{**MAPPING.__dict__, "encoding": "utf-9"})
    assert "utf-9" in error(tmp_path, mapping=mapping)


def test_tabs_and_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "r.tsv").write_bytes(b"\xef\xbb\xbf" + RATINGS.replace(",", "\t").encode())
    (tmp_path / "movies.csv").write_text(MOVIES)
    imported = import_tables(str(tmp_path / "r.tsv"), str(tmp_path / "movies.csv"), MAPPING, "mine")
    assert len(imported.data.user) == 3


def test_one_file_for_both_and_standard_names(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("user_id,item_id,title,timestamp\na,x,First,10\nb,x,Second,20\nb,y,,30\n")
    with pytest.raises(TableError, match="column 'title': neither a title nor a text in row 3"):
        import_tables(str(path), None, ColumnMapping(), "mine")
    path.write_text(path.read_text().replace("b,y,,", "b,y,Third,"))
    imported = import_tables(str(path), None, ColumnMapping(), "mine")
    assert imported.data.items["title"].tolist() == ["First", "Third"]
    assert "before 1971" in " ".join(imported.notes)


def test_one_user_only_is_said(tmp_path: Path) -> None:
    imported = run(tmp_path, RATINGS.replace("\n8,001,5,1365029109", ""))
    assert "one user only" in " ".join(imported.notes)


def test_min_rating(tmp_path: Path) -> None:
    data = run(tmp_path, min_rating=4).data
    assert len(data.user) == 2
    assert data.min_rating == 4
    assert "min_rating=9" in error(tmp_path, min_rating=9)


def test_parquet_numbers_become_ids_and_lists_stay_lists(tmp_path: Path) -> None:
    when = pd.Timestamp("2020-01-01T00:00:00", tz="Europe/Brussels")
    frame = pd.DataFrame({"user_id": [1.0, 2.0], "item_id": [7, 8], "timestamp": [when, when]})
    frame.to_parquet(tmp_path / "rows.parquet")
    items = pd.DataFrame({"item_id": [7, 8], "title": ["A", None], "text": [None, "b"], "categories": [["x", "y"], []]})
    items.to_parquet(tmp_path / "items.parquet")
    source = str(tmp_path / "rows.parquet")
    data = import_tables(source, str(tmp_path / "items.parquet"), ColumnMapping(), "mine").data
    assert data.user_ids.tolist() == ["1", "2"]
    assert data.item_ids.tolist() == ["7", "8"]
    assert data.items["title"].tolist() == ["A", "b"]
    assert data.items["categories"].tolist() == [["x", "y"], []]
    assert data.timestamp is not None
    assert data.timestamp[0] == 1577833200_000000
    frame.assign(user_id=[1.5, 2.0]).to_parquet(source)
    with pytest.raises(TableError, match="a number that is no whole id in row 1"):
        import_tables(source, str(tmp_path / "items.parquet"), ColumnMapping(), "mine")


def test_broken_parquet(tmp_path: Path) -> None:
    for content, expected in ((b"", "0 bytes"), (b"PAR1 not really", "cannot be read as Parquet")):
        (tmp_path / "rows.parquet").write_bytes(content)
        with pytest.raises(TableError, match=expected):
            import_tables(str(tmp_path / "rows.parquet"), None, ColumnMapping(), "mine")


def test_hub_names_reach_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    calls = []

    def load(name: str, config: str | None, *, split: str, revision: str | None) -> datasets.Dataset:
        calls.append((name, config, split, revision))
        rows = {"user_id": ["007", "8"], "item_id": ["1", "2"], "timestamp": [10**9, 10**9 + 1], "title": ["A", "B"]}
        return datasets.Dataset.from_dict(rows)

    monkeypatch.setattr(datasets, "load_dataset", load)
    data = import_tables("org/rows", None, ColumnMapping(), "mine").data
    assert data.user_ids.tolist() == ["007", "8"]
    import_tables("hub://org/rows:interactions:test@v1.0", "org/items:items", ColumnMapping(), "mine")
    assert calls == [
        ("org/rows", None, "train", None),
        ("org/rows", "interactions", "test", "v1.0"),
        ("org/items", "items", "train", None),
    ]


def test_unreachable_hub_and_bad_names(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="could not be loaded from the Hub"):
        import_tables("nobody-at-all/nothing-here", None, ColumnMapping(), "mine")
    with pytest.raises(TableError, match="not a data set name"):
        import_tables("hub://nothing", None, ColumnMapping(), "mine")
    with pytest.raises(TableError, match="there is no such file"):
        import_tables("folder/rows.csv", None, ColumnMapping(), "mine")
