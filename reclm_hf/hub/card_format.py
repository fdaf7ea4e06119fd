"""What comes from data, made harmless in Markdown; how numbers, times and tables stand in a card.

Nothing that a title, a name or a note says can become markup, a line of its own or front matter.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

TITLE, NAME, TEXT = 100, 160, 600
"""The most characters of a title, of a name and of a sentence that come from data."""

_EMPTY = "–"
_JOINERS = "\u200c\u200d"  # part of how some scripts and emoji are written
_MARKUP = re.compile(r"([\\`*_\[\]~])")
_CODE_SPAN = re.compile(r"(?<![\\`])`([^`]+)`(?!`)")
_ESCAPED = re.compile(r"\\([\\`*_\[\]~])")
_LINKS = re.compile(r"(?i):(?=//)|\bwww\.(?=\S)|\bmailto:(?=\S)")
_REPO_ID = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def one_line(value: Any, limit: int = TEXT) -> str:
    """Text on one line, without control and direction characters, cut at `limit` characters."""
    text = str(value)[: 8 * limit]
    kept = (
        " " if unicodedata.category(letter)[0] in "CZ" and letter not in _JOINERS else letter
        for letter in unicodedata.normalize("NFC", text)
    )
    text = " ".join("".join(kept).split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def plain(value: Any, limit: int = TEXT) -> str:
    """Text as it is meant: what would be markup or a link in Markdown or HTML is shown, not obeyed."""
    return _escaped(value_of(value, limit))


def prose(value: Any, limit: int = TEXT) -> str:
    """`plain` for a sentence of a README that was written by hand: names in code type stay so.

    What it returned is returned again, so that a card which is read back and written anew stays as it is.
    """
    parts = _CODE_SPAN.split(value_of(value, limit))
    return "".join(code(part) if place % 2 else _escaped(_unescaped(part)) for place, part in enumerate(parts))


def _escaped(text: str) -> str:
    text = _LINKS.sub(r"\g<0> ", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("$", "&#36;")
    return _MARKUP.sub(r"\\\1", text)


def _unescaped(text: str) -> str:
    return html.unescape(_ESCAPED.sub(r"\1", text))


def code(value: Any, limit: int = NAME) -> str:
    """A name in code type, in which nothing is markup."""
    return f"`{value_of(value, limit).replace('`', chr(39))}`"


def value_of(value: Any, limit: int = TEXT) -> str:
    """`one_line`, with a dash for nothing."""
    return (one_line(value, limit) if value is not None else "") or _EMPTY


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def count(value: Any) -> str:
    """A whole number with thousands marked; a dash where it is none."""
    return f"{value:,}" if is_number(value) and int(value) == value else _EMPTY


def figure(value: Any, form: str = ".4f") -> str:
    """A number with four decimals; a dash where it is none."""
    return f"{value:{form}}" if is_number(value) else _EMPTY


def measure(value: Any) -> str:
    """Any number: whole ones in full, others with four significant digits."""
    if not is_number(value):
        return _EMPTY
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def percent(value: Any) -> str:
    """A share as a percentage of four significant digits: 0.99951 is not all."""
    return f"{100 * value:.4g} %" if is_number(value) else _EMPTY


def with_interval(line: Mapping[str, Any], value: Any, form: str = ".4f") -> str:
    """`value [low, high]`; the value alone where there is no interval."""
    low, high = line.get("low"), line.get("high")
    bracket = f" [{low:{form}}, {high:{form}}]" if is_number(low) and is_number(high) else ""
    return figure(value, form) + bracket


def moment(value: Any) -> str:
    """Microseconds UTC as a time to the minute; text as it is."""
    if not is_number(value):
        return plain(value, NAME)
    try:
        return (_EPOCH + timedelta(microseconds=int(value))).strftime("%Y-%m-%d %H:%M UTC")
    except OverflowError:
        return f"{value} µs"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of finished cells; a bar within a cell stays within it."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    lines.insert(1, "|" + "---|" * len(head))
    return "\n".join(lines)


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + f" and {names[-1]}" if names else ""


def is_repo_id(value: Any) -> bool:
    """Whether a value can be a Hub id, and nothing else."""
    return isinstance(value, str) and _REPO_ID.fullmatch(value) is not None and ".." not in value


def is_commit(value: Any) -> bool:
    """Whether a value is a commit in hexadecimal."""
    return isinstance(value, str) and _COMMIT.fullmatch(value) is not None


def repo_link(repo_id: Any, repo_type: str | None) -> str:
    """A link to a repository of the Hub; its name in code type where the id or the type is not known."""
    if repo_type is None or not is_repo_id(repo_id):
        return code(repo_id)
    part = {"model": "", "dataset": "datasets/", "space": "spaces/"}[repo_type]
    return f"[{code(repo_id)}](https://huggingface.co/{part}{repo_id})"


def words_of(name: str) -> str:
    """The name of a measure as words: `held_out_loss` -> `held out loss`."""
    return plain(name.replace("_", " "), NAME)


def quoted(value: str) -> str:
    """A Hub id as a string of Python.

    Raises:
        ValueError: it is no Hub id: code that anybody copies must not hold anything else.
    """
    if not is_repo_id(value):
        raise ValueError(f"repo_id={one_line(value, NAME)!r} is no Hub id; give organisation/name.")
    return f'"{value}"'
