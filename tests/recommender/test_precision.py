"""bfloat16 as an option: what it costs in precision, what stays float32; and the number of threads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from reclm_hf.recommender.configuration_reclm_recommender import BACKBONE_NAMES
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from reclm_hf.recommender.precision import autocast
from reclm_hf.recommender.trainer import TrainerOptions, fit, threads
from tests.recommender.models import OPTIONS, data, untrained

# A product of two numbers of 8 bits is off by up to 2^-8. The gradients of positives and negatives nearly cancel at the
# start, and units of NCF near zero switch over: what is left is off by more.
LOSS = {3: 5e-3, 200: 1e-3}  # of so many triples, whose errors average out
GRADIENT = {"bias_mf": 0.2, "ncf": 0.2, "lightgcn": 0.05, "sgl": 0.05, "simgcl": 0.05}


def batch(model: RecLMRecommender, n: int) -> tuple[torch.Tensor, ...]:
    rng = np.random.default_rng(0)
    most = (model.config.n_users, 42, 42)
    return tuple(torch.from_numpy(rng.integers(0, rows, n)) for rows in most)


def step(model: RecLMRecommender, n: int, precision: str) -> tuple[float, torch.Tensor]:
    """Loss, and the gradients of all weights in one vector."""
    model.zero_grad()
    torch.manual_seed(1)
    with autocast(model.device, precision):
        found = model(*batch(model, n))
    parts = (found.loss, found.bpr_loss, found.l2_loss)
    assert {part.dtype for part in parts} == {torch.float32}, "losses stay float32"
    found.loss.backward()
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in model.parameters())
    return found.loss.item(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


# Few users have their edges sliced out, many take the whole product.
@pytest.mark.parametrize("n", list(LOSS))
@pytest.mark.parametrize("mode", ["none", "llm"])
@pytest.mark.parametrize("preset", ["reference", "standard"])
@pytest.mark.parametrize("backbone", BACKBONE_NAMES)
def test_bfloat16_is_near_float32(backbone: str, preset: str, mode: str, n: int) -> None:
    model = untrained(backbone, preset, mode).train()
    exact, gradient = step(model, n, "float32")
    near, other = step(model, n, "bfloat16")
    assert near != exact, "nothing was computed in half precision"
    assert near == pytest.approx(exact, rel=LOSS[n])
    assert (other - gradient).norm() <= GRADIENT[backbone] * gradient.norm()


LEARNT = [
    *((backbone, "standard") for backbone in BACKBONE_NAMES),
    ("lightgcn", "reference"),
    ("ncf", "floor_residual"),
]


@pytest.mark.parametrize(("backbone", "preset"), LEARNT)
def test_training_in_bfloat16_keeps_float32_weights_and_learns(backbone: str, preset: str) -> None:
    split = data()[0].test
    model, plain = untrained(backbone, preset, "llm"), untrained(backbone, preset, "llm")
    half = [entry["loss"] for entry in fit(model, split, 2, replace(OPTIONS, precision="bfloat16")).history]
    full = [entry["loss"] for entry in fit(plain, split, 2, OPTIONS).history]
    assert half != full
    assert half == pytest.approx(full, rel=2e-2)
    assert {value.dtype for value in model.state_dict().values() if value.is_floating_point()} == {torch.float32}
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(
    ("name", "known"), [("precision", "float32, bfloat16"), ("optimizer", "adam, row_sparse_adam")]
)
def test_an_unknown_option_names_the_known_ones(name: str, known: str) -> None:
    given: dict[str, Any] = {name: "other"}
    with pytest.raises(ValueError, match=f"{name}='other' is not known; choose one of {known}"):
        replace(OPTIONS, **given)


@pytest.mark.parametrize("count", [0, -1])
def test_there_is_at_least_one_thread(count: int) -> None:
    with pytest.raises(ValueError, match=f"threads={count}: give at least 1"):
        TrainerOptions(threads=count)


def test_threads_are_what_they_were_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"now": 5}
    monkeypatch.setattr(torch, "get_num_threads", lambda: held["now"])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: held.update(now=count))
    with threads(2):
        assert held["now"] == 2
    assert held["now"] == 5
    with pytest.raises(KeyError), threads(3):
        raise KeyError
    assert held["now"] == 5


def test_training_takes_its_threads_and_gives_them_back() -> None:
    before, seen = torch.get_num_threads(), []

    class Watched(RecLMRecommender):
        def forward(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            seen.append(torch.get_num_threads())
            return super().forward(*args, **kwargs)

    model = untrained("bias_mf", "standard", "none")
    model.__class__ = Watched
    fit(model, data()[0].test, 1, replace(OPTIONS, threads=2), on_epoch=lambda _: seen.append(torch.get_num_threads()))
    assert set(seen[:-1]) == {2}
    assert seen[-1] == before == torch.get_num_threads()
