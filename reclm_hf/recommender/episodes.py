"""Training in episodes: each time block of the history is predicted from the blocks before it, shaped as the test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from reclm_hf.data.splits import Split, blocks

from .build import history_state
from .precision import autocast
from .profile_fit import ProfileFit
from .shares import current_share, take_step
from .state import HistoryState

if TYPE_CHECKING:
    from .backbone import Backbone
    from .modeling_reclm_recommender import RecLMRecommender
    from .representations import ScoreParts

_MASKED = -1e9
# Popular enough to be confused with a target; more candidates cost time and change nothing that was measured.
_WARM_CANDIDATES = 2000
# Bound the memory of a ranking's fixed scores: [users, candidates] float32.
_MOST_USERS = 4096
_MOST_CELLS = 2**23
# The same for a backbone that scores pairs by itself: [users, candidates, d], kept for the gradient.
_MOST_PAIRS = 2**18
# Pairs a step that a contrastive loss is taken over: 2048 x 2048 similarities.
_ANCHORS = 2048


@dataclass(frozen=True)
class Ranking:
    """One softmax of an episode: its users rank its candidates.

    Attributes:
        users: [B] int64 user rows that have targets here. candidates: [C] int64 item rows.
        text, profile: [B, C] fixed text scores (cosines); the latter None without profiles.
        seen, target: [2, n] (place in `users`, place in `candidates`). weight: [m] 1 / targets of the user.
    """

    users: torch.Tensor
    candidates: torch.Tensor
    text: torch.Tensor
    profile: torch.Tensor | None
    seen: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor

    def loss(self, parts: ScoreParts, backbone: Backbone) -> torch.Tensor:
        """Mean over users of the multi-positive softmax loss; seen items are no candidates."""
        scores = parts.backbone.scores(backbone, self.users, self.candidates)
        if parts.text_weight is not None:
            scores = scores + self.text * parts.text_weight[self.candidates].T
        if parts.profile_weight is not None and self.profile is not None:
            scores = scores + self.profile * parts.profile_weight[self.candidates].T
        scores = scores.index_put((self.seen[0], self.seen[1]), scores.new_full((), _MASKED))
        picked = scores[self.target[0], self.target[1]] - torch.logsumexp(scores, dim=1)[self.target[0]]
        return -(self.weight * picked).sum() / len(self.users)


@dataclass(frozen=True)
class Episode:
    """A time block seen from what was before it: one ranking among warm items, one among the items first seen in it.

    Between the two nothing is learned: how high cold items stand against warm ones drifts over the blocks, so that
    level is a setting of the model, chosen on validation.
    """

    state: HistoryState
    rankings: list[Ranking]

    def pairs(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """[n] int64 users and items of targets, what a contrastive loss takes its anchors from; some where many."""
        user = torch.cat([ranking.users[ranking.target[0]] for ranking in self.rankings])
        item = torch.cat([ranking.candidates[ranking.target[1]] for ranking in self.rankings])
        if len(user) <= _ANCHORS:
            return user, item
        chosen = torch.from_numpy(rng.choice(len(user), _ANCHORS, replace=False)).to(user.device)
        return user[chosen], item[chosen]


class EpisodeEpochs:
    """One optimizer step a block; the first blocks only serve as history."""

    def __init__(
        self,
        model: RecLMRecommender,
        split: Split,
        n_blocks: int,
        first: int = 3,
        profile_fit: ProfileFit | None = None,
        precision: str = "float32",
    ) -> None:
        self.precision = precision
        parts = blocks(split, n_blocks)[first - 1 :]
        rng = np.random.default_rng(model.config.seed)
        self.episodes = [_episode(model, _state(model, part, profile_fit), part, rng) for part in parts]
        self.episodes = [episode for episode in self.episodes if episode.rankings]
        if not self.episodes:
            raise ValueError(
                f"{split.name}: too few interactions for {n_blocks} time blocks; give fewer (`n_blocks`), or use the "
                "preset 'standard'."
            )

    def run(self, model: RecLMRecommender, optimizer: torch.optim.Optimizer, rng: np.random.Generator) -> float:
        """Train on every episode once, in random order; the mean loss."""
        total, share = torch.zeros((), device=model.device), current_share()
        for number in rng.permutation(len(self.episodes)):
            episode = self.episodes[number]
            optimizer.zero_grad(set_to_none=True)
            with autocast(model.device, self.precision):
                scored = model.encode_parts(episode.state)
                loss = torch.stack([ranking.loss(scored, model.backbone) for ranking in episode.rankings]).sum()
                loss = loss + model.contrastive_loss(scored.initial, episode.state, *episode.pairs(rng))
            # An episode is one batch, whose softmaxes are not divided: several processes all compute it, and agree.
            (loss / share.size).backward()
            take_step(model, optimizer, share)
            total += loss.detach()
        return float(total) / len(self.episodes)


def _state(model: RecLMRecommender, part: Split, profile_fit: ProfileFit | None) -> HistoryState:
    state = history_state(model, part)
    profile = None if profile_fit is None else profile_fit.at(part.cut)
    return state if profile is None else state._replace(user_profile=profile)


def _episode(model: RecLMRecommender, state: HistoryState, part: Split, rng: np.random.Generator) -> Episode:
    popularity = np.where(part.warm, state.popularity.cpu().numpy(), -np.inf)
    popular = np.argsort(-popularity, kind="stable")[:_WARM_CANDIDATES]
    warm = np.zeros(part.n_items, dtype=bool)
    warm[popular] = part.warm[popular]
    chosen = [mask for mask in (warm, part.cold) if mask[part.target_item].any()]
    return Episode(state, [_ranking(model, state, part, mask, rng) for mask in chosen])


def _ranking(
    model: RecLMRecommender, state: HistoryState, part: Split, chosen: np.ndarray, rng: np.random.Generator
) -> Ranking:
    """The ranking of the items in `chosen` [I] bool."""
    users = np.unique(part.target_user[chosen[part.target_item]])
    candidates = np.flatnonzero(chosen)
    most = min(_MOST_USERS, max(1, _MOST_CELLS // len(candidates)))
    if model.backbone.scores_pairs:
        most = min(most, max(1, _MOST_PAIRS // len(candidates)))
    if len(users) > most:
        users = np.sort(rng.choice(users, most, replace=False))
    row = np.full(part.n_users, -1)
    row[users] = np.arange(len(users))
    column = np.full(part.n_items, -1)
    column[candidates] = np.arange(len(candidates))
    seen, target = (
        pairs[:, (pairs >= 0).all(axis=0)]
        for pairs in (
            np.stack([row[part.history_user], column[part.history_item]]),
            np.stack([row[part.target_user], column[part.target_item]]),
        )
    )
    rows, columns = (torch.from_numpy(index.astype(np.int64)).to(model.device) for index in (users, candidates))
    item_text = model.item_text[columns]
    return Ranking(
        users=rows,
        candidates=columns,
        text=state.user_text[rows] @ item_text.T,
        profile=None if model.profile_gain is None else state.user_profile[rows] @ item_text.T,
        seen=torch.from_numpy(seen).to(model.device),
        target=torch.from_numpy(target).to(model.device),
        weight=torch.from_numpy((1.0 / np.bincount(target[0])[target[0]]).astype(np.float32)).to(model.device),
    )
