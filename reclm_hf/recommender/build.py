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
from .graph import Adjacency, normalized_adjacency
from .modeling_reclm_recommender import BACKBONES, RecLMRecommender
from .profile_modes import UNWRITTEN, ProfileSide, profile_vectors
from .state import HistoryState

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
    device, item_text = model.device, model.item_text.cpu().numpy()
    features = history_features(split, item_text, model.config.half_life_days)
    adjacency = None
    if model.graph is not None:
        index, value = normalized_adjacency(split.history_matrix(), model.config.reference)
        adjacency = Adjacency(index.to(device), value.to(device), split.n_users + split.n_items)
    expected = item_text @ features.ridge_weight + features.ridge_bias
    state = model.state()._replace(
        item_warm=torch.from_numpy(split.warm.astype(np.float32)).to(device),
        adjacency=adjacency,
        user_text=torch.from_numpy(features.user_text).to(device),
        popularity=torch.from_numpy(features.popularity).to(device),
        text_popularity=torch.from_numpy(expected.astype(np.float32)).to(device),
    )
    if model.config.profile_mode == "raw_text" and model.config.user_profiles:
        return state._replace(user_profile=state.user_text)  # nothing of the block to be predicted
    return state


def build_recommender(
    config: RecLMRecommenderConfig,
    data: Interactions,
    split: Split,
    item_vectors: np.ndarray,
    profiles: np.ndarray | None = None,
    item_profiles: np.ndarray | None = None,
) -> RecLMRecommender:
    """An untrained model at a cut.

    Args:
        config: structure; sizes (`n_users`, `n_items`, `text_dim`, `profile_dim`, `nnz`) are filled in here.
        split: only its history is looked at.
        item_vectors: [I, d_t] float32 encoder vectors of the item texts, not centred.
        profiles: [U, profile_dim] encoder vectors of the LLM's profiles as of this cut, zero rows where there is
            none; for every `profile_mode` but `none` and `raw_text`, where users have profiles (`profile_sides`).
        item_profiles: [I, profile_dim] likewise, where items have.

    Raises:
        ValueError: vectors of the wrong size, missing ones, or profiles that are zero for everybody.
    """
    if item_vectors.shape[0] != split.n_items:
        raise ValueError(f"{item_vectors.shape[0]} item vectors for {split.n_items} items; encode every item once.")
    item_text, text_mean = center(item_vectors, split.warm)
    history = split.history_matrix()
    means = {"profile_mean": text_mean, "item_profile_mean": text_mean}
    tensors = {"item_text": item_text, "text_mean": text_mean, "item_warm": split.warm}
    # Means of a million histories take gigabytes: only for sides that have profiles.
    sides = (
        ("user", config.user_profiles, profiles, lambda: (history_mean(split, item_text), history)),
        ("item", config.item_profiles, item_profiles, lambda: (item_text, history.T.tocsr())),
    )
    for name, wanted, vectors, read in sides:
        if not wanted:
            continue
        if vectors is None and config.profile_mode not in UNWRITTEN:
            argument = "profiles" if name == "user" else "item_profiles"
            raise ValueError(
                f"profile_mode={config.profile_mode!r} needs profiles of {name}s (`{argument}`); `reclm profiles "
                "build` writes those of users."
            )
        written, mean = _centred(vectors, split, name)
        chosen = profile_vectors(config.profile_mode, ProfileSide(written, *read()), config.seed)
        assert chosen is not None
        tensors[f"{name}_profile"] = chosen
        if mean is not None and config.profile_mode != "raw_text":
            means["profile_mean" if name == "user" else "item_profile_mean"] = mean
    config.n_users, config.n_items, config.text_dim = split.n_users, split.n_items, item_vectors.shape[1]
    widths = {tensors[name].shape[1] for name in ("user_profile", "item_profile") if name in tensors}
    if len(widths) > 1:
        raise ValueError(f"profiles of users and items have widths {sorted(widths)}: encode them with one encoder.")
    config.profile_dim = widths.pop() if widths else item_vectors.shape[1]
    graph = None
    if BACKBONES[config.backbone].needs_graph:
        graph = normalized_adjacency(history, config.reference)
    config.nnz = 0 if graph is None else len(graph[1])
    torch.manual_seed(config.seed)
    model = RecLMRecommender(config)
    model.catalog = Catalog.from_split(data, split)
    _fill(model, split, tensors | means)
    if model.graph is not None and graph is not None:
        model.graph.set(*graph)
    return model


def _centred(vectors: np.ndarray | None, split: Split, side: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Profile vectors without their mean, length 1, and the mean; zero rows stay zero."""
    if vectors is None:
        return None, None
    expected = split.n_users if side == "user" else split.n_items
    if len(vectors) != expected:
        raise ValueError(f"{len(vectors)} profile vectors for {expected} {side}s; keep the order of {side}_ids.")
    written = np.abs(vectors).sum(axis=1) > 0
    if not written.any():
        raise ValueError(f"All profile vectors are zero: the profile table holds no profile of a {side} of these data.")
    # Items without history may be from after the cut.
    known = written & split.warm if side == "item" else written
    if not known.any():
        raise ValueError(f"No {side} with history has a profile: they cannot be centred.")
    mean = vectors[known].mean(axis=0)
    return normalize_rows((vectors - mean) * written[:, None]), mean


def _fill(model: RecLMRecommender, split: Split, tensors: dict[str, np.ndarray]) -> None:
    if model.floors is not None:
        features = history_features(split, tensors["item_text"], model.config.half_life_days)
        tensors |= {
            "user_text": features.user_text,
            "popularity": features.popularity,
            "text_popularity_weight": features.ridge_weight,
            "text_popularity_bias": np.array([features.ridge_bias]),
        }
    for name, array in tensors.items():
        getattr(model, name).copy_(torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)))
