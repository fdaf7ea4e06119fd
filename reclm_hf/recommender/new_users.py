"""Representations of people whom the model was not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .representations import Representations

if TYPE_CHECKING:
    from .modeling_reclm_recommender import RecLMRecommender


@torch.no_grad()
def encode_new_users(
    model: RecLMRecommender,
    embedding: torch.Tensor,
    profile: torch.Tensor,
    user_text: torch.Tensor,
    history: torch.Tensor | None = None,
) -> Representations:
    """The served items with B new users in the place of the known ones.

    Args:
        embedding: [B, w] what stands for the ID embedding. profile: [B, profile_dim] centred, length 1 or zeros; unused
            by a model without profiles of users. user_text: [B, d_t] centred mean of history vectors, length 1 or
            zeros; unused without floors.
        history: [B, I] sparse CSR of ones; graph backbones attach the users to these items.
    """
    served, state = model.served(), model.state()
    rows = model.initial_users(embedding, profile)
    if state.adjacency is not None:
        initial = model.encode_parts(state).initial
        layers = model.backbone.item_layers(*initial, state.adjacency)
        degree = state.adjacency.degree[len(initial[0]) :].to(rows.dtype)
        rows = model.backbone.attach_users(rows, history, layers, degree)
    joined = [rows[:, :0] if served.pair is not None else rows]
    if model.floors is not None:
        joined.append(user_text)
    if model.profile_gain is not None:
        joined.append(profile)
    return served.with_users(torch.cat(joined, dim=1), rows)
