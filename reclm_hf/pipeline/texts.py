"""Vectors of item texts and profiles, and the user vectors that neighbours are found with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reclm_hf.data.interactions import Interactions
from reclm_hf.data.splits import Split
from reclm_hf.profiles.profile import Profile, parse

from .bars import epoch_bar

if TYPE_CHECKING:
    import pandas as pd

_NEIGHBOR_EPOCHS = 20


def encode_items(data: Interactions, encoder: Any) -> np.ndarray:
    """[I, d_t] float32 encoder vectors of the item texts."""
    return encoder.encode(data.items["text"].tolist())


def encode_profiles(table: pd.DataFrame, ids: np.ndarray, encoder: Any) -> np.ndarray:
    """[n, d_t] float32 encoder vectors of the profiles of `ids`, zero rows for those without one.

    A profile in which nothing was written, without any identity or interest, is none.

    Args:
        table: the columns of `user_profiles` or `item_profiles`. ids: [n] user ids, or item ids.

    Raises:
        KeyError: a profile of an unknown user or item, named.
    """
    what = "item" if "item_id" in table.columns else "user"
    owners = table[f"{what}_id"]
    row = {identity: position for position, identity in enumerate(ids)}
    unknown = [owner for owner in owners if owner not in row]
    if unknown:
        raise KeyError(
            f"profiles of {len(unknown)} {what}s that are not in the data, first {unknown[0]!r}: wrong data set?"
        )
    vectors = np.zeros((len(ids), encoder.dimension), dtype=np.float32)
    written = table["profile"].map(_says_something).astype(bool)
    rows = [row[owner] for owner in owners[written]]
    if rows:
        vectors[rows] = encoder.encode(table["profile"][written].tolist())
    return vectors


def _says_something(profile: object) -> bool:
    said = parse(profile) if isinstance(profile, str) else Profile((), ())
    return bool(said.identities or said.interests)


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
    with epoch_bar("neighbours", _NEIGHBOR_EPOCHS) as on_epoch:
        fit(model, split, _NEIGHBOR_EPOCHS, TrainerOptions(), on_epoch=on_epoch)
    with torch.no_grad():
        vectors = model.encode().user.numpy().copy()
    known = np.zeros(split.n_users, dtype=bool)
    known[split.history_user] = True
    vectors[~known] = 0.0
    return vectors
