"""Vectors of item texts and profiles, and the user vectors that neighbours are found with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reclm_hf.data.interactions import Interactions
from reclm_hf.data.splits import Split

if TYPE_CHECKING:
    import pandas as pd

_NEIGHBOR_EPOCHS = 20


def encode_items(data: Interactions, encoder: Any) -> np.ndarray:
    """[I, d_t] float32 encoder vectors of the item texts."""
    return encoder.encode(data.items["text"].tolist())


def encode_profiles(table: pd.DataFrame, user_ids: np.ndarray, encoder: Any) -> np.ndarray:
    """[U, d_t] float32 encoder vectors of the profiles, zero rows for users without one.

    Args:
        table: the `user_profiles` columns; rows of users that are not in `user_ids` are an error.

    Raises:
        KeyError: a profile of an unknown user, named.
    """
    row = {user: position for position, user in enumerate(user_ids)}
    unknown = [user for user in table["user_id"] if user not in row]
    if unknown:
        raise KeyError(
            f"profiles of {len(unknown)} users who are not in the data, first {unknown[0]!r}: wrong data set?"
        )
    vectors = np.zeros((len(user_ids), encoder.dimension), dtype=np.float32)
    written = table["profile"].str.strip() != ""
    rows = [row[user] for user in table["user_id"][written]]
    if rows:
        vectors[rows] = encoder.encode(table["profile"][written].tolist())
    return vectors


def neighbor_vectors(data: Interactions, split: Split, item_vectors: np.ndarray) -> np.ndarray:
    """[U, d] user vectors of a plain LightGCN trained on the history of `split` (RecLM section 2.3.2).

    The number of epochs is fixed, so that no target is needed to choose it.
    """
    import torch

    from reclm_hf.recommender.build import build_recommender
    from reclm_hf.recommender.configuration_reclm_recommender import RecLMRecommenderConfig
    from reclm_hf.recommender.trainer import TrainerOptions, fit

    config = RecLMRecommenderConfig(backbone="lightgcn", preset="standard", profile_mode="none")
    model = build_recommender(config, data, split, item_vectors)
    fit(model, split, _NEIGHBOR_EPOCHS, TrainerOptions())
    with torch.no_grad():
        vectors = model.encode().user.numpy().copy()
    known = np.zeros(split.n_users, dtype=bool)
    known[split.history_user] = True
    vectors[~known] = 0.0
    return vectors
