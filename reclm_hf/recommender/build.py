"""From a split to an untrained recommender: everything known before the cut goes into the model's buffers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from reclm_hf.data.features import center, decayed_popularity, fit_text_popularity, history_mean, normalize_rows
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.splits import Split

from .catalog import Catalog
from .configuration_reclm_recommender import RecLMRecommenderConfig
from .floors import HistoryState
from .graph import Graph, normalized_adjacency
from .modeling_reclm_recommender import RecLMRecommender
from .profile_modes import profile_vectors

# Averaged, because which single penalty is best turns on a handful of new items.
RIDGES = (10.0, 30.0, 100.0, 300.0)


@dataclass(frozen=True)
class HistoryFeatures:
    """Arrays of one cut, from its history alone; see `HistoryState`. The ridge is kept to score items added later."""

    user_text: np.ndarray  # [U, d_t]
    popularity: np.ndarray  # [I]
    ridge_weight: np.ndarray  # [d_t]
    ridge_bias: float


def history_features(split: Split, item_text: np.ndarray, half_life_days: float | None) -> HistoryFeatures:
    """Features of `floor_residual` at a cut. item_text: [I, d_t] centred vectors."""
    count = decayed_popularity(split, half_life_days)
    log_count = np.log1p(count)
    share = log_count - np.log(np.exp(log_count[split.warm]).sum())
    ridges = [fit_text_popularity(item_text, count, split.warm, ridge) for ridge in RIDGES]
    weight = np.mean([ridge.weight for ridge in ridges], axis=0)
    expected = item_text[split.warm] @ weight
    scale = float(expected.std()) or 1.0
    return HistoryFeatures(
        user_text=history_mean(split, item_text),
        popularity=np.where(split.warm, share, 0.0).astype(np.float32),
        ridge_weight=(weight / scale).astype(np.float32),
        ridge_bias=float(-expected.mean() / scale),
    )


def history_state(model: RecLMRecommender, split: Split) -> HistoryState:
    """The state of an earlier cut for a model built at a later one: what a training episode is scored from."""
    item_text = model.item_text.numpy()
    features = history_features(split, item_text, model.config.half_life_days)
    adjacency = None
    if model.graph is not None:
        graph = Graph(0)
        graph.set(*normalized_adjacency(split.history_matrix()))
        adjacency = graph.matrix(split.n_users + split.n_items)
    expected = item_text @ features.ridge_weight + features.ridge_bias
    return HistoryState(
        user_text=torch.from_numpy(features.user_text),
        item_warm=torch.from_numpy(split.warm.astype(np.float32)),
        popularity=torch.from_numpy(features.popularity),
        text_popularity=torch.from_numpy(expected.astype(np.float32)),
        adjacency=adjacency,
    )


def build_recommender(
    config: RecLMRecommenderConfig,
    data: Interactions,
    split: Split,
    item_vectors: np.ndarray,
    profiles: np.ndarray | None = None,
) -> RecLMRecommender:
    """An untrained model at a cut.

    Args:
        config: structure; sizes (`n_users`, `n_items`, `text_dim`, `profile_dim`, `nnz`) are filled in here.
        split: only its history is looked at.
        item_vectors: [I, d_t] float32 encoder vectors of the item texts, not centred.
        profiles: [U, profile_dim] encoder vectors of the LLM's profiles as of this cut, zero rows where there is
            none; for every `profile_mode` but `none` and `raw_text`.

    Raises:
        ValueError: vectors of the wrong size, missing ones, or profiles that are zero for everybody.
    """
    if item_vectors.shape[0] != split.n_items:
        raise ValueError(f"{item_vectors.shape[0]} item vectors for {split.n_items} items; encode every item once.")
    if profiles is not None and profiles.shape[0] != split.n_users:
        raise ValueError(f"{profiles.shape[0]} profile vectors for {split.n_users} users; keep the order of user_ids.")
    if profiles is not None and not profiles.any():
        raise ValueError("All profile vectors are zero: the profile table holds no profile of a user of these data.")
    item_text, text_mean = center(item_vectors, split.warm)
    written = None if profiles is None else np.abs(profiles).sum(axis=1) > 0
    profile_mean = text_mean if profiles is None or written is None else profiles[written].mean(axis=0)
    centred = (
        None if profiles is None or written is None else normalize_rows((profiles - profile_mean) * written[:, None])
    )
    chosen = profile_vectors(
        config.profile_mode,
        llm=centred,
        raw_text=history_mean(split, item_text),
        history_length=np.bincount(split.history_user, minlength=split.n_users),
        seed=config.seed,
    )
    history = split.history_matrix()
    config.n_users, config.n_items, config.text_dim = split.n_users, split.n_items, item_vectors.shape[1]
    config.profile_dim = item_vectors.shape[1] if chosen is None else chosen.shape[1]
    config.nnz = 2 * history.nnz if config.backbone == "lightgcn" else 0
    torch.manual_seed(config.seed)
    model = RecLMRecommender(config)
    model.catalog = Catalog.from_split(data, split)
    _fill(model, split, item_text, text_mean, profile_mean, chosen)
    return model


def _fill(
    model: RecLMRecommender,
    split: Split,
    item_text: np.ndarray,
    text_mean: np.ndarray,
    profile_mean: np.ndarray,
    profiles: np.ndarray | None,
) -> None:
    tensors = {"item_text": item_text, "text_mean": text_mean, "item_warm": split.warm}
    tensors["profile_mean"] = profile_mean
    if profiles is not None:
        tensors["user_profile"] = profiles
    if model.floors is not None:
        features = history_features(split, item_text, model.config.half_life_days)
        tensors |= {
            "user_text": features.user_text,
            "popularity": features.popularity,
            "text_popularity_weight": features.ridge_weight,
            "text_popularity_bias": np.array([features.ridge_bias]),
        }
    for name, array in tensors.items():
        getattr(model, name).copy_(torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)))
    if model.graph is not None:
        model.graph.set(*normalized_adjacency(split.history_matrix()))
