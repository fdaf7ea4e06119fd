"""Fold-in: ranking for people who were never seen, from the items they chose, with no training.

A least-squares fit of a user vector to its history, u = (V'V + lambda I)^-1 V'1, suits a model that was trained to
score its history 1. BPR and softmax models have scores of any level and scale, and such a fit keeps less of what is
personal in their users (`training/benchmarks/fold_in.py` compares the two). So the ridge regression is taken over the
known users instead: it learns how this model's user vectors follow from the mean item vectors of their histories,

    h_u = (sum of v_i over the history + c m) / (|history| + c),    m: mean of the known users' history means
    x_u = mean(x) + W (h_u - mean(h)),    W = X'H (H'H + lambda I)^-1    over the known users, centred

which is a closed form too, and the same for inner products, towers over pairs and graphs. A graph backbone then
attaches the person to the items of the history; x_u takes the place of the initial row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from .new_users import Histories, View, best_items, encode_new_users, new_user_tables, served_view
from .ranking import Recommendations
from .representations import Representations

if TYPE_CHECKING:
    from .modeling_reclm_recommender import RecLMRecommender

NEW_USER = "new user"
# c: so many items of the mean history are added to every history, so that one item does not make a whole taste.
# Chosen on the validation split of the bundled data among 0, 1, 3, 10, 30, for whole histories and for 1 or 3 items.
PRIOR_ITEMS = 10.0
# lambda, in users: lambda I weighs as much as so many known users of mean variance. Chosen there among 1, 5, 20, 100;
# it matters only where the map is fitted to few users (50, 200).
PRIOR_USERS = 20.0


class HistoryMap(NamedTuple):
    """The linear map from mean history vectors to rows of users; see above.

    prior: [w] m. centre: [w] mean(h). mean: [w] mean(x). weight: [w, w] W'.
    """

    prior: torch.Tensor
    centre: torch.Tensor
    mean: torch.Tensor
    weight: torch.Tensor

    def rows(self, history: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        """[B, w] rows of people with histories [B, I] (sparse CSR of ones) over item vectors [I, w]."""
        return self.mean + (_shrunk(*_sums(history, item), self.prior) - self.centre) @ self.weight


def fit_history_map(history: torch.Tensor, item: torch.Tensor, rows: torch.Tensor) -> HistoryMap:
    """Fit the map to known users.

    Args:
        history: [U, I] sparse CSR of ones; users without history are left out. item: [I, w]. rows: [U, w].

    Raises:
        ValueError: nobody has a history.
    """
    total, count = _sums(history, item)
    known = count[:, 0] > 0
    if not known.any():
        raise ValueError("No user of this model has a history, so there is nothing to fold new histories in with.")
    total, count, target = total[known].double(), count[known].double(), rows[known].double()
    prior = (total / count).mean(0)
    features = _shrunk(total, count, prior)
    centre, mean = features.mean(0), target.mean(0)
    features, target = features - centre, target - mean
    gram = features.T @ features
    ridge = (PRIOR_USERS / len(features) * gram.diagonal().mean()).clamp(min=1e-12)
    weight = torch.linalg.solve(gram + ridge * torch.eye(len(gram)).to(gram), features.T @ target)
    return HistoryMap(*(part.to(rows.dtype) for part in (prior, centre, mean, weight)))


def _sums(history: torch.Tensor, item: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[B, w] sums of history vectors and [B, 1] lengths of the histories."""
    return history @ item, history @ item.new_ones(len(item), 1)


