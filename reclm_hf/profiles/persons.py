"""Whether an English phrase names a person: an identity must ("crime thriller fan"), an interest must not."""

from __future__ import annotations

_WORDS = """
activist actor actress addict adult adventurer aficionado artist athlete author baker beginner believer biker
bookworm boy buff builder buyer camper child coach collector connoisseur consumer cook crafter craftsman
creator critic cyclist dad dancer decorator designer detective devotee diner director doer dreamer driver
employee engineer entertainer enthusiast expert explorer fan farmer father fighter filmmaker follower foodie
friend gamer gardener geek girl giver grandparent guy hiker hobbyist homeowner host hostess hunter individual
insider investor junkie kid lady learner listener lover maker man manager member mom mother musician nerd
newcomer nomad observer organizer outdoorsman owl owner painter parent participant patriot people performer
person photographer player poet professional programmer reader renter researcher resident rider romantic
runner scholar scientist seeker shopper singer skeptic speaker specialist spectator student subscriber
supporter teacher teen teenager thinker teller tinkerer toddler tourist traveler traveller user veteran viewer
visitor volunteer voter walker watcher winner woman worker writer youth
"""
_NOUNS = frozenset(_WORDS.split())
_ENDINGS = (
    "ist",
    "ian",
    "eer",
    "goer",
    "holic",
    "keeper",
    "phile",
    "smith",
    "hunter",
    "lover",
    "maker",
    "seeker",
    "worker",
)
_NO_PERSONS = frozenset(
    ("list", "exist", "resist", "consist", "insist", "twist", "mist", "fist", "wrist", "career", "beer")
)
TASTES = frozenset(
    ("addict", "aficionado", "buff", "devotee", "enthusiast", "fan", "fanatic", "geek", "lover", "nerd", "junkie")
)
"""Nouns that say no more than that somebody likes something."""


def names_person(phrase: str) -> bool:
    """Whether the last word of a phrase is a noun for a person; of a hyphenated word its last part counts."""
    words = phrase.replace("-", " ").split()
    if not words:
        return False
    last = words[-1].casefold()
    return any(word in _NOUNS or (word.endswith(_ENDINGS) and word not in _NO_PERSONS) for word in _singulars(last))


def names_taste(phrase: str) -> bool:
    """Whether a phrase ends with one of `TASTES`, in singular or plural."""
    words = phrase.split()
    return bool(words) and any(word in TASTES for word in _singulars(words[-1].casefold()))


def _singulars(word: str) -> tuple[str, ...]:
    return (word, word.removesuffix("s"), word[:-3] + "y" if word.endswith("ies") else word)
