"""Worse versions of a profile: the mistakes that a reward model is taught to see (RecLM eq. 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from .profile import IDENTITY_LABEL, INTERESTS_LABEL, Profile, render

WEAK_PROMPT = "weak_prompt"
KINDS = ("neighbor", "diluted", "missing_section", "repetition", "empty", WEAK_PROMPT)
"""The kinds of rejected profiles; all but the last, which a model must write, are made by `reject`."""

_T = TypeVar("_T")


def reject(kind: str, own: Profile, neighbors: Sequence[Profile], rng: np.random.Generator) -> str:
    """A worse text than the profile `own`.

    Args:
        kind: of `KINDS`, without `weak_prompt`: a neighbour's profile instead; own items diluted with a neighbour's; a
            section missing; something said twice; nothing said.
        own: complete. neighbors: complete profiles of similar users; see `can_reject`.
    """
    return _MAKERS[kind](own, neighbors, rng)


def can_reject(kind: str, own: Profile, neighbors: Sequence[Profile]) -> bool:
    """Whether there is what `reject` needs: a neighbour who is described otherwise."""
    if kind == "neighbor":
        return any(not same_profile(other, own) for other in neighbors)
    if kind == "diluted":
        return any(_fresh(own, other) for other in neighbors)
    return True


def same_profile(left: Profile, right: Profile) -> bool:
    """Whether two profiles have the same items in each section, in whatever order and capitals."""
    return _as_sets(left) == _as_sets(right)


def _neighbor(own: Profile, neighbors: Sequence[Profile], rng: np.random.Generator) -> str:
    return render(_pick([other for other in neighbors if not same_profile(other, own)], rng))


def _diluted(own: Profile, neighbors: Sequence[Profile], rng: np.random.Generator) -> str:
    """Some items, not all, give way to a neighbour's."""
    fresh = _pick([found for other in neighbors if (found := _fresh(own, other))], rng)
    sections = []
    for kept, foreign in ((own.identities, fresh.identities), (own.interests, fresh.interests)):
        items = list(kept)
        count = min(int(rng.integers(1, len(items))), len(foreign))
        places = rng.choice(len(items), count, replace=False).tolist()
        for place, item in zip(places, rng.permutation(len(foreign)).tolist(), strict=False):
            items[place] = foreign[item]
        sections.append(tuple(items))
    return render(Profile(*sections))


def _missing_section(own: Profile, neighbors: Sequence[Profile], rng: np.random.Generator) -> str:
    identities, interests = ", ".join(own.identities), ", ".join(own.interests)
    choices = (
        f"{IDENTITY_LABEL} {identities}",
        f"{INTERESTS_LABEL} {interests}",
        f"{IDENTITY_LABEL} {identities}; {INTERESTS_LABEL}",
    )
    return _pick(choices, rng)


def _repetition(own: Profile, neighbors: Sequence[Profile], rng: np.random.Generator) -> str:
    """The first item throughout, the first item once more at the end, or the second section a copy of the first."""
    identities, interests = own.identities, own.interests
    choices = (
        Profile(identities[:1] * len(identities), interests[:1] * len(interests)),
        Profile((*identities[:-1], identities[0]), (*interests[:-1], interests[0])),
        Profile(identities, identities),
    )
    return render(_pick(choices, rng))


def _empty(own: Profile, neighbors: Sequence[Profile], rng: np.random.Generator) -> str:
    return _pick(("", f"{IDENTITY_LABEL} ; {INTERESTS_LABEL}"), rng)


_MAKERS: Mapping[str, Callable[[Profile, Sequence[Profile], np.random.Generator], str]] = {
    "neighbor": _neighbor,
    "diluted": _diluted,
    "missing_section": _missing_section,
    "repetition": _repetition,
    "empty": _empty,
}


def _fresh(own: Profile, other: Profile) -> Profile | None:
    """What another profile says that the own one does not; None for nothing."""
    used = {item.casefold() for item in (*own.identities, *own.interests)}
    identities = tuple(item for item in other.identities if item.casefold() not in used)
    used.update(item.casefold() for item in identities)
    interests = tuple(item for item in other.interests if item.casefold() not in used)
    return Profile(identities, interests) if identities or interests else None


def _as_sets(profile: Profile) -> tuple[frozenset[str], frozenset[str]]:
    return (
        frozenset(item.casefold() for item in profile.identities),
        frozenset(item.casefold() for item in profile.interests),
    )


def _pick(choices: Sequence[_T], rng: np.random.Generator) -> _T:
    return choices[int(rng.integers(len(choices)))]
