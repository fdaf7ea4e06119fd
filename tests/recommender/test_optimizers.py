"""Adam with the L2 term in its own pass, and Adam for the rows that a batch touches, against those of PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reclm_hf.recommender.configuration_reclm_recommender import BACKBONE_NAMES
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from reclm_hf.recommender.optimizers import RowSparseAdam, complete_gradients, decay_all, make_optimizer
from reclm_hf.recommender.trainer import TrainerOptions, fit
from tests.recommender.models import OPTIONS, data, untrained

SPARSE = replace(OPTIONS, optimizer="row_sparse_adam")
STEPS = 6


def batches(model: RecLMRecommender, n: int = 40) -> Iterator[tuple[torch.Tensor, ...]]:
    rng = np.random.default_rng(0)
    most = (model.config.n_users, model.config.n_items, model.config.n_items)
    for _ in range(STEPS):
        yield tuple(torch.from_numpy(rng.integers(0, rows, n)) for rows in most)


def off(one: RecLMRecommender, other: RecLMRecommender) -> float:
    """The largest relative distance of a weight, in the 2-norm."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((a - b).detach().norm() / b.detach().norm().clamp(min=1e-3)) for a, b in pairs)


@pytest.mark.parametrize("mode", ["none", "llm"])
@pytest.mark.parametrize("backbone", BACKBONE_NAMES)
def test_the_l2_term_in_the_optimizers_pass_is_the_term_in_the_loss(backbone: str, mode: str) -> None:
    """In float64: Adam divides a gradient by its size, so that it passes on the rounding of one that cancels."""
    models = [untrained(backbone, "reference", mode).double().train() for _ in range(3)]
    for model in models:
        model.config.l2 = 1e-3
    fast, plain = make_optimizer(models[0], OPTIONS), torch.optim.Adam(models[1].parameters(), OPTIONS.learning_rate)
    assert decay_all(models[0], fast)
    for step, batch in enumerate(batches(models[0])):
        for model, optimizer in ((models[0], fast), (models[1], plain)):
            torch.manual_seed(step)
            optimizer.zero_grad()
            loss = model(*batch, l2_gradient=model is models[1])
            loss.loss.backward()
            assert loss.l2_loss.item() > 0
            if model is models[0]:
                complete_gradients(model)
            optimizer.step()
    assert off(models[0], models[1]) < 1e-6
    assert off(models[0], models[2]) > 1e-3, "the weights must have moved"
    unused = dict(models[0].named_parameters()).get("shared_fusion.fuse.weight")
    assert unused is not None
    assert unused.abs().sum() < dict(models[2].named_parameters())["shared_fusion.fuse.weight"].abs().sum()


def test_the_l2_term_over_a_batch_stays_in_the_loss() -> None:
    model = untrained("bias_mf", "standard", "none")
    optimizer = make_optimizer(model, OPTIONS)
    assert not decay_all(model, optimizer)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0]


def test_weights_beside_the_floors_learn_faster() -> None:
    model = untrained("bias_mf", "floor_residual", "llm")
    slow, fast = make_optimizer(model, OPTIONS).param_groups
    assert (slow["lr"], fast["lr"]) == (OPTIONS.learning_rate, 0.02)
    assert model.floors is not None
    few = [*model.floors.parameters(), model.profile_gain]
    assert {id(p) for p in fast["params"]} == {id(p) for p in few}
    assert len(slow["params"]) + len(fast["params"]) == len(list(model.parameters()))


