"""Training in episodes: each time block of the history is predicted from the blocks before it, shaped as the test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from reclm_hf.data.splits import Split, blocks

from .build import history_state
from .floors import HistoryState

if TYPE_CHECKING:
    from .modeling_reclm_recommender import RecLMRecommender, Representations

_MASKED = -1e9


@dataclass(frozen=True)
class Episode:
    """One block. users: [B] rows with targets; candidates: [C] item rows; seen, target: index pairs into [B, C]."""

    state: HistoryState
    users: torch.Tensor
    candidates: torch.Tensor
    seen: torch.Tensor  # [2, n]
    target: torch.Tensor  # [2, m]
    target_weight: torch.Tensor  # [m] 1 / targets of the user
    cold: torch.Tensor  # [C] bool


class EpisodeEpochs:
    """One optimizer step a block; the first blocks only serve as history."""

    def __init__(self, model: RecLMRecommender, split: Split, n_blocks: int, first: int = 3) -> None:
        parts = blocks(split, n_blocks)[first - 1 :]
        if not parts:
            raise ValueError(f"{split.name}: too few interactions for {n_blocks} time blocks; give fewer blocks.")
        self.episodes = [_episode(history_state(model, part), part) for part in parts]

    def run(self, model: RecLMRecommender, optimizer: torch.optim.Optimizer, rng: np.random.Generator) -> float:
        """Train on every episode once, in random order; the mean loss."""
        total = 0.0
        for number in rng.permutation(len(self.episodes)):
            optimizer.zero_grad(set_to_none=True)
            loss = episode_loss(model.encode(self.episodes[number].state), self.episodes[number])
            loss.backward()
            optimizer.step()
            total += float(loss)
        return total / len(self.episodes)


def _episode(state: HistoryState, part: Split) -> Episode:
    users = np.unique(part.target_user)
    candidates = part.candidates("catalogue")
    row = np.full(part.n_users, -1)
    row[users] = np.arange(len(users))
    column = np.full(part.n_items, -1)
    column[candidates] = np.arange(len(candidates))
    history = row[part.history_user] >= 0
    seen = np.stack([row[part.history_user[history]], column[part.history_item[history]]])
    target = np.stack([row[part.target_user], column[part.target_item]])
    weight = 1.0 / np.bincount(target[0])[target[0]]
    return Episode(
        state=state,
        users=torch.from_numpy(users.astype(np.int64)),
        candidates=torch.from_numpy(candidates.astype(np.int64)),
        seen=torch.from_numpy(seen),
        target=torch.from_numpy(target),
        target_weight=torch.from_numpy(weight.astype(np.float32)),
        cold=torch.from_numpy(part.cold[candidates]),
    )


def episode_loss(encoded: Representations, episode: Episode, cold_weight: float = 0.5) -> torch.Tensor:
    """User-mean softmax over all candidates, plus `cold_weight` x the same over the cold candidates alone."""
    scores = encoded.user[episode.users] @ encoded.item[episode.candidates].T + encoded.item_bias[episode.candidates]
    scores = scores.index_put((episode.seen[0], episode.seen[1]), scores.new_tensor(_MASKED))
    loss = _softmax_loss(scores, episode.target, episode.target_weight, len(episode.users))
    is_cold = episode.cold[episode.target[1]]
    if not cold_weight or not is_cold.any():
        return loss
    position = torch.cumsum(episode.cold, 0) - 1
    rows, row = torch.unique(episode.target[0][is_cold], return_inverse=True)
    target = torch.stack([row, position[episode.target[1][is_cold]]])
    weight = 1.0 / torch.bincount(row)[row].float()
    return loss + cold_weight * _softmax_loss(scores[rows][:, episode.cold], target, weight, len(rows))


def _softmax_loss(scores: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, n_users: int) -> torch.Tensor:
    picked = scores[target[0], target[1]] - torch.logsumexp(scores, dim=1)[target[0]]
    return -(weight * picked).sum() / n_users