def _shrunk(total: torch.Tensor, count: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
    return (total + PRIOR_ITEMS * prior) / (count + PRIOR_ITEMS)


class FoldInMixin:
    """`recommend_for_history` of `RecLMRecommender`; expects its attributes."""

    config: Any
    catalog: Any
    backbone: Any
    item_text: torch.Tensor

    def recommend_for_history(
        self,
        item_ids: Sequence[str],
        k: int = 20,
        *,
        profile: str | None = None,
        vector: np.ndarray | None = None,
        exclude_seen: bool = True,
        candidates: Sequence[str] | None = None,
        categories: Sequence[str] | None = None,
        deny: Sequence[str] | None = None,
    ) -> Recommendations:
        """The k best items for somebody the model has never seen, from the items they chose (see above).

        Args:
            item_ids: the history, in any order; repeated items count once.
            profile: the person's profile text, for a model with `profile_mode="llm"`; None goes without.
            vector: [profile_dim] float32 encoder vector of the profile; None encodes `profile` here.
            exclude_seen: whether to leave out the items of the history.
            candidates, categories, deny: filters, as in `recommend`.

        Raises:
            KeyError: an unknown item; the message names it. `add_items` adds new ones.
            ValueError: an empty history, a profile that this model cannot read, k < 1, or what `recommend` refuses.
        """
        return self.recommend_for_histories(
            [item_ids],
            k,
            profiles=None if profile is None else [profile],
            vectors=None if vector is None else np.asarray(vector)[None, :],
            user_ids=[NEW_USER],
            exclude_seen=exclude_seen,
            candidates=candidates,
            categories=categories,
            deny=deny,
        )

    def recommend_for_histories(
        self,
        histories: Sequence[Sequence[str]],
        k: int = 20,
        *,
        profiles: Sequence[str] | None = None,
        vectors: np.ndarray | None = None,
        user_ids: Sequence[str] | None = None,
        exclude_seen: bool = True,
        candidates: Sequence[str] | None = None,
        categories: Sequence[str] | None = None,
        deny: Sequence[str] | None = None,
    ) -> Recommendations:
        """`recommend_for_history` for B people at once.

        Args:
            profiles: B profile texts, empty for people without one. vectors: [B, profile_dim] their encoder vectors,
                zero rows without a profile; None encodes `profiles` here.
            user_ids: B names for the lists; None: "new user 1", "new user 2", ...
        """
        names = [f"{NEW_USER} {number + 1}" for number in range(len(histories))] if user_ids is None else user_ids
        for what, given in (("user_ids", names), ("profiles", profiles), ("vectors", vectors)):
            if given is not None and len(given) != len(histories):
                raise ValueError(f"{len(given)} {what} for {len(histories)} histories: give one for each.")
        chosen = self._positions(histories, names)
        model = self._model()
        items = model.eligible_items(candidates, categories, deny)
        if vectors is None and profiles is not None:
            vectors = self._encoded(profiles)
        found = self.encode_histories(chosen, vectors)
        return best_items(model, found, names, items, k, chosen if exclude_seen else None)

    @torch.no_grad()
    def encode_histories(self, histories: Histories, vectors: np.ndarray | None = None) -> Representations:
        """The served items with B new users, of whom only their histories are known, in the place of the known ones.

        Args:
            vectors: [B, profile_dim] encoder vectors of profiles, zero rows for people without one.

        Raises:
            ValueError: vectors of another shape or not finite, or a model that cannot read profiles.
        """
        profile = None if vectors is None else self.centred_profiles(vectors, len(histories.indptr) - 1)
        return self.folded(served_view(self._model()), histories, profile)

    @torch.no_grad()
    def folded(self, view: View, histories: Histories, profile: torch.Tensor | None) -> Representations:
        """The items of a view with B new users, of whom only their histories are known, in the place of the known ones.

        A state that lacks something has maps of its own: without texts, a history says what its items' IDs say.

        Args:
            profile: [B, profile_dim] centred, zero rows for people without one of their own; None: nobody has one.
        """
        model, tables = self._model(), new_user_tables(self._model(), view)
        history = histories.matrix(len(tables.item), tables.item.device)
        text = functional.normalize(history @ view.state.item_text, dim=1)
        if not view.profiles:
            profile, written = text.new_zeros(len(text), self.config.profile_dim), text.new_zeros(len(text), 1).bool()
        elif profile is None:
            profile, written = self._unwritten(text)
        else:
            written = (profile != 0).any(dim=1, keepdim=True)
        rows = self._history_map("rows", view).rows(history, tables.item)
        if written.any():
            embedding = self._history_map("embedding", view).rows(history, tables.item)
            rows = torch.where(written, model.initial_users(embedding, profile), rows)
        return encode_new_users(model, rows, profile, text, history, view)

    def _model(self) -> RecLMRecommender:
        model: Any = self
        return model

    def _history_map(self, target: str, view: View) -> HistoryMap:
        """The map to initial rows (`rows`; what the known users' profiles add to them is in it), or to ID embeddings.

        The second is for people with a profile: the fusion then adds their own.
        """
        model, tables = self._model(), new_user_tables(self._model(), view)

        def fit() -> HistoryMap:
            known = Histories(self.catalog.seen_indptr, self.catalog.seen_indices)
            rows = tables.user if target == "rows" else model.user_embedding.weight.detach()
            return fit_history_map(known.matrix(len(tables.item), rows.device), tables.item, rows)

        return model.remembered(f"history_map.{view.name}.{target}", fit)

    def _unwritten(self, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What stands in the place of the profiles of B people without one, by the mean texts of their choices.

        Args:
            text: [B, d_t].

        Returns:
            [B, profile_dim], and whether it counts as a profile of their own, bool [B, 1].
        """
        model, config, count = self._model(), self.config, len(text)
        everybody = torch.ones(count, 1, dtype=torch.bool, device=text.device)
        if config.user_profiles and config.profile_mode == "raw_text":
            return text, everybody
        if config.user_profiles and config.profile_mode == "constant":
            return model.user_profile[:1].expand(count, -1), everybody
        return text.new_zeros(count, config.profile_dim), ~everybody

    def centred_profiles(self, vectors: np.ndarray, count: int) -> torch.Tensor:
        """[B, profile_dim] of encoder vectors, centred as in training and of length 1; zero rows stay zero.

        Raises:
            ValueError: vectors of another shape or not finite, or a model that cannot read profiles.
        """
        self._require_profiles()
        return self._centred_rows(vectors, count)

    def _centred_rows(self, vectors: np.ndarray, count: int) -> torch.Tensor:
        model, width, given = self._model(), self.config.profile_dim, np.asarray(vectors)
        if given.shape != (count, width) or not np.isfinite(given).all():
            raise ValueError(f"vectors must be finite and [{count}, {width}], got {given.shape}.")
        raw = torch.as_tensor(given, dtype=torch.float32, device=self.item_text.device)
        return functional.normalize((raw - model.profile_mean) * (raw != 0).any(dim=1, keepdim=True), dim=1)

    def _require_profiles(self) -> None:
        config = self.config
        if not (config.user_profiles and config.profile_mode == "llm"):
            raise ValueError(
                f"This model was trained with profile_mode={config.profile_mode!r}, profile_sides="
                f"{config.profile_sides!r}: it has no use for a profile beside a history. Leave the profile out."
            )

    def _encoded(self, profiles: Sequence[str]) -> np.ndarray:
        """[B, profile_dim] encoder vectors, zero rows for empty texts."""
        self._require_profiles()
        if isinstance(profiles, str):
            raise ValueError(f"give a list of profiles, one a history, not the single string {profiles!r}")
        written = [place for place, profile in enumerate(profiles) if profile.strip()]
        vectors = np.zeros((len(profiles), self.config.profile_dim), dtype=np.float32)
        if written:
            vectors[written] = self._model().text_encoder().encode([profiles[place] for place in written])
        return vectors

    def _positions(self, histories: Sequence[Sequence[str]], names: Sequence[str]) -> Histories:
        if isinstance(histories, str):
            raise ValueError(f"give a list of histories, each a list of item ids, not the single string {histories!r}")
        rows = [np.unique(self.catalog.item_index(history)) for history in histories]
        for name, row in zip(names, rows, strict=True):
            if not len(row):
                raise ValueError(
                    f"recommend_for_history: the history of {name!r} is empty; give at least one item id, or describe "
                    "the person to recommend_for_profile(text)."
                )
        lengths = [len(row) for row in rows]
        indices = np.concatenate(rows) if rows else np.empty(0, dtype=np.int64)
        return Histories(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), indices)
