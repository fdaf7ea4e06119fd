"""What visitors type, checked: every refusal is a `Sentence`, and nothing that was refused reaches a model."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .shapes import Sentence

if TYPE_CHECKING:
    from .world import World

MOST_LISTED = 50
"""The longest list that is shown."""

MOST_CHOSEN = 1_000
"""The longest history that somebody new may give."""

MOST_PROFILE, MOST_TITLE, MOST_TEXT, MOST_SEARCH = 2_000, 300, 5_000, 200
"""Characters of each kind of input."""

_SHOWN = 40  # characters of a visitor's input that an answer repeats
# Embeddings, overrides and isolates: they turn round what stands beside them on the page, and say nothing themselves.
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Control characters, halves of surrogate pairs, private and unassigned characters. Format characters stay: emoji and
# several scripts are written with joiners.
_DROPPED = frozenset(("Cc", "Cs", "Co", "Cn"))


def check_text(text: object, what: str, most: int) -> str:
    """A visitor's text in composed form (NFC) on one line, without control and bidi-override characters.

    Args:
        what: the name of the input, as it is called on the page: "profile". most: characters.

    Raises:
        Sentence: no text, too long (said before anything looks at it), or without a letter or digit.
    """
    cleaned = clean_text(text, what, most)
    if not cleaned:
        raise Sentence(f"The {what} is empty: write a few words.")
    if not any(letter.isalnum() for letter in cleaned):
        raise Sentence(f"The {what} holds no words: say it in letters, the text encoder reads nothing else.")
    return cleaned


def clean_text(text: object, what: str, most: int) -> str:
    """As `check_text`, but an input that may be left out: "" for None and for one without any visible character."""
    if text is None:
        return ""
    if not isinstance(text, str):
        raise Sentence(f"The {what} must be text, and this is {_kind(text)}.")
    if len(text) > most:
        raise Sentence(f"The {what} has {len(text):,} characters and {most:,} is the most: shorten it.")
    visible = "".join(" " if letter.isspace() else letter for letter in text if _stays(letter))
    cleaned = " ".join(unicodedata.normalize("NFC", visible).split())
    return cleaned if any(unicodedata.category(letter)[0] != "C" for letter in cleaned) else ""


def cut_off(world: World, text: str) -> str:
    """What to say of a text of which the encoder does not read the end; "" where it reads all of it."""
    most = world.model.config.text_max_length
    if world.encoder.pieces(text) <= most:
        return ""
    return f"The text encoder reads the first {most:,} word pieces; what comes later has no effect."


def check_count(k: object, what: str = "number of items", most: int = MOST_LISTED) -> int:
    """k as an integer from 1 to `most`; text and floats that are whole numbers are understood.

    Raises:
        Sentence: anything else.
    """
    text = k.strip() if isinstance(k, str) and len(k) < 10 else ""
    # A float that is an integer is neither NaN nor infinite.
    whole = int(k) if isinstance(k, float) and k.is_integer() else int(text) if text.isdecimal() else k
    if isinstance(whole, bool) or not isinstance(whole, int) or not 1 <= whole <= most:
        raise Sentence(f"The {what} must be a whole number from 1 to {most}, and this is {shown(k)}.")
    return whole


def find_user(world: World, user_id: object) -> int:
    """The user's position in the catalogue. Raises Sentence for anything but a known id."""
    try:
        return int(world.catalog.user_index([_identity(user_id, "user")])[0])
    except KeyError:
        raise Sentence(
            f"There is no user {shown(user_id)} in this recommender: search for one, or describe somebody new."
        ) from None


def find_item(world: World, item_id: object) -> int:
    """The item's position in the catalogue. Raises Sentence for anything but a known id."""
    return find_items(world, [item_id])[0]


def find_items(world: World, item_ids: object) -> list[int]:
    """Distinct positions in the catalogue, in the order given.

    Raises:
        Sentence: no list, an empty or a too long one, or an id that is unknown.
    """
    if not isinstance(item_ids, list | tuple):
        raise Sentence(f"The chosen items must be a list of item ids, and this is {_kind(item_ids)}.")
    if not item_ids:
        raise Sentence("No items are chosen: choose at least one.")
    if len(item_ids) > MOST_CHOSEN:
        raise Sentence(f"{len(item_ids):,} items are chosen and {MOST_CHOSEN:,} is the most: leave some out.")
    ids = [_identity(item, "item") for item in item_ids]
    catalog = world.catalog
    try:
        found = catalog.item_index(ids)
    except KeyError:
        unknown = next(item for item in ids if not _known(world, item))
        raise Sentence(
            f"There is no item {shown(unknown)} in this recommender: search for one by its title, or leave it out."
        ) from None
    return list(dict.fromkeys(int(item) for item in found))


def shown(value: object) -> str:
    """A visitor's input as an answer may repeat it: short, printable, in quotes where it is text."""
    if isinstance(value, str):
        kept = "".join(letter for letter in value[: 4 * _SHOWN] if _stays(letter))
        return f"“{shortened(' '.join(kept.split()))}”"
    if value is None:
        return "nothing"
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**_SHOWN):
        return str(value)
    return _kind(value)


def shortened(text: str, most: int = _SHOWN) -> str:
    """The text, cut to so many characters with an ellipsis."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def folded(text: str) -> str:
    """The text for comparing: without case and accents."""
    if text.isascii():
        return text.casefold()
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def counted(number: int, noun: str) -> str:
    """ "1 item", "1,200 items"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def joined(words: Sequence[str] | Iterable[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    words = list(words)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def _identity(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise Sentence(f"The id of the {what} must be text, and this is {_kind(value)}: write it in quotes.")
    if not value.strip():
        raise Sentence(f"No {what} is chosen: choose one.")
    return value


def _known(world: World, item: str) -> bool:
    try:
        world.catalog.item_index([item])
    except KeyError:
        return False
    return True


def _stays(letter: str) -> bool:
    return letter.isspace() or (unicodedata.category(letter) not in _DROPPED and letter not in _BIDI)


def _kind(value: object) -> str:
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        tuple: "a list",
        dict: "a table",
    }
    return (
        "nothing" if value is None else names.get(type(value), "text" if isinstance(value, str) else "something else")
    )
