"""The profile format: `User identity: a, b, c; User interests: x, y, z`.

The paper asks for identities and interests in free text; a fixed format makes them comparable, embeddable and
checkable. User profiles have three of each, item profiles (of the audience an item finds, section 6.6) five.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

USER_ITEMS = 3
"""Identities, and interests, in a user's profile."""

ITEM_ITEMS = 5
"""Identities, and interests, in an item's profile."""

MAX_ITEM_WORDS = 6
"""A longer item is cut: the small models run on when they have nothing more to say."""

IDENTITY_LABEL = "User identity:"
INTERESTS_LABEL = "User interests:"

_EDGES = " \t.,;:!?-–—*•·\"'`“”‘’()[]{}<>|/\\"
_NUMBERING = re.compile(r"^\s*(?:\d{1,2}[.)]\s+|[-*•]\s+)")
_LEADING_AND = re.compile(r"^(?:and|or|also)\s+", re.IGNORECASE)
FUNCTION_WORDS = {
    "a",
    "an",
    "and",
    "as",
    "at",
    "by",
    "for",
    "from",
    "in",
    "into",
    "of",
    "on",
    "or",
    "the",
    "to",
    "with",
}
_SECTIONS = re.compile(
    r"identit(?:y|ies)\s*:(?P<identities>.*?)(?:(?:;|\n)\s*(?:user|item)?\s*interests?\s*:(?P<interests>.*))?$",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class Profile:
    """Identities and interests, cleaned and distinct, in the order in which they were written."""

    identities: tuple[str, ...]
    interests: tuple[str, ...]

    def is_complete(self, size: int = USER_ITEMS) -> bool:
        """Whether both sections have exactly `size` items."""
        return len(self.identities) == size and len(self.interests) == size


def render(profile: Profile) -> str:
    """The profile as one line. An incomplete one is rendered as it is: nothing is made up to fill it."""
    return (
        f"{IDENTITY_LABEL} {', '.join(profile.identities)}; {INTERESTS_LABEL} {', '.join(profile.interests)}"
    ).rstrip()


def parse(text: str, size: int | None = None) -> Profile:
    """Read a profile out of a model's text; what cannot be found stays empty.

    Accepts other capitalisation, line breaks instead of the semicolon, `User identities:`, list markers and text
    before the first label. Items after the first `size` of a section are dropped, all are kept for None.
    """
    found = _SECTIONS.search(text or "")
    if found is None:
        return Profile((), ())
    sections = [
        split_items((found[name] or "").replace("\n", ",").split(";")[0]) for name in ("identities", "interests")
    ]
    return Profile(*(tuple(section[:size]) for section in sections))


def content_words(text: str) -> list[str]:
    """The words of an item that say something: no articles, prepositions, conjunctions. Hyphens do not part words."""
    words = (word.strip(_EDGES) for word in text.split())
    return [word for word in words if word and word.casefold() not in FUNCTION_WORDS]


def split_items(text: str) -> list[str]:
    """The distinct cleaned items of a comma-separated text: edges stripped, long ones cut, repeats dropped."""
    items: list[str] = []
    seen: set[str] = set()
    for raw in text.split(","):
        item = clean_item(raw)
        if item and item.casefold() not in seen:
            seen.add(item.casefold())
            items.append(item)
    return items


def clean_item(raw: str) -> str:
    """One item without list markers, quotes and edge punctuation, at most `MAX_ITEM_WORDS` words long."""
    text = _LEADING_AND.sub("", _NUMBERING.sub("", " ".join(raw.split())).strip(_EDGES))
    words = text.split()[:MAX_ITEM_WORDS]
    while words and words[-1].casefold() in FUNCTION_WORDS:
        words.pop()
    text = " ".join(words).strip(_EDGES)
    return text if any(letter.isalpha() for letter in text) else ""


def format_score(text: str, size: int = USER_ITEMS) -> float:
    """How well a text keeps the format, in [0, 1].

    Half of the score is the share of the `2 * size` items that are there, once the text is parsed tolerantly; a
    surplus counts as much as a lack. The other half is 1 when the text is exactly what `render` writes for these
    items, 0 otherwise. So 1.0 means well-formed, 0.5 the right content in the wrong shape, 0.0 no profile at all.
    """
    profile = parse(text)
    filled = sum(max(0, size - abs(size - len(section))) for section in (profile.identities, profile.interests))
    exact = bool(filled) and render(profile) == (text or "").strip()
    return 0.5 * filled / (2 * size) + (0.5 if exact else 0.0)


def well_formed(text: str, size: int = USER_ITEMS) -> bool:
    """Whether a text is exactly a rendered profile with `size` + `size` items."""
    return format_score(text, size) == 1.0


def from_lists(identities: Sequence[str], interests: Sequence[str]) -> Profile:
    """A profile from the columns of a profile table."""
    return Profile(tuple(identities), tuple(interests))
