"""`ProfileFusion` in a model that is not ours: the plain PyTorch two-tower of training/examples."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import numpy as np
import pytest
import torch

from reclm_hf.evaluation import evaluate
from reclm_hf.recommender.fusion import ProfileFusion
from tests.checkerboard import N_USERS, checkerboard
from training.examples.two_tower import TwoTower, train

EPOCHS = 10
KNOWN = 25  # users 0..24 are trained on; of the others nothing but the profile is known


def profiles() -> np.ndarray:
    """[50, 16] profile vectors that tell the user's parity, as an encoder of profile texts would."""
    vectors = 0.05 * np.random.default_rng(5).standard_normal((N_USERS, 16)).astype(np.float32)
    vectors[np.arange(N_USERS), np.arange(N_USERS) % 2] += 1.0
    return vectors


def build(profile: np.ndarray | None, seed: int = 0) -> TwoTower:
    splits, vectors = checkerboard()
    warm = torch.from_numpy(splits.validation.warm.astype(np.float32))
    torch.manual_seed(seed)
    return TwoTower(N_USERS, torch.from_numpy(vectors), warm, None if profile is None else torch.from_numpy(profile), 8)


def fit(model: TwoTower, seed: int = 0) -> list[float]:
    split = checkerboard()[0].validation
    rows = split.history_user < KNOWN
    return train(model, split.history_user[rows], split.history_item[rows], EPOCHS, seed, 128, 1e-2)


@cache
def new_user_recall(kind: str, seed: int) -> float:
    """Recall@2 among the four cold items, two of them of the user's parity, over the users who were not trained on."""
    constant = np.tile(profiles().mean(axis=0), (N_USERS, 1))
    model = build({"none": None, "llm": profiles(), "constant": constant}[kind], seed)
    fit(model, seed)
    found = evaluate(model, checkerboard()[0].validation, settings=("zero_shot",), ks=(2,))["zero_shot"]
    return float(found.metrics["recall@2"][found.users >= KNOWN].mean())


@pytest.mark.parametrize("seed", [0, 1])
def test_profiles_tell_what_the_ids_cannot(seed: int) -> None:
    assert new_user_recall("llm", seed) == 1.0, "both items of the user's parity come first, so the answer is found"
    assert new_user_recall("constant", seed) <= 0.8, "the same parameters without information guess: 0.5 by chance"
    assert new_user_recall("none", seed) <= 0.8


def test_training_reaches_every_weight_of_the_fusion() -> None:
    model = build(profiles())
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    losses = fit(model)
    assert losses[-1] < losses[0]
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight).all(), name
        if "_fusion." in name:
            assert weight.grad.abs().sum() > 0, f"{name}: the gradient is zero"
            assert not torch.equal(weight, before[name]), f"{name}: training left it as it was"
    assert sum("user_fusion." in name for name in before) == sum("item_fusion." in name for name in before) == 6


def test_a_row_without_a_profile_starts_as_its_embedding() -> None:
    torch.manual_seed(0)
    embedding = torch.randn(5, 8)
    torch.testing.assert_close(ProfileFusion(8, 16)(embedding, torch.zeros(5, 16)), embedding)


def test_the_model_inherits_nothing_of_ours() -> None:
    assert TwoTower.__mro__[1] is torch.nn.Module


def test_the_layer_brings_torch_alone(child_environment: dict[str, str]) -> None:
    heavy = ("transformers", "pandas", "scipy", "datasets")
    program = f"import reclm_hf.recommender.fusion, sys; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], env=child_environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "[]"
