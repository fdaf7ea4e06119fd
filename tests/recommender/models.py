"""Small trained recommenders on the checkerboard, for the tests of models, training and serving."""

from __future__ import annotations

from functools import cache

import numpy as np

from reclm_hf.data.splits import Splits
from reclm_hf.recommender.build import build_recommender
from reclm_hf.recommender.configuration_reclm_recommender import (
    BACKBONE_NAMES,
    PRESETS,
    RecLMRecommenderConfig,
)
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from reclm_hf.recommender.trainer import TrainerOptions, fit
from tests.checkerboard import N_USERS, checkerboard

KINDS = [(backbone, preset, mode) for backbone in BACKBONE_NAMES for preset in PRESETS for mode in ("none", "llm")]
OPTIONS = TrainerOptions(batch_size=128, learning_rate=1e-2, n_blocks=6, checkpoint_seconds=0.0)
EPOCHS = 12
# A tower over pairs, and a thinned graph, need longer.
MORE_EPOCHS = {"ncf": 25, "sgl": 25}


@cache
def data() -> tuple[Splits, np.ndarray]:
    return checkerboard()


def profiles() -> np.ndarray:
    """Profile vectors [50, 16] that tell the user's parity, as an encoder of profile texts would."""
    vectors = 0.05 * np.random.default_rng(5).standard_normal((N_USERS, 16))
    vectors[np.arange(N_USERS), np.arange(N_USERS) % 2] += 1.0
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def config(backbone: str, preset: str, mode: str) -> RecLMRecommenderConfig:
    # In so small a catalogue a warm item has a share of some 1/40: cold items stand at the level of the average.
    return RecLMRecommenderConfig(
        backbone=backbone, preset=preset, profile_mode=mode, embedding_dim=8, cold_offset=-4.0, half_life_days=30.0
    )


def untrained(backbone: str, preset: str, mode: str, split: str = "test") -> RecLMRecommender:
    splits, vectors = data()
    return build_recommender(
        config(backbone, preset, mode),
        splits.data,
        getattr(splits, split),
        vectors,
        None if mode == "none" else profiles(),
    )


@cache
def trained(backbone: str, preset: str, mode: str) -> RecLMRecommender:
    """Trained on the history of the test split; not to be changed by a test."""
    model = untrained(backbone, preset, mode)
    fit(model, data()[0].test, MORE_EPOCHS.get(backbone, EPOCHS), OPTIONS)
    return model
