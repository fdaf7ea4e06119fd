"""A recommender with cold items added that leaves the one it was made of as it is, for looking at new items.

A cold item is a node without edges: nothing that is known of users and other items changes with it. So what the model
is served with is not computed again for all of them: a model of the new items alone, with the same layers, adds theirs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .graph import Graph
from .representations import Representations

if TYPE_CHECKING:
    from .modeling_reclm_recommender import RecLMRecommender

# Buffers with a row for each item, or for each user.
_OF_ITEMS = ("item_text", "item_warm", "item_profile", "popularity")
_OF_USERS = ("user_profile", "user_text")


def grown_copy(model: RecLMRecommender, add: Callable[[RecLMRecommender], None]) -> RecLMRecommender:
    """A copy that shares all weights, after `add` has added items to it.

    Args:
        add: replaces tensors of the copy, and changes none in place.
    """
    catalog = model.catalog
    lists = {name: list(getattr(catalog, name)) for name in ("item_ids", "titles", "categories")}
    own: dict[int, Any] = {id(catalog): replace(catalog, **lists)}
    if model.graph is not None:
        # What a holder builds is for the sizes of its own model.
        own[id(model.graph)] = _graph(model.graph.adj_idx, model.graph.adj_val)
    grown = _sharing(model, own)
    add(grown)
    grown.remembered("served", lambda: _extended(model.served(), _alone(grown, model.config.n_items)))
    return grown


def _sharing(model: RecLMRecommender, own: Mapping[int, Any]) -> RecLMRecommender:
    """A copy with the same tensors. own: id of a part -> what the copy has in its place."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, {**shared, **own})


def _graph(adj_idx: torch.Tensor, adj_val: torch.Tensor) -> Graph:
    graph = Graph(0)
    graph.set(adj_idx, adj_val)
    return graph


def _alone(model: RecLMRecommender, first: int) -> Representations:
    """The items from position `first` on, which have no history, and no users."""
    count = model.config.n_items - first
    own: dict[int, Any] = {
        id(model.catalog): model.catalog,
        id(model.user_embedding): _rows(model.user_embedding, 0, 0),
    }
    for table in (model.item_embedding, model.item_bias):
        if table is not None:
            own[id(table)] = _rows(table, first, first + count)
    for name, buffer in model.named_buffers():
        if name in _OF_ITEMS:
            own[id(buffer)] = buffer[first:]
        elif name in _OF_USERS:
            own[id(buffer)] = buffer[:0]
    if model.graph is not None:
        # No edges, but each node's own entry where the preset has them.
        node = torch.arange(count if model.config.reference else 0).to(model.graph.adj_idx)
        own[id(model.graph)] = _graph(torch.stack([node, node]), model.graph.adj_val.new_ones(len(node)))
    small = _sharing(model, own)
    small.config.n_users, small.config.n_items = 0, count
    return small.encode()


def _rows(table: nn.Embedding, start: int, stop: int) -> nn.Embedding:
    return nn.Embedding.from_pretrained(table.weight.detach()[start:stop])


def _extended(known: Representations, new: Representations) -> Representations:
    """`known` with the items of `new` after its own."""
    pair = known.pair
    if pair is not None and new.pair is not None:
        gate = torch.cat([pair.gate, new.pair.gate])
        pair = pair._replace(item=torch.cat([pair.item, new.pair.item]), gate=gate)
    item, bias = torch.cat([known.item, new.item]), torch.cat([known.item_bias, new.item_bias])
    return known._replace(item=item, item_bias=bias, pair=pair)
