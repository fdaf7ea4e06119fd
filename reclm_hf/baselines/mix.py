"""The closed-form mix of the floors: one list of warm and cold items, no training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..recommender.catalog import BLOCK_CELLS
from . import FLOORS
from .base import Floor, prefixed, unprefixed

if TYPE_CHECKING:
    from ..data.splits import Split

POPULARITY = "popularity_decayed"
COSINE = "text_cosine"
TEXT_POPULARITY = "text_popularity"
COLLABORATIVE = ("item_knn", "ease")


@dataclass(eq=False)
class Mix(Floor):
    """Weighted sum of standardised floors.

    warm items: z(log1p decayed popularity) + collaborative_weight z(kNN or EASE) + cosine_weight z(cosine)
    cold items: cold_offset + cold_scale (z(cosine) + w z(text -> popularity)) / (1 + w), w = text_popularity_weight

    z takes mean and standard deviation over the warm items, per user where the floor is personal. So the score of a
    cold item does not depend on which other cold items there are, and an item added later scores as it would have.

    `parts` gives hyper-parameters of the floors inside by their name (those not named keep their defaults);
    `collaborative` is `item_knn` or `ease`. `select_floor` sets both from what was chosen for these floors alone.
    """

    name: ClassVar[str] = "mix"
    recommends_cold: ClassVar[bool] = True
    needs_vectors: ClassVar[bool] = True
    search_space: ClassVar[dict[str, list[Any]]] = {
        "collaborative_weight": [0.0, 0.1, 0.3, 1.0],
        "cosine_weight": [0.0, 0.1, 0.3],
        "text_popularity_weight": [0.0, 0.5, 1.0, 2.0, 4.0, 8.0],
        "cold_offset": [-10.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
        "cold_scale": [1.0, 2.0],
    }
    # Separable: the order of the warm items and that of the cold ones first, then how the two lists interleave.
    search_stages: ClassVar[tuple[tuple[str, tuple[str, ...]], ...]] = (
        ("catalogue", ("collaborative_weight", "cosine_weight")),
        ("zero_shot", ("text_popularity_weight",)),
        ("catalogue", ("cold_offset", "cold_scale")),
    )
    score_params: ClassVar[frozenset[str]] = frozenset(search_space)

    collaborative: str = "item_knn"
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    collaborative_weight: float = 0.1
    cosine_weight: float = 0.1
    text_popularity_weight: float = 1.0
    cold_offset: float = -10.0
    cold_scale: float = 1.0

    def __post_init__(self) -> None:
        inside = (self.collaborative, POPULARITY, COSINE, TEXT_POPULARITY)
        if self.collaborative not in COLLABORATIVE:
            raise ValueError(f"collaborative={self.collaborative!r} must be one of {', '.join(COLLABORATIVE)}")
        if unknown := set(self.parts) - set(inside):
            raise ValueError(f"parts names {', '.join(sorted(unknown))}: this mix is made of {', '.join(inside)}")

    def _fit(self, split: Split, vectors: np.ndarray) -> dict[str, np.ndarray]:
        state: dict[str, np.ndarray] = {}
        for name in (self.collaborative, POPULARITY, COSINE, TEXT_POPULARITY):
            part = FLOORS[name](**self.parts.get(name, {})).fit(split, vectors)
            state.update(prefixed(part.state, name))
            if name in (self.collaborative, COSINE):
                state[f"{name}.mean"], state[f"{name}.std"] = _moments(part, np.flatnonzero(split.warm))
        popularity = np.log1p(np.maximum(state.pop(f"{POPULARITY}.score"), 0.0))
        state["popularity"] = _standardise(popularity, split.warm)
        state["text_popularity"] = _standardise(state.pop(f"{TEXT_POPULARITY}.score"), split.warm)
        return {name: values for name, values in state.items() if not name.endswith(".warm")}

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """The mix: float32 [B, C]."""
        state, warm = self.state, self.state["warm"][items]
        share = self.text_popularity_weight / (1.0 + self.text_popularity_weight)
        guess = self.cold_offset + self.cold_scale * share * state["text_popularity"][items]
        scores = np.tile(np.where(warm, state["popularity"][items], guess).astype(np.float32), (len(users), 1))
        cosine = np.where(warm, self.cosine_weight, self.cold_scale * (1.0 - share)).astype(np.float32)
        collaborative = np.where(warm, self.collaborative_weight, 0.0).astype(np.float32)
        for name, weight in ((COSINE, cosine), (self.collaborative, collaborative)):
            # Often only the few cold items need the cosine, and none the collaborative part; picking most of the
            # columns would cost more than it saves.
            needed = np.flatnonzero(weight)
            if 2 * len(needed) > len(items):
                scores += weight * self._z(name, users, items)
            elif len(needed):
                scores[:, needed] += weight[needed] * self._z(name, users, items[needed])
        return scores

    def _z(self, name: str, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Standardised scores of a personal floor, float32 [B, C]; 0 for users whose warm scores are all equal."""
        part = FLOORS[name](**self.parts.get(name, {}))
        part.catalog = self.catalog
        part.state = {"warm": self.state["warm"], **unprefixed(self.state, name)}
        mean, std = (self.state[f"{name}.{moment}"][users, None] for moment in ("mean", "std"))
        scores = part.score(users, items)
        scores -= mean
        scores *= np.divide(1.0, std, out=np.zeros_like(std), where=std > 0)
        return scores


def _moments(floor: Floor, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each user's scores over the items, two float32 [U], in blocks of users."""
    n_users = floor.catalog.n_users
    mean, std = np.empty(n_users, dtype=np.float32), np.empty(n_users, dtype=np.float32)
    block_size = max(1, BLOCK_CELLS // len(items))
    for start in range(0, n_users, block_size):
        users = np.arange(start, min(start + block_size, n_users))
        scores = floor.score(users, items)
        mean[users], std[users] = scores.mean(axis=1), scores.std(axis=1)
    return mean, std


def _standardise(values: np.ndarray, warm: np.ndarray) -> np.ndarray:
    mean, std = values[warm].mean(), values[warm].std()
    return ((values - mean) / (std if std > 0 else 1.0)).astype(np.float32)