def gradients(sparse: bool) -> Iterator[torch.Tensor]:
    """Of a table [30, 3]; rows repeat within a batch, and some are never touched."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        rows = torch.randint(0, 25, (12,), generator=generator)
        values = torch.randn(12, 3, generator=generator)
        found = torch.sparse_coo_tensor(rows.unsqueeze(0), values, (30, 3))
        yield found if sparse else found.to_dense()


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.7)])
def test_sparse_gradients_are_stepped_as_by_sparse_adam(betas: tuple[float, float]) -> None:
    start = torch.randn(30, 3, generator=torch.Generator().manual_seed(1))
    tables = [start.clone().double().requires_grad_() for _ in range(2)]
    # SparseAdam adds eps before the correction of the second moment, Adam and this one after it: without eps, alike.
    ours, theirs = (
        RowSparseAdam([tables[0]], 0.1, betas, eps=1e-30),
        torch.optim.SparseAdam([tables[1]], 0.1, betas, 1e-30),
    )
    for gradient in gradients(sparse=True):
        for table, optimizer in zip(tables, (ours, theirs), strict=True):
            table.grad = gradient.double()
            optimizer.step()
    torch.testing.assert_close(tables[0], tables[1], rtol=1e-9, atol=1e-9)
    assert torch.equal(tables[0][25:].detach(), start[25:].double()), "untouched rows stay"
    assert not torch.equal(tables[0][:25].detach(), start[:25].double())


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_dense_gradients_are_stepped_as_by_adam(weight_decay: float) -> None:
    start = torch.randn(30, 3, generator=torch.Generator().manual_seed(1)).double()
    tables = [start.clone().requires_grad_() for _ in range(2)]
    ours = RowSparseAdam([tables[0]], 0.1, weight_decay=weight_decay)
    theirs = torch.optim.Adam([tables[1]], 0.1, weight_decay=weight_decay)
    for gradient in gradients(sparse=False):
        for table, optimizer in zip(tables, (ours, theirs), strict=True):
            table.grad = gradient.double()
            optimizer.step()
    torch.testing.assert_close(tables[0], tables[1], rtol=1e-9, atol=1e-9)


def test_rows_that_every_batch_touches_are_stepped_as_by_adam_with_its_eps() -> None:
    tables = [torch.ones(3, 2, dtype=torch.float64).requires_grad_() for _ in range(2)]
    ours, theirs = RowSparseAdam([tables[0]], 0.1, eps=1e-2), torch.optim.Adam([tables[1]], 0.1, eps=1e-2)
    for step in range(1, 6):
        dense = torch.full((3, 2), 1e-3 * step, dtype=torch.float64)
        tables[0].grad, tables[1].grad = dense.to_sparse(1), dense
        ours.step()
        theirs.step()
    torch.testing.assert_close(tables[0], tables[1], rtol=1e-12, atol=1e-12)


def test_a_closure_and_parameters_without_a_gradient() -> None:
    used, unused = (torch.ones(2, requires_grad=True) for _ in range(2))
    optimizer = RowSparseAdam([used, unused], lr=0.1)

    def closure() -> float:
        optimizer.zero_grad()
        loss = used.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 2.0
    assert used.tolist() == pytest.approx([0.9, 0.9])
    assert unused.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("mode", ["none", "llm"])
@pytest.mark.parametrize("backbone", ["bias_mf", "ncf"])
def test_row_sparse_adam_learns_and_leaves_other_rows(backbone: str, mode: str) -> None:
    split = data()[0].test
    model, before = untrained(backbone, "standard", mode), untrained(backbone, "standard", mode)
    result = fit(model, split, 4, SPARSE)
    seen = [entry["loss"] for entry in result.history]
    assert seen[-1] < seen[0]
    assert model.item_embedding is not None
    assert before.item_embedding is not None
    cold = torch.from_numpy(~split.warm)
    assert torch.equal(model.item_embedding.weight[cold], before.item_embedding.weight[cold])
    assert not torch.equal(model.item_embedding.weight[~cold], before.item_embedding.weight[~cold])


@pytest.mark.parametrize(
    ("backbone", "preset", "named"),
    [
        ("lightgcn", "standard", "backbone='lightgcn'"),
        ("sgl", "floor_residual", "backbone='sgl'"),
        ("bias_mf", "floor_residual", "loss='softmax'"),
        ("ncf", "reference", "preset='reference'"),
    ],
)
def test_row_sparse_adam_is_refused_where_every_step_moves_all_rows(backbone: str, preset: str, named: str) -> None:
    with pytest.raises(ValueError, match=rf"optimizer='row_sparse_adam': {named}.*take optimizer='adam'"):
        fit(untrained(backbone, preset, "none"), data()[0].test, 1, SPARSE)


class _Stop(Exception):
    pass


@pytest.mark.parametrize("options", [SPARSE, OPTIONS], ids=["row_sparse_adam", "adam"])
@pytest.mark.parametrize(("backbone", "preset"), [("bias_mf", "standard"), ("bias_mf", "reference")])
def test_an_interrupted_run_ends_where_an_uninterrupted_one_ends(
    backbone: str, preset: str, options: TrainerOptions, tmp_path: Path
) -> None:
    if preset == "reference" and options is SPARSE:
        pytest.skip("refused")
    split = data()[0].test
    whole = untrained(backbone, preset, "llm")
    expected = fit(whole, split, 5, options)

    def stop(entry: dict[str, object]) -> None:
        if entry["epoch"] == 3:
            raise _Stop

    with pytest.raises(_Stop):
        fit(untrained(backbone, preset, "llm"), split, 5, options, tmp_path, stop)
    assert list(tmp_path.iterdir())
    resumed = untrained(backbone, preset, "llm")
    result = fit(resumed, split, 5, options, tmp_path)
    assert [entry["loss"] for entry in result.history] == [entry["loss"] for entry in expected.history]
    for one, other in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)


def test_another_optimizer_works_after_it() -> None:
    split, model = data()[0].test, untrained("bias_mf", "standard", "none")
    fit(model, split, 1, SPARSE)
    fit(model, split, 1, OPTIONS)
    fit(model, split, 1, SPARSE)
    # The loop of somebody who knows nothing of all this.
    optimizer = torch.optim.Adam(model.parameters())
    batch = next(batches(model))
    model(*batch).loss.backward()
    optimizer.step()
