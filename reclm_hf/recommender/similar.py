"""Items like an item and users like a user: cosine over what the score is made of, or over texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from .new_users import Histories, lists_of
from .ranking import all_in_order, block_users, rank_blocks, tie_order

if TYPE_CHECKING:
    import pandas as pd

    from .modeling_reclm_recommender import RecLMRecommender

BY = ("model", "text")


@dataclass
class Similar:
    """The nearest items of items, or users of users, the nearest first; titles are empty for users."""

    ids: list[str]
    similar_ids: list[list[str]]
    titles: list[list[str]]
    similarities: list[list[float]]

    def to_frame(self) -> pd.DataFrame:
        """One row a pair: id, rank (from 1), similar_id, title, similarity (cosine)."""
        import pandas as pd

        rows = [
            (identity, rank, *entry)
            for identity, *lists in zip(self.ids, self.similar_ids, self.titles, self.similarities, strict=True)
            for rank, entry in enumerate(zip(*lists, strict=True), start=1)
        ]
        return pd.DataFrame(rows, columns=["id", "rank", "similar_id", "title", "similarity"])


class SimilarMixin:
    """`similar_items` and `similar_users` of `RecLMRecommender`; expects its attributes."""

    catalog: Any

    def similar_items(
        self,
        item_ids: Sequence[str],
        k: int = 10,
        *,
        by: str = "model",
        candidates: Sequence[str] | None = None,
        categories: Sequence[str] | None = None,
        deny: Sequence[str] | None = None,
    ) -> Similar:
        """The k items most like each item, by cosine; never the item itself.

        Items without history are compared by what their texts give them.

        Args:
            by: `model` compares what the score is made of (for NCF, the representations that its tower and its product
                take), `text` the text vectors.
            candidates, categories, deny: filters of what is found, as in `recommend`.

        Raises:
            KeyError: an unknown item. ValueError: an unknown `by`, k < 1, or what `recommend` refuses.
        """
        model = self._model()
        asked = self.catalog.item_index(item_ids)
        allowed = model.eligible_items(candidates, categories, deny)
        lists = _nearest(item_vectors(model, by), asked, allowed, k)
        names, titles = self.catalog.item_ids, self.catalog.titles
        found = Similar(list(item_ids), [], [], [])
        for positions, similarities in lists:
            found.similar_ids.append([names[item] for item in positions])
            found.titles.append([titles[item] for item in positions])
            found.similarities.append(similarities.tolist())
        return found

    def similar_users(self, user_ids: Sequence[str], k: int = 10, *, by: str = "model") -> Similar:
        """The k users with history most like each user, by cosine; never the user.

        Args:
            by: `model` compares what the score is made of, `text` the mean text vectors of the histories.

        Raises:
            KeyError: an unknown user. ValueError: a user without history, an unknown `by`, or k < 1.
        """
        asked = self.catalog.user_index(user_ids)
        known = np.diff(self.catalog.seen_indptr) > 0
        for name, user in zip(user_ids, asked, strict=True):
            if not known[user]:
                raise ValueError(f"similar_users: user {name!r} has no history, so nobody can be found by it.")
        names = self.catalog.user_ids
        found = Similar(list(user_ids), [], [], [])
        for positions, similarities in _nearest(user_vectors(self._model(), by), asked, np.flatnonzero(known), k):
            found.similar_ids.append([names[user] for user in positions])
            found.titles.append([""] * len(positions))
            found.similarities.append(similarities.tolist())
        return found

    def _model(self) -> RecLMRecommender:
        model: Any = self
        return model


def item_vectors(model: RecLMRecommender, by: str) -> torch.Tensor:
    """[I, n] vectors of length 1 (or 0) whose products are cosines. Raises ValueError for an unknown `by`."""
    if _checked(by) == "text":
        return model.item_text

    def make() -> torch.Tensor:
        served = model.served()
        pair = [] if served.pair is None else [served.pair.item * served.pair.gate.unsqueeze(1)]
        return functional.normalize(torch.cat([served.item, *pair], dim=1), dim=1)

    return model.remembered("item_vectors", make)


def user_vectors(model: RecLMRecommender, by: str) -> torch.Tensor:
    """[U, n] likewise, of users."""

    def make() -> torch.Tensor:
        if by == "text":
            known = Histories(model.catalog.seen_indptr, model.catalog.seen_indices)
            return functional.normalize(known.matrix(len(model.item_text), model.item_text.device) @ model.item_text)
        served = model.served()
        pair = [] if served.pair is None else [served.pair.user]
        return functional.normalize(torch.cat([served.user, *pair], dim=1), dim=1)

    return model.remembered(f"user_vectors.{_checked(by)}", make)


def _checked(by: str) -> str:
    if by not in BY:
        raise ValueError(f"by={by!r} is not known: choose one of {', '.join(BY)}.")
    return by


def _nearest(vectors: torch.Tensor, asked: np.ndarray, allowed: np.ndarray, k: int) -> list[tuple[Any, Any]]:
    """(positions, cosines) of the k rows of `allowed` nearest to each row of `asked`, itself left out."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")

    def score(places: np.ndarray, columns: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            left = vectors[torch.as_tensor(asked[places], device=vectors.device)]
            right = (
                vectors
                if all_in_order(columns, len(vectors))
                else vectors[torch.as_tensor(columns, device=vectors.device)]
            )
            return (left @ right.T).float().cpu().numpy()

    itself = (np.arange(len(asked) + 1), asked)
    ties = tie_order(len(vectors))
    size = block_users(len(allowed))
    return list(lists_of(rank_blocks(score, np.arange(len(asked)), allowed, k, ties=ties, seen=itself, block=size)))
