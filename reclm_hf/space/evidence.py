"""What is known of a user: the history, who is near, and whose history each phrase of the profile comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from ..profiles.trace import PhraseSource, Tracer
from .once import Once
from .shapes import Neighbour, Person, Phrase, Section

if TYPE_CHECKING:
    from ..recommender.catalog import Catalog
    from .world import World

NEIGHBOURS = 5
SHARED = 5
TITLES = 5


def describe(world: World, user: int) -> Person:
    """Everything that the Space shows of the user at position `user`."""
    catalog = world.catalog
    user_id = catalog.user_ids[user]
    row = world.profiles.get(user_id)
    return Person(
        user_id=user_id,
        history=[(catalog.item_ids[item], catalog.titles[item]) for item in catalog.seen(user)],
        neighbours=neighbours(world, user),
        profile="" if row is None else row.profile,
        phrases=phrases(world, user_id),
        as_of="" if row is None else row.as_of,
        generator="" if row is None else row.generator,
    )


def phrases(world: World, user_id: str) -> list[Phrase]:
    """The phrases of the user's profile with their sources, by words (`profiles/trace.py`); [] without a profile."""
    row = world.profiles.get(user_id)
    if row is None:
        return []
    names = ("identities", "interests", "evidence", "neighbors")
    written = {"user_id": user_id} | {name: getattr(row, name) for name in names}
    titles = dict(zip(world.catalog.item_ids, world.catalog.titles, strict=True))
    return [
        Phrase(found.phrase, cast(Section, found.section), found.origin, _titles(found, titles))
        for found in tracer(world).trace(written)
    ]


def neighbours(world: World, user: int) -> list[Neighbour]:
    """Those that the profile was written beside, else the nearest by the model; [] for a user without history."""
    model, catalog = world.model, world.catalog  # first: see `World.model`
    from ..recommender.similar import user_vectors

    user_id = catalog.user_ids[user]
    row = world.profiles.get(user_id)
    known = set(catalog.user_ids)
    names = [name for name in row.neighbors if name in known] if row is not None else []
    if not names and len(catalog.seen(user)):
        names = model.similar_users([user_id], NEIGHBOURS).similar_ids[0]
    near = catalog.user_index(names[:NEIGHBOURS])
    vectors = user_vectors(model, "model")
    cosines = (vectors[near] @ vectors[user]).detach().float().cpu().numpy()
    count = np.bincount(catalog.seen_indices, minlength=catalog.n_items)
    found = []
    for name, position, cosine in zip(names, near, cosines, strict=False):
        common = np.intersect1d(catalog.seen(user), catalog.seen(int(position)))
        # What few others chose says more of a common taste than what everybody did.
        rarest = common[np.argsort(count[common], kind="stable")][:SHARED]
        found.append(Neighbour(name, float(cosine), [catalog.titles[item] for item in rarest]))
    return found


def _titles(found: PhraseSource, titles: Mapping[str, str]) -> list[str]:
    """Titles of the items behind a phrase; an item that is not in the catalogue has none."""
    ids = (match.source.id for match in found.items)
    return list(dict.fromkeys(titles[item] for item in ids if item in titles))[:TITLES]


class _Histories(Mapping[str, list[str]]):
    """Item ids of each user, looked up when asked for."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def __getitem__(self, user_id: str) -> list[str]:
        user = int(self._catalog.user_index([user_id])[0])
        return [self._catalog.item_ids[item] for item in self._catalog.seen(user)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._catalog.user_ids)

    def __len__(self) -> int:
        return self._catalog.n_users


def _make_tracer(world: World) -> Tracer:
    catalog = world.catalog
    told = zip(catalog.titles, catalog.categories, world.texts, strict=True)
    return Tracer.of_histories(catalog.item_ids, told, _Histories(catalog))


tracer = Once(_make_tracer)
"""The tracer of a world's profiles: the words of every item are read once."""
