"""SimGCL: LightGCN with a contrastive loss between two noisy views of one graph (Yu et al. 2022, arXiv 2112.08679)."""

from __future__ import annotations

import torch
from torch.nn import functional

from .backbone import Tables
from .backbone_lightgcn import LightGCN, _required, sum_of
from .configuration_reclm_recommender import RecLMRecommenderConfig
from .graph import Adjacency


class SimGCL(LightGCN):
    """Noise of a fixed length and with the sign of the embedding is added to every layer (eq. 7 there).

    Layer 0 is left out of the mean, as in the original; nodes without edges (cold items) have no other layer and keep
    it. In `reference` layer 0 stays in the sum for all.
    """

    title = "SimGCL"
    source = "Yu et al. 2022"
    contrastive = True

    def __init__(self, config: RecLMRecommenderConfig) -> None:
        super().__init__(config)
        self.noise = config.noise

    def views(self, user: torch.Tensor, item: torch.Tensor, adjacency: Adjacency | None) -> tuple[Tables, Tables]:
        """See the base class."""
        graph = _required(adjacency)
        initial = torch.cat([user, item])
        first, second = (
            self._view(initial, lambda _, x: self._perturbed(graph.propagate(x)), graph.degree == 0) for _ in range(2)
        )
        return (first[: len(user)], first[len(user) :]), (second[: len(user)], second[len(user) :])

    def _perturbed(self, x: torch.Tensor) -> torch.Tensor:
        return x + functional.normalize(torch.rand_like(x), dim=-1) * x.detach().sign() * self.noise

    def _combine(self, layers: list[torch.Tensor], isolated: torch.Tensor) -> torch.Tensor:
        mean = sum_of(layers[1:]) / (len(layers) - 1)
        return torch.where(isolated.unsqueeze(1), layers[0], mean)
