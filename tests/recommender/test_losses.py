"""The losses against plain formulas in float64."""

from __future__ import annotations

import math

import pytest
import torch

from reclm_hf.recommender import losses
from reclm_hf.recommender.losses import bpr, info_nce, squared_norm
from reclm_hf.recommender.shares import Share

N_ROWS, WIDTH = 11, 4
ANCHORS = [3, 0, 3, 7, 10, 3, 0]
forms = pytest.mark.parametrize("form", ["host", "accelerator"])


def choose(form: str, patch: pytest.MonkeyPatch) -> None:
    """The form with selections, or that with masks, which waits for no size."""
    patch.setattr(losses, "sizes_are_waited_for", lambda device: form == "accelerator")


def views(n_rows: int = N_ROWS, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(n_rows, WIDTH, generator=generator)
    second = first + 0.5 * torch.randn(n_rows, WIDTH, generator=generator)
    return first.requires_grad_(), second.requires_grad_()


def direct(
    first: torch.Tensor, second: torch.Tensor, anchors: list[int], temperature: float, rows: list[int]
) -> torch.Tensor:
    """Mean over anchors of -log softmax of the own row among `rows`, anchor by anchor, in float64."""
    lost = []
    for anchor in anchors:
        cosine = [
            first[anchor].double()
            @ second[row].double()
            / (first[anchor].double().norm() * second[row].double().norm())
            for row in (anchor, *rows)
        ]
        scaled = torch.stack(cosine) / temperature
        lost.append(torch.logsumexp(scaled[1:], 0) - scaled[0])
    return torch.stack(lost).mean()


def compare(
    found: torch.Tensor, expected: torch.Tensor, tables: tuple[torch.Tensor, torch.Tensor], tolerance: float = 1e-6
) -> None:
    """Loss and gradients; where both are next to nothing, rounding is what is left of the terms of size 1."""
    wanted = torch.autograd.grad(expected, tables)
    gradients = torch.autograd.grad(found, tables)
    assert found.item() == pytest.approx(expected.item(), rel=tolerance, abs=tolerance)
    for one, other in zip(gradients, wanted, strict=True):
        assert (one.double() - other.double()).norm() <= tolerance * max(other.double().norm().item(), 1.0)


# A similarity of one float32 step more or less, over the temperature: the smaller this is, the larger the rounding.
@forms
@pytest.mark.parametrize(("temperature", "tolerance"), [(0.01, 2e-5), (0.1, 2e-6), (0.2, 1e-6), (1.0, 1e-6)])
@pytest.mark.parametrize("cells", [1, 3 * N_ROWS, 2**22])
def test_a_whole_table_equals_the_formula(
    cells: int, temperature: float, tolerance: float, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(form, monkeypatch)
    monkeypatch.setattr(losses, "_BLOCK_CELLS", cells)  # one anchor a block, three with one left over, all
    tables = views()
    expected = direct(*tables, ANCHORS, temperature, list(range(N_ROWS)))
    found = info_nce(*tables, torch.tensor(ANCHORS), temperature, whole_table=True)
    compare(found, expected, tables, tolerance)


@forms
@pytest.mark.parametrize("temperature", [0.01, 0.2])
@pytest.mark.parametrize("known", [[], [1, 2, 3, 8], list(range(N_ROWS))])
def test_a_table_of_known_rows_and_the_anchors(
    known: list[int], temperature: float, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(form, monkeypatch)
    tables = views()
    mask = torch.zeros(N_ROWS, dtype=torch.bool)
    mask[known] = True
    rows = sorted({*known, *ANCHORS})
    expected = direct(*tables, ANCHORS, temperature, rows)
    found = info_nce(*tables, torch.tensor(ANCHORS), temperature, whole_table=True, known=mask)
    compare(found, expected, tables, 1e-6 if temperature > 0.1 else 2e-5)
    assert mask.nonzero()[:, 0].tolist() == known, "the mask is the caller's"


@forms
@pytest.mark.parametrize(("temperature", "tolerance"), [(0.01, 2e-5), (0.1, 2e-6), (1.0, 1e-6)])
def test_within_a_batch_each_row_counts_once(
    temperature: float, tolerance: float, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(form, monkeypatch)
    tables, rows = views(), sorted(set(ANCHORS))
    expected = direct(*tables, rows, temperature, rows)
    compare(info_nce(*tables, torch.tensor(ANCHORS), temperature, whole_table=False), expected, tables, tolerance)


@forms
@pytest.mark.parametrize("whole_table", [True, False])
@pytest.mark.parametrize("anchors", [[0], [0, 0, 0]])
def test_a_table_of_one_row_has_nothing_to_learn(
    anchors: list[int], whole_table: bool, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(form, monkeypatch)
    tables = views(n_rows=1)
    loss = info_nce(*tables, torch.tensor(anchors), 0.2, whole_table)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    for gradient in torch.autograd.grad(loss, tables):
        assert gradient.abs().max() < 1e-6


@pytest.mark.parametrize("temperature", [1 / 39.9, 1 / 40.1, 1e-4])
def test_no_exponential_overflows(temperature: float) -> None:
    """Opposite and equal rows on both sides of the bound from which on a maximum is taken off."""
    first = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]]).requires_grad_()
    second = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]]).requires_grad_()
    tables = (first, second)
    expected = direct(*tables, [0, 1, 2], temperature, [0, 1, 2])
    found = info_nce(*tables, torch.tensor([0, 1, 2]), temperature, whole_table=True)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert all(torch.isfinite(gradient).all() for gradient in torch.autograd.grad(found, tables))


