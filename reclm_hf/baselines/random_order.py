"""Random: one seeded order of the items for everybody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..recommender.catalog import tie_order
from .base import Floor

if TYPE_CHECKING:
    from ..data.splits import Split


@dataclass(eq=False)
class RandomOrder(Floor):
    """One permutation of the items per seed; what a recommender reaches that knows nothing."""

    name: ClassVar[str] = "random"
    recommends_cold: ClassVar[bool] = True

    seed: int = 0

    def _fit(self, split: Split, vectors: np.ndarray) -> dict[str, np.ndarray]:
        return {"score": -tie_order(split.n_items, self.seed).astype(np.float32)}

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Minus the place in the order, the same for every user: float32 [B, C]."""
        return np.tile(self.state["score"][items], (len(users), 1))
