"""Ranking for one person, whoever it is: known or new, as they are or as if they had chosen or written something else.

Nothing is trained again. A known user keeps the own ID embedding as long as the history is their own; another history
is folded in (see `fold_in`), as that of somebody new. What is changed is changed for this person alone: in a graph,
items go on hearing from the user as trained. With two layers these are the items of the history only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .explain import PARTS, taken_apart, views
from .fold_in import FoldInMixin
from .grown import grown_copy
from .new_users import Histories, View, encode_new_users, ranked_blocks, served_view, with_rows
from .representations import Representations
from .someone import Someone

if TYPE_CHECKING:
    import pandas as pd

    from .modeling_reclm_recommender import RecLMRecommender

__all__ = ["PARTS", "Ranking", "Someone", "WhatIfMixin"]

# Profile modes whose vectors do not come from anything written: without a profile they are what they were.
_NEVER_WRITTEN = ("constant", "raw_text")


@dataclass(frozen=True, eq=False)
class Ranking:
    """Every eligible item ranked for one person.

    Attributes:
        order: int64 [n] positions in the catalogue, best first, ties as in `recommend`; without seen and filtered
            items.
        scores: float32 [n], in that order.
        seen: int64 positions of the history that were left out, ascending.
    """

    order: np.ndarray
    scores: np.ndarray
    seen: np.ndarray
    _taken_apart: Callable[[np.ndarray], np.ndarray] = field(repr=False)

    def ranks(self, n_items: int) -> np.ndarray:
        """The rank of each item of the catalogue, int64 [n_items]: 1 is the best, 0 is not ranked."""
        ranks = np.zeros(n_items, dtype=np.int64)
        ranks[self.order] = np.arange(1, len(self.order) + 1)
        return ranks

    def parts(self, positions: np.ndarray) -> np.ndarray:
        """The scores of items apart, float32 [m, 4], columns as in `PARTS`: id, text, profile, bias.

        Rows add up to the score. The parts and the order of taking away are those of `Explanation`: of somebody new,
        everything is computed again without profiles (theirs too) and without texts, fold-in included. To be asked for
        before the model is trained on.

        Args:
            positions: int64 [m] in the catalogue, ranked or not.
        """
        return self._taken_apart(np.asarray(positions, dtype=np.int64))


class WhatIfMixin(FoldInMixin):
    """`rank_for` and `with_items` of `RecLMRecommender`; expects its attributes."""

    text_encoder: Callable[[], Any]

    def rank_for(
        self,
        someone: Someone,
        *,
        exclude_seen: bool = True,
        candidates: Sequence[str] | None = None,
        categories: Sequence[str] | None = None,
        deny: Sequence[str] | None = None,
    ) -> Ranking:
        """Every item ranked for one person, and the parts of each score: what a change of history or profile changes.

        With a known user's own history and profile, or a history or a profile of somebody new, scores are those of
        `recommend`, `recommend_for_history` and `recommend_for_profile`. An empty history is none: what is left is the
        profile. Several threads may ask at once.

        Args:
            someone: a `reclm_hf.Someone`, such as `Someone("user-42", profile="User identity: ...")`.
            exclude_seen: whether to leave out the items of the history.
            candidates, categories, deny: filters, as in `recommend`.

        Raises:
            KeyError: an unknown user or item; the message names it.
            ValueError: nothing is known of the person, a profile that this model cannot read, a vector that does not
                fit, or what `recommend` refuses.
        """
        model = self._model()
        person, history = self._person(someone)
        items = model.eligible_items(candidates, categories, deny)
        seen = history if exclude_seen else Histories(np.zeros(2, dtype=np.int64), history.indices[:0])
        served = person(served_view(model))
        (block,) = ranked_blocks(model, served, 1, items, max(1, len(items)), seen)

        def apart(positions: np.ndarray) -> np.ndarray:
            people = [served, *(person(view) for view in views(model)[1:])]
            return taken_apart(model, people, 0, positions)[1].astype(np.float32)

        return Ranking(block.items, block.scores, seen.indices, apart)

    def with_items(
        self,
        items: pd.DataFrame,
        *,
        vectors: np.ndarray | None = None,
        item_profiles: Sequence[str] | None = None,
        profile_vectors: np.ndarray | None = None,
    ) -> RecLMRecommender:
        """A copy with cold items added, for looking at: it shares all weights with this model, which stays as it is.

        Whoever trains the copy trains this model too. Arguments and errors are those of `add_items`.
        """

        def add(grown: RecLMRecommender) -> None:
            grown.add_items(items, vectors=vectors, item_profiles=item_profiles, profile_vectors=profile_vectors)

        return grown_copy(self._model(), add)

    # -- who it is --------------------------------------------------------------------------------------------------

    def _person(self, someone: Someone) -> tuple[Callable[[View], Representations], Histories]:
        """How the person is encoded, as row 0 of the items of a view, and the history, which may be empty."""
        catalog = self.catalog
        user = None if someone.user_id is None else int(catalog.user_index([someone.user_id])[0])
        if user is not None and someone.history is None:
            history = _one_history(catalog.seen(user))
            return partial(self._known, user=user, profile=self._other_profile(someone)), history
        history = _one_history(catalog.item_index(() if someone.history is None else someone.history))
        if len(history.indices):
            return partial(self.folded, histories=history, profile=self._profile_beside(someone, user)), history
        return partial(self.described, profile=self._profile_alone(someone, user)), history

    @torch.no_grad()
    def _known(self, view: View, user: int, profile: torch.Tensor | None) -> Representations:
        """A known user with the own history. profile: [1, profile_dim] centred, in the place of the own, or None."""
        model, known = self._model(), view.encoded
        pair = known.user if known.pair is None else known.pair.user
        if profile is None or not view.profiles:
            return known.with_users(known.user[[user]], pair[[user]])
        initial = model.initial_users(model.user_embedding.weight[[user]], profile)
        was = model.initial_users(model.user_embedding.weight[[user]], view.state.user_profile[[user]])
        rows = pair[[user], : initial.shape[1]] + _own_share(model, view, user) * (initial - was)
        text = rows[:, :0] if model.floors is None else view.state.user_text[[user]]
        return with_rows(model, known, rows, profile, text)

    @torch.no_grad()
    def described(self, view: View, profile: torch.Tensor) -> Representations:
        """The items of a view for one person of whom only a profile is known: [1, profile_dim] centred, of length 1.

        The ID embedding is the mean over users with history; the profile takes the place of the text history.
        """
        model = self._model()
        if not view.profiles:
            own = profile = torch.zeros_like(profile)
        else:
            own = profile if self.config.profile_mode == "llm" else self._unwritten(profile)[0]
        return encode_new_users(model, model.initial_users(self._mean_embedding(), own), own, profile, view=view)

    def _mean_embedding(self) -> torch.Tensor:
        """[1, w] of the users with history."""
        model = self._model()

        def make() -> torch.Tensor:
            weight = model.user_embedding.weight.detach()
            known = torch.as_tensor(np.diff(self.catalog.seen_indptr) > 0, device=weight.device)
            return weight[known].mean(0, keepdim=True)

        return model.remembered("mean_embedding", make)

    # -- with which profile -----------------------------------------------------------------------------------------

    def _other_profile(self, someone: Someone) -> torch.Tensor | None:
        """[1, profile_dim] centred, in the place of a known user's own; None leaves that."""
        if _gives_profile(someone):
            self._require_profiles()
            return self._centred_rows(self._vector(someone), 1)
        changed = someone.profile is not None and self.config.user_profiles
        if not changed or self.config.profile_mode in _NEVER_WRITTEN:
            return None
        return self.item_text.new_zeros(1, self.config.profile_dim)

    def _profile_beside(self, someone: Someone, user: int | None) -> torch.Tensor | None:
        """[1, profile_dim] centred, beside a history that is folded in; None: what people without a profile have."""
        if _gives_profile(someone):
            self._require_profiles()
            return self._centred_rows(self._vector(someone), 1)
        written = self.config.user_profiles and self.config.profile_mode not in _NEVER_WRITTEN
        if user is None or someone.profile is not None or not written:
            return None
        return self._model().user_profile[[user]]

    def _profile_alone(self, someone: Someone, user: int | None) -> torch.Tensor:
        """[1, profile_dim] centred, of a person without a history. Raises ValueError where there is none."""
        if _gives_profile(someone):
            self._require_reading()
            return self._centred_rows(self._vector(someone), 1)
        readable = self.config.user_profiles and self.config.profile_mode == "llm"
        if user is not None and someone.profile is None and readable:
            own = self._model().user_profile[[user]]
            if own.any():
                return own
        raise ValueError(
            "rank_for: neither a history nor a profile is known of this person: give a known user_id, at least one "
            "item id in history, or a profile that says what the person likes."
        )

    def _vector(self, someone: Someone) -> np.ndarray:
        """[1, profile_dim] encoder vector of the profile that was given."""
        if someone.vector is not None:
            return np.asarray(someone.vector)[None]
        return np.asarray(self.text_encoder().encode([someone.profile]))

    def _require_reading(self) -> None:
        model = self._model()
        if not model.backbone.support(self.config).new_users_by_profile:
            raise ValueError(
                f"This model was trained with profile_mode={self.config.profile_mode!r} and cannot read a profile; "
                "train one with profile_mode='llm' or preset='floor_residual'."
            )


def _gives_profile(someone: Someone) -> bool:
    """Whether a profile is given, as text or vector. Raises ValueError for the vector of an empty one."""
    if someone.profile is None or someone.profile.strip():
        return someone.profile is not None or someone.vector is not None
    if someone.vector is not None:
        raise ValueError("rank_for: an empty profile has no vector: give its text, or leave the vector out.")
    return False


def _own_share(model: RecLMRecommender, view: View, user: int) -> torch.Tensor:
    """How much of a user's initial row is in the row that is scored, a scalar: in a graph, part of it comes back."""
    known = view.encoded.user
    one = known.new_zeros(len(known), 1)
    one[user] = 1.0
    # Backbones are linear in the initial rows, and treat columns alike: one column of ones tells the weight.
    return model.backbone(one, known.new_zeros(len(view.encoded.item_bias), 1), view.state.adjacency)[0][user]


def _one_history(items: np.ndarray) -> Histories:
    chosen = np.unique(items).astype(np.int64)
    return Histories(np.array([0, len(chosen)], dtype=np.int64), chosen)
