"""What the Space answers with: plain values that the page shows and `dataclasses.asdict` turns into JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

PARTS = ("id", "text", "profile", "bias")
"""The parts of a score, in the order of `Ranking.parts`."""

Section = Literal["identities", "interests"]
Origin = Literal["own", "both", "neighbour", "none"]


class Sentence(ValueError):
    """One sentence that a visitor can act on: what is wrong with an input, and the way out."""


@dataclass(frozen=True)
class Listed:
    """One item of a ranked list.

    Attributes:
        rank: 1 is the best. item_id, title, categories: of the catalogue; [] where it has no categories.
        score: the model's, without unit: comparable within one list only.
        parts: `PARTS` -> share of the score; they add up to it.
        new: whether the item is cold: nobody had chosen it when the model was trained.
        was: rank in the list that this one is compared with, among all of its items; None where it was not ranked.
        why: "like Alien (1979)", the nearest item of the history by the model's vectors; "" without a history.
    """

    rank: int
    item_id: str
    title: str
    categories: list[str]
    score: float
    parts: dict[str, float]
    new: bool
    was: int | None = None
    why: str = ""


@dataclass(frozen=True)
class Phrase:
    """A phrase of a profile and whose history it comes from.

    Attributes:
        origin: `own` where only the user's items share a word with it (or, without a common word, the nearest in
            meaning is theirs), `neighbour` where only neighbours' items do, `both`, or `none`: nobody else is asked.
        titles: of the items that it comes from, the best first, at most 5.
    """

    text: str
    section: Section
    origin: Origin
    titles: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Neighbour:
    """A user with a similar taste: cosine of the two vectors, and at most 5 titles that both chose."""

    user_id: str
    similarity: float
    shared: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Person:
    """What is known of a user.

    Attributes:
        history: (item_id, title), all that the model knows of, in the catalogue's order.
        neighbours: of the profile's row where it names some, else by the model's user vectors; [] where none is known.
        profile, as_of, generator: of the profile's row; "" where there is none.
        phrases: of the profile as written.
    """

    user_id: str
    history: list[tuple[str, str]]
    neighbours: list[Neighbour]
    profile: str
    phrases: list[Phrase]
    as_of: str
    generator: str


@dataclass(frozen=True)
class UserAnswer:
    """A list for one person beside the list that it is compared with.

    Attributes:
        person: None for somebody new.
        profile: the one that `listed` was ranked with; "" for none, and where its text is not known.
        listed, other: the answer and what it is compared with; `was` of each refers to the other one.
        compared_with: "without the profile", "with the profile as written" or "with the whole history".
        changed: one sentence: what moved and why; more where somebody should know more of the profile.
    """

    person: Person | None
    profile: str
    listed: list[Listed]
    other: list[Listed]
    compared_with: str
    changed: str


@dataclass(frozen=True)
class Similar:
    """An item of the catalogue that a new one resembles. cosine: of the texts."""

    item_id: str
    title: str
    cosine: float


@dataclass(frozen=True)
class Reader:
    """Somebody whom a new item suits.

    Attributes:
        rank: of the new item among everything that the user has not chosen, itself included; 1 is the best.
        profile: "" where none is known.
    """

    user_id: str
    rank: int
    profile: str


@dataclass(frozen=True)
class ItemAnswer:
    """Where a new item would stand.

    Attributes:
        title: as understood, control characters removed.
        resembles: the nearest items of the catalogue, nearest first.
        profile: written or inferred, "" where nothing allows to infer one; profile_from says how it was come by.
        readers: whom of the users asked it suits best, best first.
        rank_among_cold: `median`, `low` and `high` (quartiles over the users asked) of its rank among the cold items,
            each None without cold items or users; `of`: how many items that are, itself included; `users`: how many
            users were asked.
        note: what a visitor should know besides, such as a title that the catalogue has already, or that not all
            users were asked; "".
    """

    title: str
    resembles: list[Similar]
    profile: str
    profile_from: str
    readers: list[Reader]
    rank_among_cold: dict[str, float | int | None]
    note: str = ""
