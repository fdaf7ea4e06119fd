"""Why an item was recommended: the parts of its score, and the items of the history that are nearest to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from .new_users import View, served_view
from .representations import Representations
from .similar import item_vectors

if TYPE_CHECKING:
    import pandas as pd

    from .modeling_reclm_recommender import RecLMRecommender

_EVIDENCE = 3
PARTS = ("id", "text", "profile", "bias")
"""The parts of a score, see `Explanation`."""


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
        scores, parts = taken_apart(model, [view.encoded for view in views(model)], user, np.array([item]))
        named = dict(zip(PARTS, parts[0].tolist(), strict=True))
        evidence = _evidence(model, user, item, by)
        return Explanation(user_id, item_id, self.catalog.titles[item], float(scores[0]), named, evidence)


def views(model: RecLMRecommender) -> tuple[View, View, View]:
    """Everything, then without profiles, then without profiles and texts."""

    def make() -> tuple[View, View, View]:
        served = served_view(model)
        state = served.state
        profile_free = state._replace(user_profile=_zero(state.user_profile), item_profile=_zero(state.item_profile))
        text_free = profile_free._replace(item_text=_zero(state.item_text), user_text=_zero(state.user_text))
        without = served._replace(profiles=False)
        if model.config.user_profiles or model.config.item_profiles:
            without = View("profile_free", profile_free, model.encode(profile_free), profiles=False)
        return served, without, View("text_free", text_free, model.encode(text_free), profiles=False)

    return model.remembered("views", make)


def _zero(tensor: torch.Tensor) -> torch.Tensor:
    """Zeros of the same shape that take no memory."""
    return tensor.new_zeros(()).expand_as(tensor)


@torch.no_grad()
def taken_apart(
    model: RecLMRecommender, people: Sequence[Representations], user: int, items: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One person's scores of some items, float64 [m], and their parts, float64 [m, 4] in the order of `PARTS`.

    Args:
        people: in each of the `views`, in order. user: the person's row there. items: int64 [m] positions.
    """
    rows = torch.as_tensor(items, device=people[0].item_bias.device)
    person = torch.full_like(rows, user)
    found = [encoded.matched(model.backbone, person, rows) for encoded in people] + [people[-1].item_bias[rows]]
    score, profile_free, text_free, bias = (column.double().cpu().numpy() for column in found)
    return score, np.stack([text_free - bias, profile_free - text_free, score - profile_free, bias], axis=1)


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
