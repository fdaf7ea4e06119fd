"""MovieTweetings (Dooms et al., CrowdRec 2013): `ratings.dat` and `movies.dat`, fields separated by `::`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..tables import TableError
from .files import read_text

if TYPE_CHECKING:
    import pandas as pd

_SEPARATOR = "::"


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
    return _read_movies(folder / "movies.dat"), _read_ratings(folder / "ratings.dat")


def _read_movies(path: Path) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for number, line in _lines(path):
        # A title may hold the separator, an id and genres cannot: hence the split from both ends.
        item_id, _, rest = line.partition(_SEPARATOR)
        title, separator, genres = rest.rpartition(_SEPARATOR)
        if not item_id or not separator or not title.strip():
            raise _bad_row(path, number, line, "id::title (year)::genre|genre")
        categories = [genre.strip() for genre in genres.split("|") if genre.strip()]
        title = title.strip()
        text = f"{title}. Genres: {', '.join(categories)}" if categories else title
        rows.append((item_id, title, text, categories))
    frame = pd.DataFrame(rows, columns=["item_id", "title", "text", "categories"])
    frame["created_at"] = pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us, UTC]")
    return frame


def _read_ratings(path: Path) -> pd.DataFrame:
    import pandas as pd

    users, items, ratings, seconds = [], [], [], []
    for number, line in _lines(path):
        fields = line.split(_SEPARATOR)
        try:
            user, item, rating, second = fields
            ratings.append(float(rating))
            seconds.append(int(second))
        except ValueError:
            raise _bad_row(path, number, line, "user::id::rating::unix seconds") from None
        users.append(user)
        items.append(item)
    times = pd.to_datetime(pd.Series(seconds, dtype="int64"), unit="s", utc=True).astype("datetime64[us, UTC]")
    return pd.DataFrame({"user_id": users, "item_id": items, "timestamp": times, "rating": ratings})


def _lines(path: Path) -> list[tuple[int, str]]:
    numbered = enumerate(read_text(path).split("\n"), start=1)
    return [(number, line.rstrip("\r")) for number, line in numbered if line.strip()]


def _bad_row(path: Path, number: int, line: str, expected: str) -> TableError:
    return TableError(f"{path}: row {number} is {line[:80]!r}, expected {expected!r}. Repair or remove it.")
