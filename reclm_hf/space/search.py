"""Finding users and items by what a visitor types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from .once import Once
from .words import MOST_SEARCH, check_count, clean_text, counted, folded, shortened

if TYPE_CHECKING:
    from .world import World

_LABEL = 100  # characters
_MOST_FOUND = 100


def search_users(world: World, text: str, limit: int = 20) -> list[tuple[str, str]]:
    """(label, user_id) of users: whose id begins with the text, then whose profile or a chosen title has its words.

    Nothing typed finds the first users of the catalogue. Raises Sentence for a text or limit that is no such thing.
    """
    wanted, limit = (
        folded(clean_text(text, "search", MOST_SEARCH)),
        check_count(limit, "number of results", _MOST_FOUND),
    )
    found = dict.fromkeys(islice(_matching_users(world, wanted), 4 * limit))
    return [(_user_label(world, user), world.catalog.user_ids[user]) for user in islice(found, limit)]


def search_items(world: World, text: str, limit: int = 20) -> list[tuple[str, str]]:
    """(label, item_id) of items: whose id begins with the text, then whose title has its words, the most chosen first.

    Nothing typed finds the most chosen items. Raises Sentence for a text or limit that is no such thing.
    """
    wanted, limit = (
        folded(clean_text(text, "search", MOST_SEARCH)),
        check_count(limit, "number of results", _MOST_FOUND),
    )
    catalog = world.catalog
    count = np.bincount(catalog.seen_indices, minlength=catalog.n_items)
    by_id = [row for row, name in enumerate(catalog.item_ids) if wanted and folded(name).startswith(wanted)]
    by_title = sorted(_items_titled(world, wanted), key=lambda row: -count[row])
    found = islice(dict.fromkeys([*by_id, *by_title]), limit)
    return [
        (f"{shortened(catalog.titles[row], _LABEL)} · {catalog.item_ids[row]}", catalog.item_ids[row]) for row in found
    ]


def _matching_users(world: World, wanted: str) -> Iterator[int]:
    """Positions of users, the best matches first, some of them more than once."""
    catalog = world.catalog
    if not wanted:
        yield from range(catalog.n_users)
        return
    ids = [folded(name) for name in catalog.user_ids]
    yield from (row for row, name in enumerate(ids) if name == wanted)
    yield from (row for row, name in enumerate(ids) if name.startswith(wanted))
    words = wanted.split()
    for row, name in enumerate(catalog.user_ids):
        if name in world.profiles and _has(folded(world.profiles[name].profile), words):
            yield row
    titled = np.zeros(catalog.n_items, dtype=bool)
    titled[_items_titled(world, wanted)] = True
    yield from np.unique(
        np.repeat(np.arange(catalog.n_users), np.diff(catalog.seen_indptr))[titled[catalog.seen_indices]]
    ).tolist()


def _items_titled(world: World, wanted: str) -> list[int]:
    words = wanted.split()
    return [row for row, title in enumerate(folded_titles(world)) if _has(title, words)]


def _has(text: str, words: Sequence[str]) -> bool:
    return all(word in text for word in words)


def _user_label(world: World, user: int) -> str:
    catalog = world.catalog
    name = catalog.user_ids[user]
    label = f"{name} · {counted(len(catalog.seen(user)), 'item')}"
    if name in world.profiles:
        label += f" · {', '.join(world.profiles[name].identities) or world.profiles[name].profile}"
    return shortened(label, _LABEL)


def _folded_titles(world: World) -> list[str]:
    return [folded(title) for title in world.catalog.titles]


folded_titles = Once(_folded_titles)
"""The titles of the catalogue for comparing; see `folded`."""
