"""The profile of a new item's audience: written, or put together from what the profiles of others have in common."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..profiles.profile import ITEM_ITEMS, from_lists, parse, render
from ..profiles.trace import stems_of

if TYPE_CHECKING:
    from .world import World

_log = logging.getLogger(__name__)

_BEST_SHARE = 0.05
_FEWEST_BEST = 10
NOTHING = "there is nothing to infer one from: neither similar items nor readers have profiles here"


class Inferred(NamedTuple):
    """text: "" where none could be inferred. source: how it was come by, as a phrase for the page."""

    text: str
    source: str


def of_item(world: World, title: str, text: str, near: np.ndarray, cosines: np.ndarray) -> Inferred | None:
    """The profile of a new item, from a language model where there is one, else from similar items.

    Args:
        near: int64 [n] positions of the items most like it, the nearest first. cosines: float32 [n].

    Returns:
        None where there is neither.
    """
    catalog = world.catalog
    if world.writer is not None:
        profiles = ((catalog.titles[item], world.item_profiles.get(catalog.item_ids[item], "")) for item in near)
        try:
            written = world.writer.write_item(title, text, [pair for pair in profiles if pair[1]])
            if written.strip():
                return Inferred(written, f"written by {world.writer.name}")
        except (OSError, ValueError, RuntimeError) as error:  # the last: out of memory, for one
            # Its message may repeat what the visitor wrote.
            _log.warning("the profile of a new item could not be written: %s", type(error).__name__)
    profiled = [
        (world.item_profiles[catalog.item_ids[item]], float(cosine))
        for item, cosine in zip(near, cosines, strict=True)
        if cosine > 0 and world.item_profiles.get(catalog.item_ids[item])
    ]
    if not profiled:
        return None
    parsed = [(parse(profile), weight) for profile, weight in profiled]
    chosen = [
        _heaviest([(getattr(profile, section), weight) for profile, weight in parsed])
        for section in ("identities", "interests")
    ]
    noun = "profile" if len(profiled) == 1 else f"profiles of the {len(profiled)} nearest items with one"
    source = f"what the {noun} say most" if len(profiled) > 1 else "the profile of the nearest item with one"
    return Inferred(render(from_lists(*chosen)), source) if any(chosen) else None


def of_readers(world: World, users: np.ndarray) -> Inferred:
    """What the profiles of an item's best readers say more often than all profiles of those who were asked.

    Args:
        users: int64 [n] positions, the best readers first.
    """
    names = [world.catalog.user_ids[user] for user in users]
    rows = [world.profiles[name] for name in names if name in world.profiles]
    n_best = min(len(rows), max(_FEWEST_BEST, round(_BEST_SHARE * len(rows))))
    if not n_best:
        return Inferred("", NOTHING)
    chosen = [
        _commoner([row.identities for row in rows], n_best),
        _commoner([row.interests for row in rows], n_best),
    ]
    if not any(chosen):
        return Inferred("", "its best readers' profiles say nothing that others do not say as often")
    return Inferred(
        render(from_lists(*chosen)), f"what the profiles of its {n_best} best readers say more often than others"
    )


def _heaviest(said: Iterable[tuple[Sequence[str], float]]) -> list[str]:
    """The phrases with the greatest sum of weights, at most `ITEM_ITEMS`; see `_by_content`."""
    weights: dict[frozenset[str], float] = {}
    wording: dict[frozenset[str], str] = {}
    for phrases, weight in said:
        for content, phrase in _by_content(phrases).items():
            weights[content] = weights.get(content, 0.0) + weight
            wording.setdefault(content, phrase)
    return [wording[content] for content in sorted(weights, key=lambda one: -weights[one])[:ITEM_ITEMS]]


def _commoner(said: Sequence[Sequence[str]], n_best: int) -> list[str]:
    """Phrases that the first rows hold more often than all do, by z of the share, at most `ITEM_ITEMS`.

    A phrase must be in two of the first rows at least: one person's words are not an audience's.
    """
    held = [_by_content(phrases) for phrases in said]
    total = Counter(content for phrases in held for content in phrases)
    best = Counter(content for phrases in held[:n_best] for content in phrases)
    found = {}
    for content, count in best.items():
        share, among = total[content] / len(held), count / n_best
        if count >= 2 and among > share:
            found[content] = (among - share) / (share * (1 - share) / n_best) ** 0.5
    chosen = sorted(found, key=lambda one: -found[one])[:ITEM_ITEMS]
    return [_commonest_wording(content, held[:n_best]) for content in chosen]


def _commonest_wording(content: frozenset[str], held: Iterable[dict[frozenset[str], str]]) -> str:
    return Counter(phrases[content] for phrases in held if content in phrases).most_common(1)[0][0]


def _by_content(phrases: Sequence[str]) -> dict[frozenset[str], str]:
    """Stems of the content words -> phrase: a "romance lover" and a "romance fan" say the same."""
    found: dict[frozenset[str], str] = {}
    for phrase in map(str.casefold, phrases):
        found.setdefault(stems_of(phrase) or frozenset([phrase]), phrase)
    return found
