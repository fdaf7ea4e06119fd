"""NCF: the NeuMF model of neural collaborative filtering (He et al. 2017, arXiv 1708.05031)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .backbone import Backbone
from .configuration_reclm_recommender import RecLMRecommenderConfig
from .towers import relu_sums, two_layers

# Cells of one block of hidden values, [users, items, d] float32: 1 MiB stays in the cache of a core.
_BLOCK_CELLS = 2**18


class NCF(Backbone):
    """A generalised inner product (GMF) beside a tower of ReLU layers (MLP), eq. 9 to 12 there.

    As in the paper, the two parts have embeddings of their own: the first half of a representation is for GMF, the
    second for the MLP, which is 2d -> d -> d/2. In `reference` both parts share one embedding of width d, and the MLP
    is the sum over one ReLU layer.

    The first layer over a pair is linear in (user | item), so it is computed for users and items apart and added: all
    pairs cost one addition and the later layers instead of a product of width 2d each.
    """

    title = "NCF (NeuMF)"
    source = "He et al. 2017"
    scores_pairs = True

    def __init__(self, config: RecLMRecommenderConfig) -> None:
        super().__init__(config)
        d = config.embedding_dim
        self.d = d
        self.gmf = nn.Parameter(torch.empty(1, d))
        self.first = nn.Linear(2 * d, d)
        self.second = None if config.reference else nn.Linear(d, max(1, d // 2))
        self.out = None if config.reference else nn.Linear(max(1, d // 2), 1, bias=False)

    @classmethod
    def width(cls, config: RecLMRecommenderConfig) -> int:
        """Two embeddings beside each other, or one in `reference`."""
        return config.embedding_dim if config.reference else 2 * config.embedding_dim

    def matched_scores(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        """See the base class."""
        left, right = self._hidden_parts(user, item)
        return (user[:, : self.d] * item[:, : self.d] * self.gmf).sum(-1) + self._tower(left + right)

    def pair_scores(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        """See the base class; memory is bounded by scoring users in blocks."""
        left, right = self._hidden_parts(user, item)
        own, towers = user[:, : self.d] * self.gmf, self._pair_towers(left, right)
        if torch.is_grad_enabled():
            return own @ item[:, : self.d].T + towers
        return towers.addmm_(own, item[:, : self.d].T)

    def _pair_towers(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """[B, d] and [C, d] shares of the first layer -> [B, C]."""
        if self.second is None or self.out is None:
            return relu_sums(left, right)
        if not torch.is_grad_enabled():
            return two_layers(left, right, self.second.weight, self.second.bias, self.out.weight[0])
        size = max(1, _BLOCK_CELLS // max(1, len(right) * self.d))
        return torch.cat([self._tower(block.unsqueeze(1) + right.unsqueeze(0)) for block in left.split(size)])

    def _hidden_parts(self, user: torch.Tensor, item: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The shares of users and items in the first layer; the last d columns are the MLP's embedding."""
        from_user, from_item = self.first.weight.split(self.d, dim=1)
        return user[:, -self.d :] @ from_user.T + self.first.bias, item[:, -self.d :] @ from_item.T

    def _tower(self, hidden: torch.Tensor) -> torch.Tensor:
        """[..., d] first layer before its ReLU, overwritten -> [...]."""
        hidden = functional.relu(hidden, inplace=True)
        if self.second is None or self.out is None:
            return hidden.sum(-1)
        return self.out(functional.relu(self.second(hidden), inplace=True)).squeeze(-1)
