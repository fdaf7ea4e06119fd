"""Two rankings of the same items side by side, and the one sentence that says what moved and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .shapes import PARTS, Listed
from .words import shortened

if TYPE_CHECKING:
    from ..recommender.what_if import Ranking
    from .world import World

THE_PROFILE = "the profile"
WITHOUT_PROFILE = "without the profile"
AS_WRITTEN = "with the profile as written"
WHOLE_HISTORY = "with the whole history"
NOBODY_KNOWN = "for somebody of whom nothing is known"

EVERYTHING_CHOSEN = "Nothing is left to recommend: every item of the catalogue is in the history."

# Of the items that one passes, so many are looked at: their mean part is the same to what is shown.
_PASSED = 200
_TITLE = 60
# Scores are float32 sums of some hundred terms: less than this is rounding.
_NOTHING = 1e-5
_PART_NAMES = {
    "id": "the part learned from who chose what",
    "text": "the text part",
    "profile": "the profile part",
    "bias": "the item's own level",
}


@dataclass(frozen=True)
class Comparison:
    """A ranking and the one that it is compared with, over the same items.

    Attributes:
        history: int64 positions, of which the nearest one explains an item; empty for none.
        cause: what differs, as the subject of a sentence: "the profile".
        other_history: of the other ranking; None where both have the same.
    """

    ranking: Ranking
    other: Ranking
    history: np.ndarray
    cause: str = THE_PROFILE
    other_history: np.ndarray | None = None

    def same(self, k: int) -> bool:
        """Whether the first k items and their scores are the same in both."""
        a, b = self.ranking, self.other
        scale = max(1.0, float(np.abs(a.scores).max(initial=0.0)))
        return np.array_equal(a.order[:k], b.order[:k]) and bool(
            np.allclose(a.scores[:k], b.scores[:k], rtol=0.0, atol=_NOTHING * scale)
        )


class Rise(NamedTuple):
    """The item among the first k that rises most, its ranks before and after, and some of the items that it passes."""

    item: int
    was: int
    now: int
    passed: np.ndarray


class Parts(NamedTuple):
    """Parts of the scores of some items. positions: int64 [m], ascending. values: float32 [m, 4]."""

    positions: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, ranking: Ranking, positions: np.ndarray) -> Parts:
        distinct = np.unique(positions)
        return cls(distinct, ranking.parts(distinct))

    def at(self, positions: np.ndarray) -> np.ndarray:
        """float32 [n, 4], of items that are there."""
        return self.values[np.searchsorted(self.positions, positions)]


def both(world: World, compared: Comparison, k: int) -> tuple[list[Listed], list[Listed], str]:
    """The first k of both rankings, each with its ranks in the other, and one sentence that says what changed."""
    n_items = world.catalog.n_items
    ranking, other = compared.ranking, compared.other
    other_history = compared.history if compared.other_history is None else compared.other_history
    rise = _rise(ranking, other, n_items, k)
    # Everything is taken apart at once: for somebody new that means to be folded in anew.
    asked = [ranking.order[:k], other.order[:k]]
    if rise is not None:
        asked += [np.array([rise.item]), rise.passed]
    parts, other_parts = (Parts.of(one, np.concatenate(asked)) for one in (ranking, other))
    return (
        listed(world, ranking, k, compared.history, parts, other),
        listed(world, other, k, other_history, other_parts, ranking),
        _changed(world, compared, k, rise, parts, other_parts),
    )


def listed(
    world: World,
    ranking: Ranking,
    k: int,
    history: np.ndarray,
    parts: Parts | None = None,
    other: Ranking | None = None,
) -> list[Listed]:
    """The first k items of a ranking, with the ranks that they have in the other one."""
    catalog = world.catalog
    chosen = ranking.order[:k]
    values = (parts or Parts.of(ranking, chosen)).at(chosen)
    was = np.zeros(len(chosen), dtype=np.int64) if other is None else other.ranks(catalog.n_items)[chosen]
    warm = world.model.item_warm.cpu().numpy()[chosen] > 0
    reasons = _reasons(world, chosen, history)
    return [
        Listed(
            rank=place + 1,
            item_id=catalog.item_ids[item],
            title=catalog.titles[item],
            categories=list(catalog.categories[item]),
            score=float(ranking.scores[place]),
            parts={name: float(value) for name, value in zip(PARTS, values[place], strict=True)},
            new=not warm[place],
            was=int(was[place]) or None,
            why=reasons[place],
        )
        for place, item in enumerate(chosen.tolist())
    ]


def _rise(ranking: Ranking, other: Ranking, n_items: int, k: int) -> Rise | None:
    """None where the first k are the same, or where none of them was further down."""
    first, was = ranking.order[:k], other.ranks(n_items)
    if not len(first) or np.array_equal(first, other.order[:k]):
        return None
    risen = np.where(was[first] > 0, was[first] - np.arange(1, len(first) + 1), 0)
    best = int(np.argmax(risen))
    if risen[best] <= 0:
        return None
    item, now = int(first[best]), ranking.ranks(n_items)
    passed = np.flatnonzero((was > 0) & (was < was[item]) & (now > now[item]))
    passed = passed[np.linspace(0, len(passed) - 1, min(len(passed), _PASSED)).astype(np.int64)]
    return Rise(item, int(was[item]), best + 1, passed)


def _changed(world: World, compared: Comparison, k: int, rise: Rise | None, parts: Parts, other_parts: Parts) -> str:
    """One sentence: the item among the first k that rises most, and the part of the score that makes it rise.

    An item rises because its score gains on the scores of those that it passes. The difference of each part, less the
    mean difference of the same part among the passed, says which part gained.
    """
    n_items = world.catalog.n_items
    first = compared.ranking.order[:k]
    if not len(first):
        return EVERYTHING_CHOSEN
    if rise is None:
        return _unmoved(compared, n_items, len(first))
    fresh = len(np.setdiff1d(first, compared.other.order[:k]))
    others = f"{fresh} of the first {len(first)} {'is another item' if fresh == 1 else 'are other items'}"
    difference = [parts.at(places) - other_parts.at(places) for places in (np.array([rise.item]), rise.passed)]
    gains = difference[0][0] - difference[1].mean(axis=0)
    best = int(np.argmax(gains))
    return (
        f"{others if fresh else f'The first {len(first)} change places'}; "
        f"“{shortened(world.catalog.titles[rise.item], _TITLE)}” rises most, from place {rise.was:,} to "
        f"{rise.now}, because {_PART_NAMES[PARTS[best]]} of its score gains {_amount(float(gains[best]))} on what it "
        "passes."
    )


def _unmoved(compared: Comparison, n_items: int, k: int) -> str:
    """Why the first k are the same."""
    scores = np.zeros((2, n_items), dtype=np.float32)
    for row, ranking in enumerate((compared.ranking, compared.other)):
        scores[row, ranking.order] = ranking.scores
    shift = scores[0] - scores[1]
    ranked = compared.ranking.order
    # A shift of all scores alike moves nothing.
    most = float(np.abs(shift[ranked] - np.median(shift[ranked])).max())
    if most <= _NOTHING * max(1.0, float(np.abs(compared.ranking.scores).max())):
        weightless = "this model gives the profile no weight here"
        reason = weightless if compared.cause == THE_PROFILE else f"{compared.cause} changes no score"
        return f"Nothing moves in the first {k}: {reason}."
    return (
        f"Nothing moves in the first {k}: {compared.cause} shifts scores, by up to {_amount(most)}, but not enough to "
        "change the order there."
    )


def _amount(score: float) -> str:
    return f"{score:.1f}" if score >= 1 else f"{score:.2g}"


def _reasons(world: World, items: np.ndarray, history: np.ndarray) -> list[str]:
    """For each item the nearest one of the history by the model's vectors (cosine), as a phrase; "" where none is."""
    if not len(history) or not len(items):
        return [""] * len(items)
    from ..recommender.similar import item_vectors

    vectors = item_vectors(world.model, "model")
    near = (vectors[items] @ vectors[history].T).detach().float().cpu().numpy()
    near[items[:, None] == history[None, :]] = -1.0  # an item is no reason for itself
    best = near.argmax(axis=1)
    titles = world.catalog.titles
    return [f"like {titles[history[place]]}" if near[row, place] > 0 else "" for row, place in enumerate(best.tolist())]
