"""Why an item was recommended: the parts of its score, and the items of the history that are nearest to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from .representations import Representations
from .similar import item_vectors

if TYPE_CHECKING:
    import pandas as pd

    from .modeling_reclm_recommender import RecLMRecommender

_EVIDENCE = 3


class Evidence(NamedTuple):
    """An item of the user's history and its similarity (cosine) to the item that is explained."""

    item_id: str
    title: str
    similarity: float


@dataclass(frozen=True)
class Explanation:
    """The parts of one score; they add up to it.

    `parts` is found by taking away, in this order, so that it holds for models that are not sums as well:

    - `profile`: the score less the score with the profile vectors of all users and items set to zero;
    - `text`: that less the score with the text vectors of all items and histories set to zero too;
    - `bias`: of what remains, the item's own level: its bias, and the popularity of `floor_residual` (for an item
      without history, what its text lets expect of it and the level of cold items);
    - `id`: the rest, which users and items have learned by who chose what.

    Taken away in another order, the parts of a model with layers between them would be others.
    """

    user_id: str
    item_id: str
    title: str
    score: float
    parts: Mapping[str, float]
    evidence: Sequence[Evidence]

    def to_frame(self) -> pd.DataFrame:
        """One row a part: user_id, item_id, title, part, value."""
        import pandas as pd

        rows = [(self.user_id, self.item_id, self.title, part, value) for part, value in self.parts.items()]
        return pd.DataFrame(rows, columns=["user_id", "item_id", "title", "part", "value"])

    def __str__(self) -> str:
        parts = ", ".join(f"{part} {value:+.3f}" for part, value in self.parts.items())
        lines = [f"{self.title} [{self.item_id}] for {self.user_id}: score {self.score:.3f} = {parts}"]
        lines += [f"  like {near.title} [{near.item_id}], cosine {near.similarity:.2f}" for near in self.evidence]
        return "\n".join(lines)


class ExplainMixin:
    """`explain` of `RecLMRecommender`; expects its attributes."""

    catalog: Any

    def explain(self, user_id: str, item_id: str, *, by: str = "model") -> Explanation:
        """Why this item has this score for this user.

        Args:
            by: how the nearest items of the history are found, `model` or `text`, as in `similar_items`.

        Raises:
            KeyError: an unknown user or item. ValueError: an unknown `by`.
        """
        model: Any = self
        user, item = int(self.catalog.user_index([user_id])[0]), int(self.catalog.item_index([item_id])[0])
        with torch.no_grad():
            score, profile_free, text_free = (_score(model, encoded, user, item) for encoded in _taken_away(model))
            bias = float(_taken_away(model)[-1].item_bias[item])
        parts = {
            "id": text_free - bias,
            "text": profile_free - text_free,
            "profile": score - profile_free,
            "bias": bias,
        }
        evidence = _evidence(model, user, item, by)
        return Explanation(user_id, item_id, self.catalog.titles[item], score, parts, evidence)


def _taken_away(model: RecLMRecommender) -> tuple[Representations, Representations, Representations]:
    """Everything, then without profiles, then without profiles and texts."""

    def make() -> tuple[Representations, Representations, Representations]:
        state = model.state()
        profile_free = state._replace(
            user_profile=torch.zeros_like(state.user_profile), item_profile=torch.zeros_like(state.item_profile)
        )
        text_free = profile_free._replace(
            item_text=torch.zeros_like(state.item_text), user_text=torch.zeros_like(state.user_text)
        )
        has_profiles = model.config.user_profiles or model.config.item_profiles
        without = model.encode(profile_free) if has_profiles else model.served()
        return model.served(), without, model.encode(text_free)

    return model.remembered("taken_away", make)


def _score(model: RecLMRecommender, encoded: Representations, user: int, item: int) -> float:
    rows = (torch.tensor([index], device=encoded.item_bias.device) for index in (user, item))
    return float(encoded.matched(model.backbone, *rows)[0])


def _evidence(model: RecLMRecommender, user: int, item: int, by: str) -> list[Evidence]:
    """The nearest items of the history, the nearest first."""
    catalog = model.catalog
    vectors = item_vectors(model, by)
    history = catalog.seen(user).astype(np.int64)
    history = history[history != item]
    with torch.no_grad():
        near = (vectors[torch.from_numpy(history).to(vectors.device)] @ vectors[item]).float().cpu().numpy()
    order = np.argsort(-near, kind="stable")[:_EVIDENCE]
    return [Evidence(catalog.item_ids[history[row]], catalog.titles[history[row]], float(near[row])) for row in order]
