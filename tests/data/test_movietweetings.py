"""The MovieTweetings importer, on small files and on the real snapshot."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from reclm_hf.data.importers.movietweetings import read_movietweetings
from reclm_hf.data.tables import TableError

MOVIES = "0002844::Fantômas - À l'ombre de la guillotine (1913)::Crime|Drama\n0000007::Face::Off (1997)::\n"
RATINGS = "1::0002844::7::1365029107\n2::0000007::10::1365029108\n"


def snapshot(folder: Path, movies: str | bytes = MOVIES, ratings: str | bytes = RATINGS) -> Path:
    """Write both files of a snapshot."""
    for name, content in (("movies.dat", movies), ("ratings.dat", ratings)):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def test_titles_keep_their_year_and_ids_their_zeros(tmp_path: Path) -> None:
    items, ratings = read_movietweetings(snapshot(tmp_path))
    assert items["item_id"].tolist() == ["0002844", "0000007"]
    assert items["title"][0] == "Fantômas - À l'ombre de la guillotine (1913)"
    assert items["text"][0] == "Fantômas - À l'ombre de la guillotine (1913). Genres: Crime, Drama"
    assert items["title"][1] == items["text"][1] == "Face::Off (1997)"
    assert items["categories"].tolist() == [["Crime", "Drama"], []]
    assert ratings["timestamp"][0] == pd.Timestamp(1365029107, unit="s", tz="UTC")
    assert str(ratings["timestamp"].dtype) == "datetime64[us, UTC]"
    assert ratings["rating"].tolist() == [7.0, 10.0]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"ratings": RATINGS + "3::0000007::x::1365029107\n"}, r"ratings\.dat: row 3 is '3::0000007::x::1365029107'"),
        ({"ratings": "1::0002844::7\n"}, r"ratings\.dat: row 1 is"),
        ({"movies": "\n0002844,Fantômas,Crime\n"}, r"movies\.dat: row 2 is"),
        ({"movies": "::No id (2000)::Drama\n"}, r"movies\.dat: row 1 is"),
        ({"movies": b""}, r"movies\.dat: the file is empty \(0 bytes\)"),
        ({"movies": "0002844::Fantômas".encode("latin-1")}, r"movies\.dat: byte 13 \(0xf4\) is not utf-8"),
    ],
)
def test_bad_files_are_named_with_their_row(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    with pytest.raises(TableError, match=expected):
        read_movietweetings(snapshot(tmp_path, **files))


def test_absent_folder(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"movies\.dat: there is no such file"):
        read_movietweetings(tmp_path / "gone")


@pytest.mark.shared_data
def test_real_snapshot(shared_data: Path) -> None:
    items, ratings = read_movietweetings(shared_data / "movietweetings" / "100K")
    assert (len(items), len(ratings)) == (10_506, 100_000)
    assert items["item_id"].str.len().min() == 7
    assert ratings["user_id"].nunique() == 16_554
