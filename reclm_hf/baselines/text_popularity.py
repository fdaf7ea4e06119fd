"""Text -> popularity: a ridge regression that guesses from its text how popular an item is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..data.features import decayed_popularity, fit_text_popularity
from .base import Floor

if TYPE_CHECKING:
    from ..data.splits import Split


@dataclass(eq=False)
class TextPopularityFloor(Floor):
    """Ridge regression of log1p decayed popularity on text vectors, fitted on warm items and applied to all.

    The same list for everybody: on new items this unpersonalised guess can be far above text cosine.
    """

    name: ClassVar[str] = "text_popularity"
    recommends_cold: ClassVar[bool] = True
    needs_vectors: ClassVar[bool] = True
    # A slower decay and a larger penalty are the simpler model; the two are chosen one after the other.
    search_space: ClassVar[dict[str, list[Any]]] = {
        "half_life_days": [90, 30, 14, 7, 3],
        "ridge": [1000, 300, 100, 30, 10, 3, 1],
    }
    search_stages: ClassVar[tuple[tuple[str, tuple[str, ...]], ...]] = (
        ("zero_shot", ("half_life_days",)),
        ("zero_shot", ("ridge",)),
    )

    ridge: float = 100
    half_life_days: float | None = 7

    def _fit(self, split: Split, vectors: np.ndarray) -> dict[str, np.ndarray]:
        popularity = decayed_popularity(split, self.half_life_days)
        model = fit_text_popularity(vectors, popularity, split.warm, self.ridge)
        return {"score": model.predict(vectors)}

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Expected log1p decayed popularity, the same for every user: float32 [B, C]."""
        return np.tile(self.state["score"][items], (len(users), 1))
