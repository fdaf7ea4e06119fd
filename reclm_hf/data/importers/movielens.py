"""MovieLens (Harper and Konstan 2015): 100K, 1M and 10M, the CSV releases, and RecBole's atomic files of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..tables import TableError, require_columns
from .fields import genre_list, numbers, with_genres
from .files import bad_line, numbered_lines, read_table, require_files, utf8_or_latin1
from .movietweetings import read_movies, read_ratings
from .raw import RawTables
from .times import parse_times

if TYPE_CHECKING:
    import pandas as pd

DOCUMENTED = "https://grouplens.org/datasets/movielens/"
INFO = {
    "licence": "GroupLens usage licence: research use, no redistribution without permission (README of the data set)",
    "attribution": "F. Maxwell Harper and Joseph A. Konstan. The MovieLens Datasets: History and Context. "
    "ACM Transactions on Interactive Intelligent Systems 5(4), 2015.",
    "homepage": DOCUMENTED,
}
# The 19 flags of u.item, in the order of u.genre.
GENRES_100K = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
_FIELDS_BEFORE_FLAGS = 5


def read_movielens(folder: str | Path) -> RawTables:
    """Read one MovieLens release; which one is found out from the files in the folder.

    Args:
        folder: holds `u.data` and `u.item` (100K), `ratings.dat` and `movies.dat` (1M, 10M), `ratings.csv` and
            `movies.csv` (latest, 20M and later), or `NAME.inter` and `NAME.item` (RecBole's atomic files).

    Returns:
        Items with `text` = "Title (year). Genres: A, B", interactions with `timestamp` (microseconds, UTC) and
        `rating`, in the file's order.

    Raises:
        TableError: none of these files is there, one of a pair is absent, or a row cannot be read.
    """
    folder = Path(folder)
    if (folder / "u.data").is_file():
        items, interactions = _read_100k(folder)
    elif (folder / "ratings.dat").is_file():
        require_files(folder, ["movies.dat"], DOCUMENTED)
        movies = folder / "movies.dat"
        # 1M is in Latin-1, 10M in UTF-8.
        items, interactions = read_movies(movies, utf8_or_latin1(movies)), read_ratings(folder / "ratings.dat")
    elif (folder / "ratings.csv").is_file():
        items, interactions = _read_csv_release(folder)
    elif found := sorted(folder.glob("*.inter")):
        items, interactions = _read_atomic(found[0])
    else:
        raise TableError(
            f"{folder}: holds none of u.data (100K), ratings.dat (1M, 10M), ratings.csv (latest, 20M and later), "
            f"*.inter (RecBole). The files are described at {DOCUMENTED}."
        )
    return RawTables(items, interactions, dict(INFO))


def _read_100k(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    require_files(folder, ["u.item"], DOCUMENTED)
    path = folder / "u.item"
    rows = []
    for number, line in numbered_lines(path, utf8_or_latin1(path)):
        fields = line.split("|")
        flags = fields[_FIELDS_BEFORE_FLAGS:]
        if len(flags) != len(GENRES_100K) or not set(flags) <= {"0", "1"} or not fields[1].strip():
            raise bad_line(path, number, line, "id|title (year)|release date|video release date|URL|19 genre flags")
        genres = [name for name, flag in zip(GENRES_100K, flags, strict=True) if flag == "1" and name != "unknown"]
        rows.append((fields[0], fields[1].strip(), genres))
    return _items(rows), read_ratings(folder / "u.data", "\t")


def _read_csv_release(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    require_files(folder, ["movies.csv"], DOCUMENTED)
    source = str(folder / "movies.csv")
    movies = read_table(source)
    require_columns(movies, ["movieId", "title", "genres"], source)
    columns = zip(movies["movieId"], movies["title"].str.strip(), movies["genres"].map(genre_list), strict=True)
    return _items(list(columns)), _interactions(str(folder / "ratings.csv"), "userId", "movieId", ",")


def _read_atomic(inter: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """RecBole's atomic files: tab-separated, a header of `name:type`, nothing quoted, lists separated by spaces."""
    require_files(inter.parent, [f"{inter.stem}.item"], "https://recbole.io/docs/user_guide/data/atomic_files.html")
    source = str(inter.with_suffix(".item"))
    movies = read_table(source, delimiter="\t", quoted=False)
    movies.columns = [str(column).partition(":")[0] for column in movies.columns]
    genres = "class" if "class" in movies.columns else "genre"
    require_columns(movies, ["item_id", "movie_title", "release_year", genres], source)
    rows = [
        (item, f"{title} ({year})" if year.isdecimal() else title, genre_list(names, " "))
        for item, title, year, names in movies[["item_id", "movie_title", "release_year", genres]].itertuples(False)
    ]
    return _items(rows), _interactions(str(inter), "user_id", "item_id", "\t")


def _interactions(source: str, user: str, item: str, delimiter: str) -> pd.DataFrame:
    import pandas as pd

    rows = read_table(source, delimiter=delimiter, quoted=False)
    rows.columns = [str(column).partition(":")[0] for column in rows.columns]
    require_columns(rows, [user, item, "rating", "timestamp"], source)
    return pd.DataFrame(
        {
            "user_id": rows[user].astype(object),
            "item_id": rows[item].astype(object),
            "timestamp": parse_times(rows["timestamp"], source, "timestamp"),
            "rating": numbers(rows["rating"], source, "rating"),
        }
    )


def _items(rows: list[tuple[str, str, list[str]]]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(rows, columns=["item_id", "title", "categories"])
    frame["text"] = [with_genres(title, genres) for _, title, genres in rows]
    return frame
