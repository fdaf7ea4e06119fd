"""The Netflix Prize (Bennett and Lanning 2007): ratings by day, cut into two consecutive years."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..tables import TableError
from .files import bad_line, numbered_lines, require_files
from .raw import RawTables
from .snapshots import Snapshots, choose_snapshots, users_in_both

if TYPE_CHECKING:
    import pandas as pd

DOCUMENTED = "https://www.kaggle.com/datasets/netflix-inc/netflix-prize-data"
INFO = {
    "licence": "Netflix Prize rules: research use, no redistribution",
    "attribution": "James Bennett and Stan Lanning. The Netflix Prize. KDD Cup and Workshop 2007.",
    "homepage": DOCUMENTED,
}
LAST_YEAR = "2005"
"""The last year of the ratings."""
_CHUNK_ROWS = 2_000_000
_DAY = 86_400_000_000  # microseconds
_NONE = -(2**31)
_EXPECTED = "user,rating,YYYY-MM-DD"


@dataclass(frozen=True)
class _Ratings:
    """Ratings of one chunk or of all: user, movie [n] int32, rating [n] int8, day [n] int32 since 1970."""

    user: np.ndarray
    movie: np.ndarray
    rating: np.ndarray
    day: np.ndarray

    def take(self, rows: np.ndarray) -> _Ratings:
        return _Ratings(self.user[rows], self.movie[rows], self.rating[rows], self.day[rows])


def read_netflix(
    folder: str | Path, train_year: str | None = None, test_year: str | None = None, max_users: int | None = None
) -> RawTables:
    """Read the ratings of two years: the first to learn from, the second to test on, users active in both.

    The files are read in chunks, and rows outside the two years dropped at once. The last two years hold most of the
    100 million ratings: `max_users` keeps what follows within the memory of a laptop.

    Args:
        folder: holds `combined_data_*.txt` (`movie:`, then lines `user,rating,YYYY-MM-DD`) and `movie_titles.csv`
            (`id,year,title` in Latin-1; a title may hold commas).
        train_year, test_year: such as `2004`. By default 2004 and 2005.
        max_users: keep so many of the users, drawn by a hash of their ids.

    Returns:
        Ratings at the start of their day (UTC), and the movies that they name, `text` = "Title (year)".
        `info["test_cut"]` is the start of the test year.

    Raises:
        TableError: a file is absent, a row cannot be read, or a year has no ratings.
    """
    import pandas as pd

    folder = Path(folder)
    require_files(folder, ["movie_titles.csv"], DOCUMENTED)
    paths = sorted(folder.glob("combined_data_*.txt"))
    if not paths:
        require_files(folder, ["combined_data_1.txt"], DOCUMENTED)
    snapshots = choose_snapshots(train_year, test_year, "Y", str(folder), LAST_YEAR)
    years: set[str] = set()
    ratings = _concatenate([part for path in paths for part in _read_ratings(path, snapshots, years)])
    in_test = ratings.day >= _first_day(snapshots.test)
    kept = users_in_both(pd.Series(ratings.user), in_test, snapshots, str(folder), years, max_users)
    interactions = _table(ratings.take(np.flatnonzero(kept)))
    titles = _read_titles(folder / "movie_titles.csv")
    rated = titles[titles["item_id"].isin(interactions["item_id"])]
    return RawTables(rated, interactions, {**INFO, "test_cut": snapshots.test_cut}, snapshots.notes(max_users))


def _first_day(period: pd.Period) -> int:
    """Days since 1970 of the first day of a period."""
    return int(period.start_time.value) // 1000 // _DAY


def _concatenate(parts: list[_Ratings]) -> _Ratings:
    names = ("user", "movie", "rating", "day")
    return _Ratings(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _table(ratings: _Ratings) -> pd.DataFrame:
    import pandas as pd

    stamps = pd.to_datetime(ratings.day.astype(np.int64) * _DAY, unit="us", utc=True)
    return pd.DataFrame(
        {
            "user_id": pd.Series(ratings.user).astype(str).astype(object),
            "item_id": pd.Series(ratings.movie).astype(str).astype(object),
            "timestamp": stamps.astype("datetime64[us, UTC]"),
            "rating": ratings.rating.astype("float64"),
        }
    )


def _read_ratings(path: Path, snapshots: Snapshots, years: set[str]) -> list[_Ratings]:
    """The ratings of one file that lie in one of the two years; `years` learns which years the file has."""
    import pandas as pd

    parts, movie, read = [], _NONE, 0
    try:
        with warnings.catch_warnings():
            # pandas drops surplus fields with a warning only.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            chunks = pd.read_csv(
                path,
                header=None,
                names=["user", "rating", "date"],
                index_col=False,
                dtype={"user": str, "rating": "category", "date": "category"},
                skip_blank_lines=False,
                encoding="latin-1",
                chunksize=_CHUNK_ROWS,
            )
            for chunk in chunks:
                part, movie = _read_chunk(chunk.reset_index(drop=True), movie, path, read, snapshots, years)
                parts.append(part)
                read += len(chunk)
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as error:
        raise TableError(f"{path}: is not lines {_EXPECTED!r} below lines 'movie:' ({str(error).strip()}).") from error
    return parts


def _read_chunk(
    chunk: pd.DataFrame, movie: int, path: Path, read: int, snapshots: Snapshots, years: set[str]
) -> tuple[_Ratings, int]:
    """The ratings of one chunk, and the movie that its last line belongs to.

    Args:
        movie: the movie that the first line belongs to. read: lines before the chunk.
    """
    import pandas as pd

    head = chunk["user"].str.endswith(":", na=False).to_numpy(dtype=bool) & chunk["date"].isna().to_numpy()
    heads = pd.to_numeric(chunk["user"][head].str[:-1], errors="coerce").fillna(_NONE).to_numpy(dtype=np.int32)
    movies = np.concatenate([np.array([movie], dtype=np.int32), heads])[np.cumsum(head)]
    day = _by_category(chunk["date"], _days(chunk["date"].cat.categories, years))
    stars = pd.to_numeric(chunk["rating"].cat.categories, errors="coerce")
    rating = _by_category(chunk["rating"], np.where(stars.isin(range(1, 6)), stars, _NONE).astype(np.int32))
    inside = np.zeros(len(chunk), dtype=bool)
    for period in (snapshots.train, snapshots.test):
        inside |= (day >= _first_day(period)) & (day < _first_day(period + 1))
    inside &= ~head
    user = np.full(len(chunk), _NONE, dtype=np.int64)
    user[inside] = pd.to_numeric(chunk["user"][inside], errors="coerce").fillna(_NONE).to_numpy(dtype=np.int64)
    broken = (day == _NONE) | (rating == _NONE) | (inside & (user < 0))
    bad = ((broken & ~head) | (movies == _NONE)) & chunk.notna().any(axis=1).to_numpy()
    if bad.any():
        raise _bad_row(path, read + int(np.flatnonzero(bad)[0]))
    rows = np.flatnonzero(inside)
    found = _Ratings(user[rows].astype(np.int32), movies[rows], rating[rows].astype(np.int8), day[rows])
    return found, int(movies[-1])


def _bad_row(path: Path, row: int) -> TableError:
    """The error for a line (the first is 0), which is looked up in the file as it stands there."""
    with open(path, encoding="latin-1") as file:
        line = next(islice(file, row, None)).rstrip("\n")
    return bad_line(path, row + 1, line, f"{_EXPECTED} below a line movie:")


def _days(categories: pd.Index, years: set[str]) -> np.ndarray:
    """int32 days since 1970 of texts YYYY-MM-DD, `_NONE` where they are no dates."""
    import pandas as pd

    dates = pd.to_datetime(pd.Series(categories), format="%Y-%m-%d", errors="coerce")
    years.update(str(year) for year in dates.dropna().dt.year.unique())
    days = dates.to_numpy(dtype="datetime64[D]").astype(np.int64)
    return np.where(dates.isna().to_numpy(), _NONE, days).astype(np.int32)


def _by_category(column: pd.Series, values: np.ndarray) -> np.ndarray:
    """The value of every row from the values of the column's categories; `_NONE` for empty fields."""
    return np.append(values, np.int32(_NONE))[column.cat.codes.to_numpy()]


def _read_titles(path: Path) -> pd.DataFrame:
    """The movies; the year of a few is `NULL`."""
    import pandas as pd

    rows = []
    for number, line in numbered_lines(path, "latin-1"):
        fields = line.split(",", 2)
        if len(fields) != 3 or not fields[0].isdecimal() or not fields[2].strip():
            raise bad_line(path, number, line, "id,year,title")
        movie, year, title = fields
        rows.append((movie, f"{title.strip()} ({year})" if year.isdecimal() else title.strip()))
    frame = pd.DataFrame(rows, columns=["item_id", "title"])
    return frame.assign(text=frame["title"])
