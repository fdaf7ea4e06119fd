"""The compiled loops against plain paths and float64."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from reclm_hf.recommender import kernels, sampling, towers
from reclm_hf.recommender.backbone_ncf import NCF
from reclm_hf.recommender.configuration_reclm_recommender import RecLMRecommenderConfig

SHAPES = [(1, 1, 1), (3, 5, 4), (7, 300, 8), (40, 257, 33), (2, 1030, 5), (0, 4, 3), (4, 0, 3)]


@pytest.fixture(params=["compiled", "plain"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Every size goes through the kernels, or none does."""
    if request.param == "compiled":
        pytest.importorskip("numba")
        monkeypatch.setattr(towers, "_COMPILED_CELLS", 0)
        if kernels.RELU_SUMS.compiled() is None:
            pytest.skip("numba's compiler is switched off")
    else:
        monkeypatch.setattr(kernels.Kernel, "compiled", lambda kernel: None)
    with torch.no_grad():
        yield request.param


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32))


def hidden(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """[B, C, d] float64 values of the first layer."""
    return torch.relu(left.double().unsqueeze(1) + right.double().unsqueeze(0))


@pytest.mark.parametrize(("n_users", "n_items", "d"), SHAPES)
def test_sums_of_one_layer_equal_float64(path: str, n_users: int, n_items: int, d: int) -> None:
    left, right = drawn(n_users, d), drawn(n_items, d)
    left[: n_users // 3] = 0.0
    found = towers.relu_sums(left, right)
    assert found.shape == (n_users, n_items)
    expected = hidden(left, right)
    # The city-block distance of the plain path takes the difference of larger numbers.
    size = expected.sum(-1) if path == "compiled" else left.abs().sum(1)[:, None] + right.abs().sum(1)
    assert ((found - expected.sum(-1)).abs() <= 1e-6 * size).all()


@pytest.mark.parametrize(("n_users", "n_items", "d"), SHAPES)
def test_two_layers_equal_float64(path: str, n_users: int, n_items: int, d: int) -> None:
    left, right = drawn(n_users, d), drawn(n_items, d)
    weight, bias, last = drawn(max(1, d // 2), d, seed=1), drawn(max(1, d // 2), seed=2), drawn(max(1, d // 2), seed=3)
    found = towers.two_layers(left, right, weight, bias, last)
    assert found.shape == (n_users, n_items)
    values = torch.relu(hidden(left, right) @ weight.double().T + bias.double())
    sizes = (hidden(left, right) @ weight.double().abs().T + bias.double().abs()) @ last.double().abs()
    assert ((found - values @ last.double()).abs() <= 1e-6 * sizes).all()


def test_two_layers_in_blocks_of_users_and_of_items(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = drawn(11, 4), drawn(13, 4), drawn(2, 4), drawn(2), drawn(2)
    whole = towers.two_layers(*tensors)
    for cells in (1, 4 * 13 * 3, 4 * 5):
        monkeypatch.setattr(towers, "_BLOCK_CELLS", cells)
        torch.testing.assert_close(towers.two_layers(*tensors), whole)


def test_neither_strides_nor_zeros_matter(path: str) -> None:
    left, right = drawn(6, 20)[:, ::2], drawn(10, 9).T
    torch.testing.assert_close(towers.relu_sums(left, right), hidden(left, right).sum(-1).float())
    zeros = torch.zeros(5, 10)
    assert towers.relu_sums(zeros, -right.abs()).abs().max() < 1e-6
    given = drawn(3, 20, seed=1)[:, ::2], drawn(2, 3, seed=1)[0, :], drawn(3, 2, seed=2)[:, 0]
    found = towers.two_layers(left, right, *given)
    packed = towers.two_layers(left.contiguous(), right.contiguous(), *(part.contiguous() for part in given))
    torch.testing.assert_close(found, packed)


def test_broken_weights_are_not_hidden(path: str) -> None:
    left, right = drawn(4, 6), drawn(5, 6)
    left[1, 2] = np.nan
    right[3, 0] = np.nan
    broken = torch.zeros(4, 5, dtype=torch.bool)
    broken[1], broken[:, 3] = True, True
    assert torch.equal(towers.relu_sums(left, right).isnan(), broken)
    found = towers.two_layers(left, right, drawn(3, 6), drawn(3), drawn(3))
    assert torch.equal(found.isnan(), broken)


@pytest.mark.parametrize("preset", ["reference", "standard"])
def test_scores_of_all_pairs_equal_those_of_matched_pairs(path: str, preset: str) -> None:
    config = RecLMRecommenderConfig(backbone="ncf", preset=preset, n_users=5, n_items=7, text_dim=4, embedding_dim=6)
    backbone = NCF(config)
    for number, parameter in enumerate(backbone.parameters()):
        parameter.copy_(drawn(*parameter.shape, seed=number))
    user, item = drawn(5, NCF.width(config)), drawn(7, NCF.width(config))
    rows, columns = (index.flatten() for index in torch.meshgrid(torch.arange(5), torch.arange(7), indexing="ij"))
    matched = backbone.matched_scores(user[rows], item[columns]).view(5, 7)
    torch.testing.assert_close(backbone.pair_scores(user, item), matched, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("preset", ["reference", "standard"])
def test_gradients_flow_through_scores_of_all_pairs(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(towers, "_COMPILED_CELLS", 0)
    config = RecLMRecommenderConfig(backbone="ncf", preset=preset, n_users=2, n_items=3, text_dim=4, embedding_dim=6)
    backbone = NCF(config)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.copy_(drawn(*parameter.shape))
    user, item = (drawn(n, NCF.width(config)).requires_grad_() for n in (2, 3))
    backbone.pair_scores(user, item).square().sum().backward()
    ours = user.grad.clone(), item.grad.clone()
    user.grad = item.grad = None
    rows, columns = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 1, 2, 0, 1, 2])
    backbone.matched_scores(user[rows], item[columns]).square().sum().backward()
    torch.testing.assert_close(ours, (user.grad, item.grad), rtol=1e-4, atol=1e-4)


def test_other_precisions_take_the_plain_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(towers, "_COMPILED_CELLS", 0)
    left, right = drawn(3, 4).double(), drawn(5, 4).double()
    with torch.no_grad():
        torch.testing.assert_close(towers.relu_sums(left, right), hidden(left, right).sum(-1))


def test_without_numba_there_is_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, real = kernels.Kernel(abs), builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "numba":
            raise ImportError("no numba")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert kernel.compiled() is None
    assert not kernel.started()


def test_a_switched_off_compiler_is_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    numba = pytest.importorskip("numba")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert kernels.UNTOUCHED.compiled() is None


def test_a_kernel_that_cannot_be_kept_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    numba = pytest.importorskip("numba")
    real = numba.njit

    def njit(**options: Any) -> Any:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(**options)

    monkeypatch.setattr(numba, "njit", njit)
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 0)
    compiled = kernels.Kernel(sampling.UNTOUCHED.function).compiled()
    assert compiled is not None
    row = np.zeros(1, dtype=np.int64)
    found = compiled(row, np.array([0.5]), np.array([0, 1]), np.zeros(1, dtype=np.int32), np.array([4]))
    assert found.tolist() == [3]