@forms
def test_a_row_of_zeros_is_no_division_by_zero(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(form, monkeypatch)
    for whole_table in (True, False):
        first, second = torch.zeros(3, 2, requires_grad=True), torch.ones(3, 2, requires_grad=True)
        loss = info_nce(first, second, torch.tensor([0, 1, 2]), 0.2, whole_table)
        assert loss.item() == pytest.approx(math.log(3), rel=1e-6)
        loss.backward()
        assert first.grad is not None
        assert torch.isfinite(first.grad).all()


@forms
@pytest.mark.parametrize("whole_table", [True, False])
@pytest.mark.parametrize("anchors", [ANCHORS, [4], [4, 4]])
@pytest.mark.parametrize("size", [2, 3])
def test_shares_add_up(
    size: int, anchors: list[int], whole_table: bool, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(form, monkeypatch)
    tables, rows = views(), torch.tensor(anchors)
    known = torch.arange(N_ROWS) % 2 == 0
    whole = info_nce(*tables, rows, 0.2, whole_table, known)
    parts = [info_nce(*tables, rows, 0.2, whole_table, known, Share(rank, size)) for rank in range(size)]
    compare(torch.stack(parts).sum(), whole, tables)


def test_bpr_equals_the_formula_and_does_not_overflow() -> None:
    generator = torch.Generator().manual_seed(0)
    positive, negative = (torch.randn(50, generator=generator) for _ in range(2))
    expected = -torch.log(torch.sigmoid(positive.double() - negative.double())).sum()
    assert bpr(positive, negative).item() == pytest.approx(expected.item(), rel=1e-6)
    far = torch.tensor([-500.0], requires_grad=True)
    loss = bpr(far, torch.zeros(1))
    loss.backward()
    assert (loss.item(), far.grad) == (500.0, torch.tensor([-1.0]))


@pytest.mark.parametrize("shapes", [[(3, 4), (5,), (0, 2), ()], [(2**20, 4)]])
def test_the_squared_norm_and_its_gradient(shapes: list[tuple[int, ...]]) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.rand(shape, generator=generator).requires_grad_() for shape in shapes]
    tensors[0] = tensors[0].detach().T.requires_grad_()  # not contiguous
    found = 3 * squared_norm(tensors)
    expected = 3 * sum(tensor.detach().double().square().sum() for tensor in tensors)
    assert found.item() == pytest.approx(float(expected), rel=1e-6)
    for tensor, gradient in zip(tensors, torch.autograd.grad(found, tensors), strict=True):
        torch.testing.assert_close(gradient, 6 * tensor.detach())
