"""A map of users, items and new items: two dimensions of what the model compares them by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

# Where items have biases, nearness does not tell the rank: what an item has for everybody may weigh more.
_PERSONAL = (
    "the representations whose inner product is the personal part of the model's score (the bias of an item, the same "
    "for everybody, is added to it and not shown)"
)
MOST = {"user": 700, "item": 1200, "new": 600}


@dataclass(frozen=True)
class MapPoints:
    """Points of the plane.

    Attributes:
        points: columns `kind` (`user`, `item` or `new`), `x`, `y` float64, `label` (title of an item, "" of a user)
            and `weight` (interactions of an item in the history; 0 of others).
        space: what was projected, as a sentence. shares: of the variance that x and y hold.
        totals: kind -> how many there are; `points` holds a sample of them.
        model: what the model is called in the report; "" where it is the only one.
    """

    points: pd.DataFrame
    space: str
    shares: tuple[float, float]
    totals: dict[str, int]
    model: str = ""


def map_points(model: Any, seed: int = 0, name: str = "") -> MapPoints:
    """Project users and items to the two directions in which they differ most (principal components).

    The representations whose inner product is the model's score, or all of it but the biases of items, each at length
    1: the same scale for all, so that near means alike in direction. A backbone that scores pairs has no such space;
    then the vectors of texts are taken. At most `MOST` of each kind, drawn by `seed`; the directions are those of the
    sample.

    Args:
        model: a `RecLMRecommender`. name: what the report calls it.

    Raises:
        ValueError: the model knows users by nothing that could be compared with an item.
    """
    import pandas as pd

    users, items, space = _space(model)
    warm = model.item_warm.cpu().numpy() > 0
    popularity = np.bincount(model.catalog.seen_indices, minlength=len(items))
    rng = np.random.default_rng(seed)
    rows = {"user": np.flatnonzero(users.any(axis=1)), "item": np.flatnonzero(warm), "new": np.flatnonzero(~warm)}
    chosen = {kind: np.sort(rng.permutation(found)[: MOST[kind]]) for kind, found in rows.items()}
    vectors = np.concatenate([(users if kind == "user" else items)[found] for kind, found in chosen.items()])
    plane, shares = _principal(_unit(vectors))
    columns = {
        "kind": np.repeat(list(chosen), [len(found) for found in chosen.values()]),
        "x": plane[:, 0],
        "y": plane[:, 1],
        "label": [
            "" if kind == "user" else model.catalog.titles[row] for kind, found in chosen.items() for row in found
        ],
        "weight": [0 if kind == "user" else int(popularity[row]) for kind, found in chosen.items() for row in found],
    }
    return MapPoints(pd.DataFrame(columns), space, shares, {kind: len(found) for kind, found in rows.items()}, name)


def _space(model: Any) -> tuple[np.ndarray, np.ndarray, str]:
    """Float32 [U, D] and [I, D] rows that may be compared, and what they are."""
    found = model.served()
    if found.pair is None and found.user.shape[1]:
        biased = bool((found.item_bias != found.item_bias[0]).any())
        said = _PERSONAL if biased else "the representations whose inner product is the model's score"
        return _array(found.user), _array(found.item), said
    text = model.item_text
    if model.config.user_profiles and model.user_profile.shape[1] == text.shape[1]:
        said = "the vectors of profiles and item texts, since this backbone scores pairs and has no space of its own"
        return _array(model.user_profile), _array(text), said
    if getattr(model, "user_text", None) is not None:
        said = "the vectors of item texts and of users' histories, since this backbone scores pairs"
        return _array(model.user_text), _array(text), said
    raise ValueError(
        f"{model.config.backbone} scores pairs and reads no texts of users, so that no space holds users and items."
    )


def _array(rows: Any) -> np.ndarray:
    return np.asarray(rows.detach().cpu().numpy())


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _principal(rows: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """[n, 2] coordinates along the two main directions, and their shares of the variance; each direction's sign is
    the one that makes its largest entry positive."""
    centred = rows - rows.mean(axis=0)
    if centred.shape[1] < 2 or len(centred) < 3:
        raise ValueError(f"{len(rows)} points in {centred.shape[1]} dimensions: too few for a map.")
    values, vectors = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    main = vectors[:, [-1, -2]]
    main = main * np.sign(main[np.abs(main).argmax(axis=0), [0, 1]])
    first, second = (max(float(values[-place]) / max(float(values.sum()), 1e-12), 0.0) for place in (1, 2))
    return centred @ main, (first, second)
