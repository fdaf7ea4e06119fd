"""Representations of people whom the model was not trained on, and the lists that they get."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from .block_scores import block_scores
from .ranking import RankedBlock, Recommendations, block_users, rank_blocks, tie_order
from .representations import Representations
from .state import HistoryState

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


class View(NamedTuple):
    """A history state as people are scored from it: the one that the model is served with, or one that lacks something.

    name: what is remembered of it goes by this. encoded: the known users and items. profiles: False where profiles are
    taken away, those of new users too.
    """

    name: str
    state: HistoryState
    encoded: Representations
    profiles: bool = True


def served_view(model: RecLMRecommender) -> View:
    """The state that the model is served with, computed again only after a weight or a buffer changed."""
    return model.remembered("served_view", lambda: View("served", model.state(), model.served()))


class NewUserTables(NamedTuple):
    """What new users are encoded with, of one state.

    user: [U, w] initial representations of the known users (x_u of eq. 2). item: [I, w] what the backbone's score
    compares a user with. layers: [I, w] each, see `Backbone.item_layers`. degree: [I] entries of each item in the
    adjacency, or None without a graph.
    """

    user: torch.Tensor
    item: torch.Tensor
    layers: list[torch.Tensor]
    degree: torch.Tensor | None


def new_user_tables(model: RecLMRecommender, view: View | None = None) -> NewUserTables:
    """The tables of a view (None: the served one), computed again only after a weight or a buffer changed."""
    chosen = served_view(model) if view is None else view
    return model.remembered(f"new_user_tables.{chosen.name}", lambda: _tables(model, chosen.state))


def _tables(model: RecLMRecommender, state: HistoryState) -> NewUserTables:
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
    view: View | None = None,
) -> Representations:
    """The items of a view (None: the served one) with B new users in the place of the known ones.

    Args:
        rows: [B, w] initial representations, such as `model.initial_users` makes of embeddings and profiles.
        profile: [B, profile_dim] centred, length 1 or zeros; only read by a model with a path from profiles to texts.
        user_text: [B, d_t] centred mean of history vectors, length 1 or zeros; unused without floors.
        history: [B, I] sparse CSR of ones; graph backbones attach the users to these items.
    """
    view = served_view(model) if view is None else view
    tables = new_user_tables(model, view)
    attached = model.backbone.attach_users(rows, history, tables.layers, tables.degree)
    return with_rows(model, view.encoded, attached, profile, user_text)


def with_rows(
    model: RecLMRecommender, known: Representations, rows: torch.Tensor, profile: torch.Tensor, user_text: torch.Tensor
) -> Representations:
    """The items of `known` with B users of these rows: [B, w] of the backbone; the others as in `encode_new_users`."""
    joined = [rows[:, :0] if known.pair is not None else rows]
    if model.floors is not None:
        joined.append(user_text)
    if model.profile_gain is not None:
        joined.append(profile)
    return known.with_users(torch.cat(joined, dim=1), rows)


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
    catalog = model.catalog
    found = Recommendations(list(user_ids), [], [], [])
    for positions, scores in lists_of(ranked_blocks(model, users, len(user_ids), items, k, seen)):
        found.item_ids.append([catalog.item_ids[item] for item in positions])
        found.titles.append([catalog.titles[item] for item in positions])
        found.scores.append(scores.tolist())
    return found


def ranked_blocks(
    model: RecLMRecommender, users: Representations, count: int, items: np.ndarray, k: int, seen: Histories | None
) -> Iterator[RankedBlock]:
    """The k best of `items` for the first `count` users, as positions; arguments and errors as in `best_items`."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")

    def score(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return block_scores(users, model.backbone, rows, columns)

    ties, block = tie_order(len(users.item_bias)), block_users(len(items))
    return rank_blocks(score, np.arange(count), items, k, ties=ties, seen=seen, block=block)


def lists_of(blocks: Iterator[RankedBlock]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(positions int64 [n], scores float32 [n]) of each ranked list, in order."""
    for block in blocks:
        ends = np.cumsum(block.counts)[:-1]
        yield from zip(np.split(block.items, ends), np.split(block.scores, ends), strict=True)
