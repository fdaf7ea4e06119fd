"""SGL: LightGCN with a contrastive loss between two views of a randomly thinned graph (Wu et al. 2021, 2010.10783)."""

from __future__ import annotations

import torch

from .backbone import Tables
from .backbone_lightgcn import LightGCN, Step, _required
from .configuration_reclm_recommender import RecLMRecommenderConfig
from .graph import Adjacency


class SGL(LightGCN):
    """Views by edge dropout, node dropout or random walk (section 3.1 there); they are drawn at every step.

    A thinned graph is normalised again by its own degrees. In `reference` every entry, self-loops and both directions
    of an edge apart, is kept with probability 1 - drop_rate and divided by it.
    """

    title = "SGL"
    source = "Wu et al. 2021"
    contrastive = True

    def __init__(self, config: RecLMRecommenderConfig) -> None:
        super().__init__(config)
        self.augmentation, self.drop_rate = config.augmentation, config.drop_rate

    def views(self, user: torch.Tensor, item: torch.Tensor, adjacency: Adjacency | None) -> tuple[Tables, Tables]:
        """See the base class."""
        graph = _required(adjacency)
        initial = torch.cat([user, item])
        first, second = (self._view(initial, self._thinned(graph), graph.degree == 0) for _ in range(2))
        return (first[: len(user)], first[len(user) :]), (second[: len(user)], second[len(user) :])

    def _thinned(self, graph: Adjacency) -> Step:
        # A random walk view has another subgraph in each layer, the others one for all.
        number = self.n_layers if self.augmentation == "random_walk" else 1
        values = [self._values(graph) for _ in range(number)]
        return lambda layer, x: graph.propagate_with(values[min(layer, number - 1)], x)

    def _values(self, graph: Adjacency) -> torch.Tensor:
        """[n] entries of a randomly thinned adjacency; 0 where an edge is dropped."""
        keep = 1.0 - self.drop_rate
        if self.reference:
            # 0 or 1, as the authors draw it: with the same numbers, the same entries are kept.
            kept = torch.floor(torch.rand(len(graph.value), device=graph.value.device) + keep)
            return graph.value * kept / keep
        row, column = graph.row.long(), graph.column.long()
        if self.augmentation == "node_dropout":
            node = torch.rand(graph.n_nodes, device=graph.value.device) < keep
            alive = (node[row] & node[column]).float()
        else:
            drawn = torch.rand(len(graph.value), device=graph.value.device)
            # The draw of the entry (user, item) decides for (item, user) too.
            alive = (torch.where(row < column, drawn, drawn[graph.twin]) < keep).float()
        degree = torch.zeros(graph.n_nodes, device=alive.device).index_add_(0, row, alive).clamp(min=1.0)
        return alive * (degree[row] * degree[column]).rsqrt()
