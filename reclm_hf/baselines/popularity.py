"""Popularity, plain and time-decayed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..data.features import decayed_popularity
from .base import Floor

if TYPE_CHECKING:
    from ..data.splits import Split

COLD_SCORE = -1.0
# Days; the slowest decay comes first, because it is the nearest to plain popularity.
HALF_LIVES: list[Any] = [90, 30, 14, 7, 5, 3, 2, 1]


@dataclass(eq=False)
class Popularity(Floor):
    """How many interactions an item has; the same list for everybody. Cold items share a score below all others."""

    name: ClassVar[str] = "popularity"
    recommends_cold: ClassVar[bool] = False

    def _half_life(self) -> float | None:
        return None

    def _fit(self, split: Split, vectors: np.ndarray) -> dict[str, np.ndarray]:
        popularity = decayed_popularity(split, self._half_life())
        # The decayed count of a warm item may vanish in float32, so cold items need a score of their own.
        return {"score": np.where(split.warm, popularity, np.float32(COLD_SCORE))}

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(Decayed) counts, the same for every user: float32 [B, C]."""
        return np.tile(self.state["score"][items], (len(users), 1))


@dataclass(eq=False)
class DecayedPopularity(Popularity):
    """Interactions weighted by 2^(-age / half-life); age in days before the cut. Plain counts without timestamps."""

    name: ClassVar[str] = "popularity_decayed"
    search_space: ClassVar[dict[str, list[Any]]] = {"half_life_days": HALF_LIVES}

    half_life_days: float = 7

    def _half_life(self) -> float | None:
        return self.half_life_days
