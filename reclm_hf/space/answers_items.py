"""Where a new item would stand: what it resembles, whom it suits, and its rank among the real cold items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import audience, inferring
from .search import folded_titles
from .shapes import ItemAnswer, Reader, Similar
from .words import MOST_TEXT, MOST_TITLE, check_count, check_text, clean_text, counted, cut_off, folded, joined

if TYPE_CHECKING:
    from .world import World

_NEAR = 10
_NAMED = 3
# Profile modes whose vectors of items come from texts; see `add_items`.
_WRITTEN = ("llm", "masked_titles")


def place_item(world: World, title: str, text: str = "", k: int = 10) -> ItemAnswer:
    """Add an item to a copy of the catalogue, with no training, and see where it stands.

    Args:
        text: what is said of the item; without it, the title says all. k: how many readers and similar items to show.

    Raises:
        Sentence: a title without words or of more than 300 characters, a text of more than 5,000, or k that is not 1
            to 50.
    """
    k, title = check_count(k), check_text(title, "title", MOST_TITLE)
    text = clean_text(text, "text", MOST_TEXT)
    said = _joined(title, text)
    vector = np.asarray(world.encoder.encode([said], progress=False), dtype=np.float32)  # [1, d_t]
    near, cosines = _nearest(world, vector[0], max(k, _NEAR))
    profile = inferring.of_item(world, title, text, near[:_NEAR], cosines[:_NEAR])
    asked = audience.asked(world)
    scores = _scores(world, asked.users, title, said, vector, "" if profile is None else profile.text)
    ranks, cold = audience.ranks(asked, scores)
    best = np.argsort(ranks, kind="stable")
    if profile is None:
        profile = inferring.of_readers(world, asked.users[best])
    catalog = world.catalog
    return ItemAnswer(
        title=title,
        resembles=[
            Similar(catalog.item_ids[item], catalog.titles[item], cosine)
            for item, cosine in zip(near[:k].tolist(), cosines[:k].tolist(), strict=True)
        ],
        profile=profile.text,
        profile_from=profile.source,
        readers=[_reader(world, int(asked.users[row]), int(ranks[row])) for row in best[:k]],
        rank_among_cold=_summary(cold, asked.n_cold),
        note=_note(world, title, said, len(asked.users)),
    )


def _joined(title: str, text: str) -> str:
    """What is encoded: the texts of the tables begin with the title, too."""
    if folded(title) in folded(text):
        return text
    return f"{title}{'' if title[-1] in '.!?' else '.'} {text}" if text else title


def _nearest(world: World, vector: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(positions int64 [k], cosines float32 [k]) of the items whose texts are most like a vector [d_t], best first."""
    model = world.model  # first: see `World.model`
    import torch
    from torch.nn import functional

    with torch.no_grad():
        own = functional.normalize(torch.as_tensor(vector, device=model.text_mean.device) - model.text_mean, dim=0)
        cosines = (model.item_text @ own).float().cpu().numpy()
    order = np.argsort(-cosines, kind="stable")[:k]
    return order, cosines[order]


def _scores(world: World, users: np.ndarray, title: str, said: str, vector: np.ndarray, profile: str) -> np.ndarray:
    """float32 [n] scores of the new item for the users, as a cold item of a copy of the catalogue."""
    import pandas as pd

    model = world.model
    new = "new item"
    while new in model.catalog.item_ids:
        new += "'"
    items = pd.DataFrame({"item_id": [new], "title": [title], "text": [said], "categories": [[]]})
    extra: dict[str, Any] = {}
    if profile and model.config.item_profiles and model.config.profile_mode in _WRITTEN:
        extra["profile_vectors"] = world.encoder.encode([profile], progress=False)
    grown = model.with_items(items, vectors=vector, **extra)
    return grown.score(users, np.array([model.catalog.n_items]))[:, 0]


def _reader(world: World, user: int, rank: int) -> Reader:
    name = world.catalog.user_ids[user]
    return Reader(name, rank, world.profiles[name].profile if name in world.profiles else "")


def _summary(ranks: np.ndarray, n_cold: int) -> dict[str, float | int | None]:
    """`rank_among_cold` of an `ItemAnswer`."""
    low = median = high = None
    if len(ranks) and n_cold:
        low, median, high = np.percentile(ranks, [25, 50, 75]).tolist()
    return {"median": median, "low": low, "high": high, "of": n_cold + 1, "users": len(ranks)}


def _note(world: World, title: str, said: str, n_asked: int) -> str:
    """What a visitor should know besides."""
    catalog, notes = world.catalog, []
    wanted = folded(title)
    same = [catalog.item_ids[row] for row, known in enumerate(folded_titles(world)) if known == wanted]
    if same:
        more = f" and {len(same) - _NAMED:,} more" if len(same) > _NAMED else ""
        notes.append(
            f"The catalogue has {counted(len(same), 'item')} of this title already ({joined(same[:_NAMED])}{more}); "
            "yours is ranked as another one."
        )
    notes.append(cut_off(world, said))
    n_known = int(np.count_nonzero(np.diff(catalog.seen_indptr)))
    if n_asked < n_known:
        notes.append(
            f"Who would like it was asked of {n_asked:,} users, drawn from {n_known:,}: others may like it more."
        )
    return " ".join(filter(None, notes))
