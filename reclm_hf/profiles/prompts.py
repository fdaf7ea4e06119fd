"""The request for a user's profile (RecLM eq. 5): own history and what similar users chose in, a profile out.

The wording speaks of things and choices, not of films, so that it serves any catalogue. Bump the version with every
change of what a prompt says: it is part of `input_hash`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from .profile import Profile, render
from .untrusted import PLACEHOLDER, is_harmless, neutralize

if TYPE_CHECKING:
    import pandas as pd

PROMPT_VERSION = "user-2"

STATED_CHARACTERS = 400
"""Of what a person without history says to like."""

SHOWABLE = ("title", "categories", "text")
"""Columns of the item table that a prompt can show."""

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
class PromptStyle:
    """How the items of a data set are shown, and in which language profiles are asked for.

    Attributes:
        columns: which columns of the item table, in which order: title, categories, text.
        language: named to the model as it stands here. Labels stay English, they are the format. Forced slots know
            scripts with lower case and spaces between words; for others write free text through `OpenAIEngine`.
        text_characters: of an item's text, where `columns` shows it.

    Raises:
        ValueError: an unknown or repeated column, or no title and no text.
    """

    columns: tuple[str, ...] = ("title", "categories")
    language: str = "English"
    text_characters: int = 160

    def __post_init__(self) -> None:
        unknown = [column for column in self.columns if column not in SHOWABLE]
        if unknown or len(set(self.columns)) < len(self.columns) or not {"title", "text"} & set(self.columns):
            raise ValueError(
                f"columns={list(self.columns)}: choose from {', '.join(SHOWABLE)}, each once, with title or text."
            )

    @property
    def version(self) -> str:
        """What a version of a prompt is followed by; empty for the usual style."""
        if self == PromptStyle():
            return ""
        return f"+{','.join(self.columns)}" + (f"+{self.language}" if self.language != "English" else "")


@dataclass(frozen=True)
class ItemLine:
    """What a prompt shows of an item; all parts are neutralised, see `untrusted`."""

    title: str
    categories: tuple[str, ...] = ()
    text: str = ""
    style: PromptStyle = PromptStyle()

    def __post_init__(self) -> None:
        shown = [neutralize(category, 30).casefold() for category in self.categories if is_harmless(category)]
        object.__setattr__(self, "categories", tuple(name for name in shown if name != PLACEHOLDER))
        # A year costs as many tokens as the rest of a title, and no profile may hold digits.
        title = neutralize(self.title)
        object.__setattr__(self, "title", _YEAR.sub("", title) or title)
        text = neutralize(self.text, self.style.text_characters) if self.text else ""
        object.__setattr__(self, "text", "" if text == PLACEHOLDER else text)

    def __str__(self) -> str:
        named = ", ".join(self.categories[:SHOWN_CATEGORIES])
        parts = {"title": self.title, "categories": f"({named})" if named else "", "text": self.text}
        shown = [parts[column] for column in self.style.columns if parts[column]]
        return "- " + (" ".join(shown) or self.title)


def item_lines(items: pd.DataFrame, style: PromptStyle | None = None, *, masked: bool = False) -> list[ItemLine]:
    """The lines of an item table, in its order.

    Args:
        masked: show ids instead of titles and texts.
    """
    style = style or PromptStyle()
    titles = [f"item {identity}" for identity in items["item_id"]] if masked else items["title"]
    texts = items["text"] if "text" in style.columns and not masked else [""] * len(items)
    return [
        ItemLine(title, tuple(str(category) for category in categories), text, style)
        for title, categories, text in zip(titles, items["categories"], texts, strict=True)
    ]


def user_message(
    history: Sequence[ItemLine],
    similar: Sequence[ItemLine],
    shares: Mapping[str, float] | None = None,
    whole: Sequence[ItemLine] | None = None,
) -> Message:
    """The request for one profile.

    Args:
        history: the user's own items, most recent first. similar: items of similar users that the user does not have.
        shares: category -> its share of all interactions before the cut; see `standout`.
        whole: the whole history, from which what stands out is counted; None: `history`.
    """
    lines = ["Similar people chose: " + "; ".join(line.title for line in similar), ""] if similar else []
    lines += ["This person chose:", *map(str, history)]
    telling = standout(history if whole is None else whole, shares or {})
    if telling:
        lines.append("What stands out: " + ", ".join(telling))
    return {"role": "user", "content": "\n".join([*lines, _QUESTION])}


def stated_message(text: str, similar: Sequence[ItemLine]) -> Message:
    """The request for somebody without history, from what the person says to like."""
    lines = ["Similar people chose: " + "; ".join(line.title for line in similar), ""] if similar else []
    lines.append("This person says: " + neutralize(text, STATED_CHARACTERS))
    return {"role": "user", "content": "\n".join([*lines, _QUESTION])}


def prior_message(popular: Sequence[ItemLine]) -> Message:
    """The request for anybody of whom nothing is known: what most people chose stands for the person's own list."""
    return {"role": "user", "content": "\n".join(["Most people chose:", *map(str, popular), _QUESTION])}


def examples(style: PromptStyle) -> tuple[Message, ...]:
    """What every request for a user's profile begins with."""
    return (in_language(EXAMPLES[0], style.language), *EXAMPLES[1:])


def in_language(system: Message, language: str) -> Message:
    """The system message, asking for answers in a language; unchanged for English, the language of the examples."""
    if language == "English":
        return system
    named = neutralize(language, 30)
    return {"role": "system", "content": f"{system['content']} Write them in {named}; keep the two labels as they are."}


def standout(history: Sequence[ItemLine], shares: Mapping[str, float]) -> list[str]:
    """The categories that tell most about a history, by count x log(1 / share) as in TF-IDF.

    Counts alone would name the catalogue's most common categories for everybody.
    """
    counts = Counter(category for line in history for category in set(line.categories))
    # A single item makes no trait, unless there is nothing else to go by.
    repeated = {name: n for name, n in counts.items() if n > 1} or counts
    weight = {name: n * math.log(1 / min(shares.get(name, _UNSEEN_SHARE), 1.0)) for name, n in repeated.items()}
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
