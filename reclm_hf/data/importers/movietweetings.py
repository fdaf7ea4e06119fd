"""MovieTweetings (Dooms et al., CrowdRec 2013): `ratings.dat` and `movies.dat`, fields separated by `::`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .fields import genre_list, with_genres
from .files import bad_line, numbered_lines, require_files

if TYPE_CHECKING:
    import pandas as pd

_SEPARATOR = "::"
DOCUMENTED = "https://github.com/sidooms/MovieTweetings"
INFO = {
    "licence": "MIT",
    "attribution": "MovieTweetings, copyright (c) 2013 Simon Dooms, MIT licence",
    "homepage": DOCUMENTED,
}


def read_movietweetings(folder: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read one snapshot of MovieTweetings.

    Args:
        folder: holds `movies.dat` (`id::title (year)::genre|genre`) and `ratings.dat` (`user::id::rating::unix s`).

    Returns:
        items: `item_id`, `title` (with its year), `text` ("Title (year). Genres: A, B"), `categories`, `created_at`
            (unknown). Ids keep their leading zeros.
        interactions: `user_id`, `item_id`, `timestamp` (microseconds, UTC), `rating` (0 to 10), in the file's order.

    Raises:
        TableError: a file is absent, empty, not UTF-8, or a row of it cannot be read.
    """
    folder = Path(folder)
    require_files(folder, ("movies.dat", "ratings.dat"), DOCUMENTED)
    return read_movies(folder / "movies.dat"), read_ratings(folder / "ratings.dat")


def read_movies(path: Path, encoding: str = "utf-8") -> pd.DataFrame:
    """The items of a file of lines `id::title (year)::genre|genre`; columns as in `read_movietweetings`.

    Raises:
        TableError: absent, empty, not in `encoding`, or a row of it cannot be read.
    """
    import pandas as pd

    rows = []
    for number, line in numbered_lines(path, encoding):
        # A title may hold the separator, an id and genres cannot: hence the split from both ends.
        item_id, _, rest = line.partition(_SEPARATOR)
        title, separator, genres = rest.rpartition(_SEPARATOR)
        if not item_id or not separator or not title.strip():
            raise bad_line(path, number, line, "id::title (year)::genre|genre")
        categories = genre_list(genres)
        title = title.strip()
        rows.append((item_id, title, with_genres(title, categories), categories))
    frame = pd.DataFrame(rows, columns=["item_id", "title", "text", "categories"])
    frame["created_at"] = pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us, UTC]")
    return frame


def read_ratings(path: Path, separator: str = _SEPARATOR) -> pd.DataFrame:
    """The interactions of a file of lines user, item, rating, unix seconds; columns as in `read_movietweetings`.

    Raises:
        TableError: absent, empty, or a row of it cannot be read.
    """
    import pandas as pd

    users, items, ratings, seconds = [], [], [], []
    for number, line in numbered_lines(path):
        fields = line.split(separator)
        try:
            user, item, rating, second = fields
            ratings.append(float(rating))
            seconds.append(int(second))
        except ValueError:
            expected = separator.join(("user", "id", "rating", "unix seconds"))
            raise bad_line(path, number, line, expected) from None
        users.append(user)
        items.append(item)
    times = pd.to_datetime(pd.Series(seconds, dtype="int64"), unit="s", utc=True).astype("datetime64[us, UTC]")
    return pd.DataFrame({"user_id": users, "item_id": items, "timestamp": times, "rating": ratings})
