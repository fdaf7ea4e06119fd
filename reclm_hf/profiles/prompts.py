"""The request for a user's profile (RecLM eq. 5): own history and what similar users chose in, a profile out.

The wording speaks of things and choices, not of films, so that it serves any catalogue. Bump `PROMPT_VERSION` with
every change of what a prompt says: it is part of `input_hash`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from .profile import Profile, render
from .untrusted import PLACEHOLDER, neutralize

PROMPT_VERSION = "user-1"

SHOWN_CATEGORIES = 3
"""Categories named beside an item."""

STANDOUT_CATEGORIES = 4
"""Categories named in the summary of a history."""

_UNSEEN_SHARE = 0.02
_YEAR = re.compile(r"\s*\(\d{4}\)$")
_SYSTEM = (
    "You describe the taste of a person by the things that the person chose. Answer with three short identities and "
    "three short interests. Be specific: name what stands out in the person's own list."
)
_QUESTION = "What kind of enthusiast is this person, and what does this person enjoy?"


class Message(TypedDict):
    """One chat message; `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class ItemLine:
    """What a prompt shows of an item; both parts are neutralised, see `untrusted`."""

    title: str
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shown = [neutralize(category, 30).casefold() for category in self.categories]
        object.__setattr__(self, "categories", tuple(name for name in shown if name != PLACEHOLDER))
        # A year costs as many tokens as the rest of a title, and no profile may hold digits.
        title = neutralize(self.title)
        object.__setattr__(self, "title", _YEAR.sub("", title) or title)

    def __str__(self) -> str:
        named = ", ".join(self.categories[:SHOWN_CATEGORIES])
        return f"- {self.title} ({named})" if named else f"- {self.title}"


def user_message(
    history: Sequence[ItemLine], similar: Sequence[ItemLine], shares: Mapping[str, float] | None = None
) -> Message:
    """The request for one profile.

    Args:
        history: the user's own items, most recent first. similar: items of similar users that the user does not have.
        shares: category -> its share of all interactions before the cut; see `standout`.
    """
    lines = ["Similar people chose: " + "; ".join(line.title for line in similar), ""] if similar else []
    lines += ["This person chose:", *map(str, history)]
    telling = standout(history, shares or {})
    if telling:
        lines.append("What stands out: " + ", ".join(telling))
    return {"role": "user", "content": "\n".join([*lines, _QUESTION])}


def standout(history: Sequence[ItemLine], shares: Mapping[str, float]) -> list[str]:
    """The categories that tell most about a history, by count x log(1 / share) as in TF-IDF.

    Counts alone would name the catalogue's most common categories for everybody.
    """
    counts = Counter(category for line in history for category in set(line.categories))
    weight = {name: n * math.log(1 / min(shares.get(name, _UNSEEN_SHARE), 1.0)) for name, n in counts.items()}
    return sorted(weight, key=lambda name: (-weight[name], name))[:STANDOUT_CATEGORIES]


def _example(
    similar: Sequence[str], history: Sequence[tuple[str, str]], identities: str, interests: str
) -> tuple[Message, Message]:
    request = user_message(
        [ItemLine(title, tuple(categories.split(", "))) for title, categories in history],
        [ItemLine(title) for title in similar],
    )
    answer = render(Profile(tuple(identities.split(", ")), tuple(interests.split(", "))))
    return request, {"role": "assistant", "content": answer}


EXAMPLES: tuple[Message, ...] = (
    {"role": "system", "content": _SYSTEM},
    *_example(
        ["Brass Marking Gauge", "Beeswax Polish"],
        [
            ("Japanese Pull Saw", "woodworking, hand tools"),
            ("Oak Offcuts", "woodworking, timber"),
            ("The Joiner's Notebook", "books, woodworking"),
            ("Enamel Mug", "camping, kitchen"),
        ],
        "woodworking enthusiast, hand tool collector, camping fan",
        "oak furniture making, antique workshop manuals, campfire cooking",
    ),
    *_example(
        ["Nocturnes in Green", "Smoke and Brass"],
        [
            ("Midnight Sonatas", "classical, piano"),
            ("Blue Harbour Live", "jazz, piano"),
            ("Lute Songs of the North", "folk, early music"),
        ],
        "piano music lover, live jazz fan, folk song enthusiast",
        "late night sonatas, seaside jazz clubs, northern ballads",
    ),
)
"""System message and two worked examples from other domains, so that copying from them would show."""
