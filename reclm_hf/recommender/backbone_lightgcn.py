"""LightGCN: linear propagation over the user-item graph, mean over layers (He et al. 2020, arXiv 2002.02126)."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .backbone import Backbone, Tables
from .configuration_reclm_recommender import RecLMRecommenderConfig
from .graph import Adjacency

Step = Callable[[int, torch.Tensor], torch.Tensor]


class LightGCN(Backbone):
    """e^(k+1) = A e^(k); the representation is the mean of e^(0) ... e^(K) (eq. 3 and 4 there).

    In `reference` A has self-loops, layers are summed, and items are scored by their initial rows.
    """

    title = "LightGCN"
    source = "He et al. 2020"
    needs_graph = True

    def __init__(self, config: RecLMRecommenderConfig) -> None:
        super().__init__(config)
        self.n_layers = config.n_layers

    def forward(self, user: torch.Tensor, item: torch.Tensor, adjacency: Adjacency | None) -> Tables:
        """See the base class."""
        graph = _required(adjacency)
        layers = self._layers(torch.cat([user, item]), lambda _, x: graph.propagate(x))
        if self.reference:
            return sum_of(layers)[: len(user)], item
        combined = self._combine(layers, graph.degree == 0)
        return combined[: len(user)], combined[len(user) :]

    def rows(self, initial: Tables, adjacency: Adjacency | None, users: torch.Tensor, items: torch.Tensor) -> Tables:
        """See the base class. What the last layers hold of other nodes is not computed."""
        graph, (user, item) = _required(adjacency), initial
        degree = graph.degree.split([len(user), len(item)])
        halves, last = graph.halves(len(user)), self.n_layers
        batch = halves.some_users(users)
        user_rows, item_rows = [user.index_select(0, users)], [item.index_select(0, items)]
        for number in range(1, last + 1):
            user_rows.append(batch.next(item, user_rows[-1]))
            if number == last and self.reference:
                break
            heard = halves.to_items(item, user)
            if not self.reference:
                item_rows.append(heard.index_select(0, items))
            # The items of the layer before the last are heard by the batch's users; its users by nobody in `reference`.
            if number < last - self.reference:
                user = halves.to_users(item, user)
            item = heard
        if self.reference:
            return sum_of(user_rows), item_rows[0]
        return self._combine(user_rows, degree[0][users] == 0), self._combine(item_rows, degree[1][items] == 0)

    def item_layers(self, user: torch.Tensor, item: torch.Tensor, adjacency: Adjacency | None) -> list[torch.Tensor]:
        """Item rows of layers 0 .. K - 1, which make the user rows of layers 1 .. K."""
        graph = _required(adjacency)
        layers = self._layers(torch.cat([user, item]), lambda _, x: graph.propagate(x))
        return [layer[len(user) :] for layer in layers[:-1]]

    def attach_users(
        self, user: torch.Tensor, history: torch.Tensor | None, layers: list[torch.Tensor], degree: torch.Tensor | None
    ) -> torch.Tensor:
        """See the base class; degrees of the items stay what they are, so known users come back almost exactly."""
        own = 1.0 if self.reference else 0.0  # the self-loop
        count = user.new_zeros(len(user), 1) if history is None else history @ user.new_ones(history.shape[1], 1)
        found = [user]
        for layer in layers:
            heard = torch.zeros_like(user)
            if history is not None and degree is not None:
                heard = history @ (layer * degree.clamp(min=1.0).rsqrt().unsqueeze(1))
            total = count + own
            scale = torch.where(total > 0, total.clamp(min=1.0).rsqrt(), 0.0)
            found.append(scale * heard + own * found[-1] / total.clamp(min=1.0))
        if self.reference:
            return sum_of(found)
        return self._combine(found, (count == 0).squeeze(1))

    def _layers(self, initial: torch.Tensor, step: Step) -> list[torch.Tensor]:
        """e^(0) .. e^(K), [N, w] each; `step(k, e)` makes layer k + 1."""
        layers = [initial]
        for number in range(self.n_layers):
            layers.append(step(number, layers[-1]))
        return layers

    def _combine(self, layers: list[torch.Tensor], isolated: torch.Tensor) -> torch.Tensor:
        """One representation out of the layers, [n, w]. isolated: [n] bool, rows without edges."""
        return sum_of(layers) / len(layers)

    def _view(self, initial: torch.Tensor, step: Step, isolated: torch.Tensor) -> torch.Tensor:
        layers = self._layers(initial, step)
        return sum_of(layers) if self.reference else self._combine(layers, isolated)


def sum_of(layers: list[torch.Tensor]) -> torch.Tensor:
    """The sum of equally shaped tensors."""
    total = layers[0]
    for layer in layers[1:]:
        total = total + layer
    return total


def _required(adjacency: Adjacency | None) -> Adjacency:
    if adjacency is None:
        raise ValueError("A graph backbone needs the adjacency: build the model with `build_recommender`.")
    return adjacency
