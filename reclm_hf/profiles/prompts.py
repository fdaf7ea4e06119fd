"""The request for a user's profile. Bump `PROMPT_VERSION` with every change of wording: it is part of `input_hash`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from .profile import Profile, render

PROMPT_VERSION = "user-1"


class Message(TypedDict):
    """One chat message; `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class ItemLine:
    """What a prompt shows of an item."""

    title: str
    categories: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        return f"- {self.title}: {', '.join(self.categories)}" if self.categories else f"- {self.title}"


_SYSTEM = (
    "You describe what kind of person chooses certain things. Read the list of chosen things and their categories, "
    "then answer in one line: three short identities of the person, then three short interests. "
    "Be specific: use the themes and categories that occur most in the person's own list."
)


def user_message(history: Sequence[ItemLine], similar: Sequence[ItemLine]) -> Message:
    lines = ["This person chose:", *map(str, history)]
    if similar:
        lines += ["People with similar taste chose:", *map(str, similar)]
    lines.append("Who is this person, and what interests them?")
    return {"role": "user", "content": "\n".join(lines)}


def _answer(identities: str, interests: str) -> Message:
    profile = Profile(tuple(identities.split(", ")), tuple(interests.split(", ")))
    return {"role": "assistant", "content": render(profile)}


def _example(history: Sequence[tuple[str, str]], similar: Sequence[tuple[str, str]], answer: Message) -> list[Message]:
    lines = [[ItemLine(title, tuple(c.split(", "))) for title, c in part] for part in (history, similar)]
    return [user_message(lines[0], lines[1]), answer]


EXAMPLES: tuple[Message, ...] = (
    {"role": "system", "content": _SYSTEM},
    *_example(
        [
            ("Japanese Pull Saw", "Woodworking, Hand Tools"),
            ("Oak Offcuts, 5 kg", "Woodworking, Timber"),
            ("The Joiner's Notebook", "Books, Woodworking"),
            ("Enamel Camping Mug", "Outdoor, Kitchen"),
        ],
        [("Brass Marking Gauge", "Hand Tools"), ("Beeswax Polish", "Timber, Care")],
        _answer(
            "woodworking hobbyist, hand tool collector, weekend camper",
            "oak joinery, traditional hand tools, camp cooking",
        ),
    ),
    *_example(
        [
            ("Midnight Sonatas", "Classical, Piano"),
            ("Blue Harbour Live", "Jazz, Piano, Concert"),
            ("Lute Songs of the North", "Early Music, Folk"),
        ],
        [("Nocturnes in Green", "Classical"), ("Smoke and Brass", "Jazz")],
        _answer(
            "classical piano listener, jazz concert goer, early music admirer",
            "solo piano recordings, live jazz, northern folk songs",
        ),
    ),
)
