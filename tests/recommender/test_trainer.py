from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from reclm_hf.recommender.trainer import TrainingResult, choose_epochs, fit
from tests.checkerboard import N_ITEMS, N_USERS
from tests.recommender.models import KINDS, OPTIONS, data, untrained

USERS, ITEMS = np.arange(N_USERS), np.arange(N_ITEMS)


def losses(result: TrainingResult) -> list[float]:
    return [entry["loss"] for entry in result.history if entry["loss"] is not None]


@pytest.mark.parametrize(("backbone", "preset", "mode"), KINDS)
def test_a_seed_gives_equal_losses_twice(backbone: str, preset: str, mode: str) -> None:
    split = data()[0].test
    first, second, other = (
        losses(fit(untrained(backbone, preset, mode), split, 3, replace(OPTIONS, seed=seed))) for seed in (1, 1, 2)
    )
    assert first == second
    assert first != other
    assert len(first) == 3


class _Stop(Exception):
    pass


@pytest.mark.parametrize("preset", ["standard", "floor_residual"])
def test_an_interrupted_run_ends_where_an_uninterrupted_one_ends(preset: str, tmp_path: Path) -> None:
    split = data()[0].test
    whole = untrained("lightgcn", preset, "llm")
    expected = fit(whole, split, 6, OPTIONS)

    def stop(entry: dict[str, object]) -> None:
        if entry["epoch"] == 4:
            raise _Stop

    with pytest.raises(_Stop):
        fit(untrained("lightgcn", preset, "llm"), split, 6, OPTIONS, tmp_path, stop)
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]
    resumed = untrained("lightgcn", preset, "llm")
    result = fit(resumed, split, 6, OPTIONS, tmp_path)
    assert losses(result) == losses(expected)
    np.testing.assert_array_equal(resumed.score(USERS, ITEMS), whole.score(USERS, ITEMS))
    assert not list(tmp_path.iterdir()), "a finished run leaves no checkpoint"


_CHILD = """
import sys
from pathlib import Path
from tests.recommender.models import OPTIONS, data, untrained
from reclm_hf.recommender.trainer import fit
import os, signal
def killed(entry):
    if entry["epoch"] == 5:
        os.kill(os.getpid(), signal.SIGKILL)
fit(untrained("bias_mf", "standard", "none"), data()[0].test, 8, OPTIONS, Path(sys.argv[1]), killed)
"""


def test_a_run_killed_with_sigkill_resumes(tmp_path: Path, child_environment: dict[str, str]) -> None:
    child = subprocess.run([sys.executable, "-c", _CHILD, str(tmp_path)], env=child_environment, check=False)
    assert child.returncode == -signal.SIGKILL
    split = data()[0].test
    model, whole = untrained("bias_mf", "standard", "none"), untrained("bias_mf", "standard", "none")
    resumed = fit(model, split, 8, OPTIONS, tmp_path)
    assert losses(resumed) == pytest.approx(losses(fit(whole, split, 8, OPTIONS)))
    assert os.listdir(tmp_path) == []


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    split = data()[0].test

    def stop(entry: dict[str, object]) -> None:
        if entry["epoch"] == 2:
            raise _Stop

    with pytest.raises(_Stop):
        fit(untrained("bias_mf", "standard", "none"), split, 3, OPTIONS, tmp_path, stop)
    with pytest.raises(ValueError, match="another model"):
        fit(untrained("lightgcn", "standard", "llm"), split, 3, OPTIONS, tmp_path)


def test_early_stopping_takes_the_best_epoch_and_counts_epoch_zero() -> None:
    split = data()[0].validation
    options = replace(OPTIONS, evaluate_every=1, patience=2, max_epochs=9)
    values = iter([0.1, 0.3, 0.2, 0.2, 0.9])
    model = untrained("bias_mf", "standard", "none", "validation")
    result = choose_epochs(model, split, lambda _: next(values), options)
    assert (result.best_epoch, result.best_value) == (1, 0.3)
    again = untrained("bias_mf", "standard", "none", "validation")
    fit(again, split, 1, options)
    np.testing.assert_array_equal(model.score(USERS, ITEMS), again.score(USERS, ITEMS))
    assert result.history[-1]["epoch"] == 3, "two evaluations without a better one are enough"
    falling = iter([0.5, 0.4, 0.3, 0.2])
    model = untrained("bias_mf", "standard", "none", "validation")
    result = choose_epochs(model, split, lambda _: next(falling), options)
    assert (result.best_epoch, result.best_value) == (0, 0.5)


def test_a_loss_that_explodes_is_an_error() -> None:
    model = untrained("bias_mf", "standard", "none")
    with torch.no_grad():
        model.user_embedding.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="learning_rate"):
        fit(model, data()[0].test, 1, OPTIONS)


@pytest.mark.parametrize("preset", ["reference", "standard", "floor_residual"])
def test_every_evaluation_sees_the_weights_of_its_epoch(preset: str) -> None:
    # Scores are remembered until a weight changes, and a fused optimizer does not count its changes.
    model, seen = untrained("bias_mf", preset, "none"), []

    def evaluate(model: RecLMRecommender) -> float:
        scores = model.score(USERS, ITEMS)
        np.testing.assert_array_equal(scores, copy.deepcopy(model).score(USERS, ITEMS))
        seen.append(scores)
        return 0.0

    choose_epochs(model, data()[0].validation, evaluate, replace(OPTIONS, max_epochs=2, evaluate_every=1))
    assert len(seen) == 3
    assert not np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[1], seen[2])


def test_scores_after_somebody_elses_fused_steps() -> None:
    model = untrained("bias_mf", "standard", "none").eval()
    before = model.score(USERS, ITEMS)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=True)
    model.train()
    for _ in range(2):
        model(
            user_index=torch.tensor([0]), positive_index=torch.tensor([0]), negative_index=torch.tensor([1])
        ).loss.backward()
        optimizer.step()
    np.testing.assert_array_equal(model.eval().score(USERS, ITEMS), copy.deepcopy(model).score(USERS, ITEMS))
    assert not np.array_equal(model.score(USERS, ITEMS), before)
