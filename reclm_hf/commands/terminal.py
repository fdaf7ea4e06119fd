"""Text from tables in a terminal: no control characters, columns that stand below each other, lines that fit."""

from __future__ import annotations

import shutil
import textwrap
import unicodedata

_NARROWEST, _WIDEST, _USUAL = 72, 110, 100


def line_width() -> int:
    """Columns to write in: those of the terminal, within what can be read."""
    return min(max(shutil.get_terminal_size((_USUAL, 24)).columns, _NARROWEST), _WIDEST)


def plain(text: object) -> str:
    """One line without control characters: a title could move the cursor, or turn the direction of writing."""
    letters = (letter if unicodedata.category(letter)[0] != "C" else " " for letter in str(text))
    return " ".join("".join(letters).split())


def cells(text: str) -> int:
    """Columns that a terminal needs for a text: two for wide letters, none for combining marks."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def padded(text: str, width: int) -> str:
    """The text and spaces up to `width` columns."""
    return text + " " * max(width - cells(text), 0)


def cut(text: str, width: int) -> str:
    """The text in at most `width` columns, its end replaced by an ellipsis where it is longer."""
    if cells(text) <= width:
        return text
    while text and cells(text) > width - 1:
        text = text[:-1]
    return text.rstrip() + "…"


def wrapped(text: str, indent: int, width: int, first: str | None = None) -> list[str]:
    """Lines of at most `width` columns, indented; `first` stands in place of the first line's indent."""
    space = " " * indent
    start = space if first is None else first
    return textwrap.wrap(text, width, initial_indent=start, subsequent_indent=space, break_on_hyphens=False)
