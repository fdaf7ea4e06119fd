"""Text cosine: the mean of the history's text vectors against the item's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..data.features import center, history_mean, normalize_rows
from .base import Floor

if TYPE_CHECKING:
    from ..data.splits import Split


@dataclass(eq=False)
class TextCosine(Floor):
    """Cosine of an item's text vector with the user's mean history vector; scores warm and cold items alike.

    `centered` subtracts the mean over warm items first. Users without history score 0 everywhere.
    """

    name: ClassVar[str] = "text_cosine"
    recommends_cold: ClassVar[bool] = True
    needs_vectors: ClassVar[bool] = True
    search_space: ClassVar[dict[str, list[Any]]] = {"centered": [False, True]}
    select_on: ClassVar[str] = "zero_shot"

    centered: bool = True

    def _fit(self, split: Split, vectors: np.ndarray) -> dict[str, np.ndarray]:
        items = center(vectors, split.warm)[0] if self.centered else normalize_rows(vectors)
        return {"items": items, "users": history_mean(split, items)}

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Cosines: float32 [B, C]."""
        scores: np.ndarray = self.state["users"][users] @ self.state["items"][items].T
        return scores
