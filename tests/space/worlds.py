"""A small world for the tests of the Space: a real trained recommender on the checkerboard, with profiles and texts."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from reclm_hf.space.once import Later
from reclm_hf.space.settings import Settings
from reclm_hf.space.world import Scorer, UserProfile, World
from tests.checkerboard import N_USERS
from tests.recommender import models

AS_OF = "2020-02-20"
GENERATOR = "tiny writer"
WIDTH = 16


class TinyEncoder:
    """Vectors [n, 16] of length 1 in the space of the checkerboard: "alpha" and "beta" are its two directions.

    `texts` holds everything that was encoded.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray:
        self.texts += texts
        return np.stack([_vector(text) for text in texts]) if len(texts) else np.zeros((0, WIDTH), dtype=np.float32)

    def pieces(self, text: str) -> int:
        """A long word is several pieces, as in a real vocabulary; two more for the ends."""
        return 2 + sum(1 + len(word) // 8 for word in text.split())


class TinyWriter:
    """Stands in for a language model: it always writes the same profile."""

    name = GENERATOR
    text = "User identity: alpha fan; User interests: alpha stories"

    def write(self, history: Any, neighbours: Any = ()) -> str:
        return self.text

    def write_item(self, title: str, text: str = "", similar: Any = ()) -> str:
        return self.text


def tiny_world(
    backbone: str = "lightgcn",
    preset: str = "floor_residual",
    mode: str = "llm",
    *,
    profiles: bool = True,
    item_profiles: bool = True,
    titles: Sequence[str] | None = None,
    writer: Any = None,
    trained: bool = True,
    **changes: Any,
) -> World:
    """50 users ("user-00", ...) who like the items ("000", ...) of their own parity; 46 to 49 are cold.

    Args:
        backbone, preset, mode: of `tests.recommender.models.trained`; mode "llm" or "none".
        profiles, item_profiles: whether the tables have them; the last two users have none in any case.
        titles: 50 titles to show instead of "Title 000", ...: HTML, for example.
        writer: the profile writer; None for no language model.
        trained: False for a model as it is built, which is there at once; its profiles may have no weight yet.
        changes: any other field of `World`.
    """
    model = copy.deepcopy((models.trained if trained else models.untrained)(backbone, preset, mode)).eval()
    catalog = model.catalog
    if titles is not None:
        catalog.titles = list(titles)
    texts = [str(text) for text in models.data()[0].data.items["text"]]
    known: dict[str, Any] = {
        "settings": Settings(recommender="tiny"),
        "catalog": catalog,
        "scorer": scorer(model),
        "texts": texts,
        "profiles": {name: _profile(row, catalog) for row, name in enumerate(catalog.user_ids[: N_USERS - 2])}
        if profiles
        else {},
        "item_profiles": {name: _item_profile(row) for row, name in enumerate(catalog.item_ids) if item_profiles},
        "results": None,
        "comparisons": None,
        "strata": None,
        "certificates": [],
        "about": {"dataset": "checkerboard", "backbone": backbone, "preset": preset, "profile_mode": mode},
        "links": [],
        "writer": writer,
    }
    return World(**(known | changes))


def scorer(model: Any) -> Later[Scorer]:
    """A model that is loaded, with a tiny encoder."""
    loaded = Scorer(model, cast(Any, TinyEncoder()))
    return Later(lambda: loaded)


def _word(row: int) -> str:
    return ("alpha", "beta")[row % 2]


def _profile(row: int, catalog: Any) -> UserProfile:
    """Of a user: the own word, a neighbour's item in the evidence, and a phrase that nobody's items hold."""
    word, other = _word(row), _word(row + 1)
    identities, interests = [f"{word} fan", "opera singer"], [f"{word} stories", f"{other} tales"]
    evidence = [catalog.item_ids[item] for item in catalog.seen(row)[:4]] + [catalog.item_ids[(row + 1) % 2]]
    neighbors = [catalog.user_ids[(row + 2) % N_USERS], catalog.user_ids[(row + 1) % N_USERS]]
    text = f"User identity: {', '.join(identities)}; User interests: {', '.join(interests)}"
    return UserProfile(text, identities, interests, evidence, neighbors, AS_OF, GENERATOR)


def _item_profile(row: int) -> str:
    return f"User identity: {_word(row)} fan, reader {row}; User interests: {_word(row)} stories, number {row}"


def _vector(text: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
    vector = 0.05 * np.random.default_rng(seed).standard_normal(WIDTH)
    for place, word in enumerate(("alpha", "beta")):
        vector[place] += text.casefold().count(word)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)
