"""Single fields of other people's tables: texts, numbers, genres."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..tables import bad_rows

if TYPE_CHECKING:
    import pandas as pd

# What programs write for "nothing" into a text field.
_EMPTY_TEXTS = {"", "nan", "NaN", "<NA>", "NULL"}
_NO_GENRES = {"", "unknown", "(no genres listed)"}


def plain(value: object) -> str:
    """One text field without surrounding space; lists (of a Parquet column) are joined by ", "."""
    import pandas as pd

    if isinstance(value, str):
        text = value.strip()
        return "" if text in _EMPTY_TEXTS else text
    if isinstance(value, Iterable):
        return ", ".join(filter(None, map(plain, value)))
    return "" if pd.isna(value) else str(value)


def joined(parts: Iterable[object]) -> str:
    """Several text fields as one text: the parts that are not empty, joined by ". "."""
    texts = list(filter(None, map(plain, parts)))
    # The join adds the full stop, so a part that ends with one gives its own up.
    return ". ".join([text.removesuffix(".") for text in texts[:-1]] + texts[-1:])


def genre_list(value: str, separator: str = "|") -> list[str]:
    """The genres of a field such as `Crime|Drama`; what data sets write for "none" is none."""
    return [genre for genre in map(str.strip, value.split(separator)) if genre not in _NO_GENRES]


def with_genres(title: str, genres: Sequence[str]) -> str:
    """What is encoded of a film: "Title (year). Genres: A, B"; the title alone where no genre is known."""
    return f"{title}. Genres: {', '.join(genres)}" if genres else title


def numbers(values: pd.Series, source: str, column: str) -> pd.Series:
    """A column as float64.

    Raises:
        TableError: naming the first rows (by the index of `values`) that hold no number.
    """
    import pandas as pd

    read = pd.to_numeric(values, errors="coerce")
    bad = read.isna()
    if bad.any():
        way_out = "Mend the ratings or leave the column out."
        raise bad_rows(source, column, values.index[bad], "no number", way_out)
    return read.astype("float64")
