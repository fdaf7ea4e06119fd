"""Representations of people whom the model was not trained on, and the lists that they get."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from .ranking import RankedBlock, Recommendations, block_users, rank_blocks, tie_order
from .representations import Representations

if TYPE_CHECKING:
    from .modeling_reclm_recommender import RecLMRecommender


class Histories(NamedTuple):
    """Items of B people, one after the other: indptr int64 [B + 1], indices int64 [nnz] item positions, sorted."""

    indptr: np.ndarray
    indices: np.ndarray

    def matrix(self, n_items: int, device: torch.device) -> torch.Tensor:
        """[B, n_items] float32 sparse CSR of ones."""
        indptr, indices = (torch.as_tensor(part, dtype=torch.int64, device=device) for part in self)
        ones = torch.ones(len(indices), device=device)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse")  # "support is in beta", see graph.py
            return torch.sparse_csr_tensor(indptr, indices, ones, (len(indptr) - 1, n_items), check_invariants=False)


class NewUserTables(NamedTuple):
    """What new users are encoded with, of the state that the model is served with.

    user: [U, w] initial representations of the known users (x_u of eq. 2). item: [I, w] what the backbone's score
    compares a user with. layers: [I, w] each, see `Backbone.item_layers`. degree: [I] entries of each item in the
    adjacency, or None without a graph.
    """

    user: torch.Tensor
    item: torch.Tensor
    layers: list[torch.Tensor]
    degree: torch.Tensor | None


def new_user_tables(model: RecLMRecommender) -> NewUserTables:
    """The tables of the served state, computed again only after a weight or a buffer changed."""
    return model.remembered("new_user_tables", lambda: _tables(model))


def _tables(model: RecLMRecommender) -> NewUserTables:
    state = model.state()
    parts = model.encode_parts(state)
    pair = parts.backbone.pair
    item = parts.backbone.item if pair is None else pair.item
    layers = model.backbone.item_layers(*parts.initial, state.adjacency)
    user = parts.initial[0]
    degree = None if state.adjacency is None else state.adjacency.degree[len(user) :].to(user.dtype)
    return NewUserTables(user, item, layers, degree)


@torch.no_grad()
def encode_new_users(
    model: RecLMRecommender,
    rows: torch.Tensor,
    profile: torch.Tensor,
    user_text: torch.Tensor,
    history: torch.Tensor | None = None,
) -> Representations:
    """The served items with B new users in the place of the known ones.

    Args:
        rows: [B, w] initial representations, such as `model.initial_users` makes of embeddings and profiles.
        profile: [B, profile_dim] centred, length 1 or zeros; only read by a model with a path from profiles to texts.
        user_text: [B, d_t] centred mean of history vectors, length 1 or zeros; unused without floors.
        history: [B, I] sparse CSR of ones; graph backbones attach the users to these items.
    """
    served, tables = model.served(), new_user_tables(model)
    rows = model.backbone.attach_users(rows, history, tables.layers, tables.degree)
    joined = [rows[:, :0] if served.pair is not None else rows]
    if model.floors is not None:
        joined.append(user_text)
    if model.profile_gain is not None:
        joined.append(profile)
    return served.with_users(torch.cat(joined, dim=1), rows)


@torch.no_grad()
def best_items(
    model: RecLMRecommender,
    users: Representations,
    user_ids: Sequence[str],
    items: np.ndarray,
    k: int,
    seen: Histories | None = None,
) -> Recommendations:
    """The k best of `items` (int64 [C] positions) for each new user.

    Args:
        users: of `encode_new_users`; `user_ids` names them, in order. seen: items that are left out.

    Raises:
        ValueError: k < 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    device = users.item_bias.device

    def score(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        places = (torch.as_tensor(index, device=device) for index in (rows, columns))
        return users.scores(model.backbone, *places).float().cpu().numpy()

    catalog = model.catalog
    found = Recommendations(list(user_ids), [], [], [])
    blocks = rank_blocks(
        score,
        np.arange(len(user_ids)),
        items,
        k,
        ties=tie_order(catalog.n_items),
        seen=seen,
        block=block_users(len(items)),
    )
    for positions, scores in lists_of(blocks):
        found.item_ids.append([catalog.item_ids[item] for item in positions])
        found.titles.append([catalog.titles[item] for item in positions])
        found.scores.append(scores.tolist())
    return found


def lists_of(blocks: Iterator[RankedBlock]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(positions int64 [n], scores float32 [n]) of each ranked list, in order."""
    for block in blocks:
        ends = np.cumsum(block.counts)[:-1]
        yield from zip(np.split(block.items, ends), np.split(block.scores, ends), strict=True)
