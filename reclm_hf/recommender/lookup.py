"""Ids and names to positions, and what an error says of those that are not there."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import repeat

import numpy as np

_NAMED = 5  # how many ids or names an error lists


def index_of(ids: list[str], what: str) -> dict[str, int]:
    """Position of each id; `what` they are is said in the ValueError about an id that occurs twice."""
    index = {identity: position for position, identity in enumerate(ids)}
    if len(index) != len(ids):
        repeated = next(identity for position, identity in enumerate(ids) if index[identity] != position)
        raise ValueError(f"{what} id {repeated!r} occurs more than once in the catalogue: ids must be unique")
    return index


def positions_of(index: Mapping[str, int], ids: Sequence[str], message: str) -> np.ndarray:
    """Positions of the ids, int64 [n].

    Raises KeyError with the message, where `{ids}` stands for all unknown ids, ValueError for a single string.
    """
    if isinstance(ids, str):
        raise ValueError(f"give a list of ids, [{ids!r}], not the single string {ids!r}")
    positions = np.fromiter(map(index.get, ids, repeat(-1)), dtype=np.int64, count=len(ids))
    if (positions < 0).any():
        unknown = [identity for identity, position in zip(ids, positions, strict=True) if position < 0]
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        raise KeyError(message.format(ids=", ".join(map(repr, unknown[:_NAMED])) + more))
    return positions


def unknown_category(category: str, known: Sequence[Sequence[str]]) -> str:
    """What to say of a category that no item has; `known` are the categories of each item."""
    counts = Counter(name for names in known for name in names)
    if not counts:
        return f"unknown category {category!r}: the items of this catalogue have no categories"
    by_folded: dict[str, list[str]] = {}
    for name, _ in counts.most_common():
        by_folded.setdefault(name.casefold(), []).append(name)
    close = difflib.get_close_matches(category.casefold(), by_folded, n=3)
    if close:
        names = [name for folded in close for name in by_folded[folded]]
        return f"unknown category {category!r}: did you mean {' or '.join(map(repr, names))}?"
    common = ", ".join(repr(name) for name, _ in counts.most_common(_NAMED))
    return f"unknown category {category!r}: the most common of the {len(counts)} here are {common}"
