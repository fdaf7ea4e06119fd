"""Training encodes the rows of a batch: its losses and gradients against dense formulas over all rows, in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from reclm_hf.recommender.bipartite import Bipartite
from reclm_hf.recommender.configuration_reclm_recommender import BACKBONE_NAMES, PRESETS
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from reclm_hf.recommender.shares import Share
from tests.recommender.dense import FORMS, KINDS, Case, Dense, choose, made


def off(found: torch.Tensor | None, expected: torch.Tensor, least: float) -> float:
    """Distance in the 2-norm, relative to what is expected or to `least`, where that cancels to less."""
    found = torch.zeros_like(expected) if found is None else found.double()
    return float((found - expected).norm() / expected.norm().clamp(min=least))


def compare_all(case: Case, patch: pytest.MonkeyPatch) -> None:
    """The model as it is, and in float64 in every form."""
    double = Case(copy.deepcopy(case.model).double(), case.history, case.batch)
    for one, tolerance, least in ((case, 3e-6, 1e-1), (double, 1e-12, 1e-2)):
        if case.model.backbone.contrastive:
            # Views are propagated, and whole tables contrasted, in float32 whatever the model is.
            tolerance, least = 3e-6, 1e-1
        dense = Dense(one)
        torch.manual_seed(7)
        parts = dense.losses(*one.batch)
        wanted = torch.autograd.grad(torch.stack(parts).sum(), list(dense.w.values()), allow_unused=True)
        forms = FORMS if one.model.backbone.needs_graph else FORMS[1:]
        for form in forms if one is double else forms[:1]:
            choose(form, patch)
            compare(one, [part.detach() for part in parts], wanted, tolerance, least)


def compare(
    case: Case,
    exact_losses: list[torch.Tensor],
    gradients: tuple[torch.Tensor | None, ...],
    tolerance: float,
    least: float,
) -> None:
    case.model.zero_grad()
    torch.manual_seed(7)
    found = case.model(*case.batch)
    found.loss.backward()
    whole = torch.stack(exact_losses).sum()
    parts = (found.bpr_loss, found.l2_loss, found.auxiliary_loss, found.loss)
    for name, one, other in zip(("bpr", "l2", "auxiliary", "loss"), parts, [*exact_losses, whole], strict=True):
        # With few rows InfoNCE is a small difference of large sums: relative to the loss that it is a part of.
        assert off(one.detach(), other, float(whole)) < min(tolerance, 1e-6), name
    for (name, parameter), gradient in zip(case.model.named_parameters(), gradients, strict=True):
        wanted = torch.zeros_like(parameter, dtype=torch.float64) if gradient is None else gradient
        assert off(parameter.grad, wanted, least) < tolerance, name


@pytest.mark.parametrize(("backbone", "preset", "sides", "n_layers"), KINDS)
def test_losses_and_gradients_equal_the_dense_formulas(
    backbone: str, preset: str, sides: str, n_layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare_all(made(backbone, preset, sides, n_layers), monkeypatch)


ODD = [(1, 1, 1), (1, 5, 3), (6, 1, 4), (9, 7, 1), (4, 3, 40)]


@pytest.mark.parametrize("shape", ODD)
@pytest.mark.parametrize("preset", ["reference", "standard"])
@pytest.mark.parametrize("backbone", BACKBONE_NAMES)
def test_odd_shapes(backbone: str, preset: str, shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    compare_all(made(backbone, preset, "none", 2, shape), monkeypatch)


@pytest.mark.parametrize("backbone", BACKBONE_NAMES)
@pytest.mark.parametrize("preset", ["reference", "standard", "floor_residual"])
def test_users_and_items_without_edges_and_repeated_ones(
    backbone: str, preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = made(backbone, preset, "both", 3)
    rows = ([8, 8, 0, 8, 0], [6, 6, 0, 0, 6], [6, 0, 6, 0, 0])
    batch = tuple(torch.tensor(part) for part in rows)
    compare_all(Case(case.model, case.history, batch), monkeypatch)


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("backbone", BACKBONE_NAMES)
def test_a_batch_is_scored_as_all_rows_are(backbone: str, preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = made(backbone, preset, "both", 2)
    model, (users, positives, negatives) = case.model.eval(), case.batch
    with torch.no_grad():
        encoded, state = model.encode(), model.state()
        expected = [encoded.matched(model.backbone, users, items) for items in (positives, negatives)]
        for form in FORMS:
            choose(form, monkeypatch)
            batch = model._batch(state, users, positives, negatives)
            scores = model._joined(model.encode_parts(state, batch), batch.state).compared(model.backbone, batch)
            for one, other in zip(scores, expected, strict=True):
                torch.testing.assert_close(one, other, atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("preset", ["reference", "standard"])
@pytest.mark.parametrize("backbone", BACKBONE_NAMES)
def test_the_shares_of_a_batch_add_up(backbone: str, preset: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = made(backbone, preset, "both", 2, (9, 7, 13))
    model = case.model
    for form in FORMS:
        choose(form, monkeypatch)
        found = [summed(model, case.batch, [Share(rank, of) for rank in range(of)]) for of in (1, size)]
        assert found[1][0] == pytest.approx(found[0][0], rel=2e-6)
        for name, one, other in zip(
            dict(model.named_parameters()), *(gradients for _, gradients in found), strict=True
        ):
            assert off(other, one.double(), 1e-1) < 3e-6, name


@pytest.mark.parametrize("n_triples", [1, 2])
@pytest.mark.parametrize("preset", ["reference", "standard"])
@pytest.mark.parametrize("backbone", BACKBONE_NAMES)
def test_a_process_without_a_row_of_the_batch_adds_nothing(backbone: str, preset: str, n_triples: int) -> None:
    """The last batch of an epoch may have fewer rows than there are processes."""
    case = made(backbone, preset, "none", 2, (9, 7, n_triples))
    one, other = (summed(case.model, case.batch, [Share(rank, of) for rank in range(of)]) for of in (1, 3))
    assert other[0] == pytest.approx(one[0], rel=2e-6)
    for first, second in zip(one[1], other[1], strict=True):
        assert off(second, first.double(), 1e-1) < 3e-6


def summed(
    model: RecLMRecommender, batch: tuple[torch.Tensor, ...], shares: list[Share]
) -> tuple[float, list[torch.Tensor]]:
    """Loss and gradients, summed over the processes; each draws the same numbers."""
    loss = 0.0
    model.zero_grad()
    for share in shares:
        torch.manual_seed(3)
        found = model(*batch, share=share).loss
        found.backward()
        loss += found.item()
    return loss, [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]


# -- the halves of the graph ------------------------------------------------------------------------------------------


def halves(loops: str, n_pairs: float = 0.4, shape: tuple[int, int] = (8, 6)) -> tuple[Bipartite, torch.Tensor]:
    """A symmetric float64 graph with any values, and the same matrix dense."""
    n_users = shape[0]
    generator = torch.Generator().manual_seed(1)
    dense = torch.zeros(sum(shape), sum(shape), dtype=torch.float64)
    pairs = torch.rand(shape, generator=generator) < n_pairs
    pairs[-1:], pairs[:, -1:] = False, False
    dense[:n_users, n_users:], dense[n_users:, :n_users] = pairs, pairs.T
    if loops != "none":
        dense.diagonal()[:: 1 if loops == "all" else 3] = 1
    dense *= torch.rand(dense.shape, generator=generator, dtype=torch.float64)
    dense = dense + dense.T  # a half's gradient is the product with the other half
    index = dense.nonzero().T.int()
    return Bipartite(index, dense[index[0].long(), index[1].long()], sum(shape), n_users), dense


def tables(shape: tuple[int, int] = (8, 6)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    user, item = (torch.randn(rows, 3, generator=generator, dtype=torch.float64) for rows in shape)
    return user.requires_grad_(), item.requires_grad_()


@pytest.mark.parametrize("shape", [(8, 6), (1, 1), (1, 4), (5, 1)])
@pytest.mark.parametrize("loops", ["none", "all", "some"])
def test_the_halves_make_the_whole_product(loops: str, shape: tuple[int, int]) -> None:
    found, dense = halves(loops, shape=shape)
    user, item = tables(shape)
    expected = dense @ torch.cat([user, item])
    torch.testing.assert_close(torch.cat([found.to_users(item, user), found.to_items(item, user)]), expected)


@pytest.mark.parametrize("loops", ["none", "all", "some"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [[3], [0, 7, 3, 3, 0], [7, 7], [], list(range(8))])
def test_the_rows_of_some_users(rows: list[int], form: str, loops: str, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(form, monkeypatch)
    found, dense = halves(loops)
    user, item = tables()
    chosen = torch.tensor(rows, dtype=torch.int64)
    some = found.some_users(chosen)
    assert some.sliced == (form == "sliced")
    expected = (dense @ torch.cat([user, item]))[chosen]
    torch.testing.assert_close(some.next(item, user[chosen]), expected)
    if rows:
        assert torch.autograd.gradcheck(lambda users, items: some.next(items, users[chosen]), (user, item))


@pytest.mark.parametrize("loops", ["none", "all"])
def test_gradients_through_both_halves(loops: str) -> None:
    found, _ = halves(loops)

    def two_layers(user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        heard = found.to_items(item, user)
        return found.to_users(heard, found.to_users(item, user)).T.square()  # a gradient that is not contiguous

    assert torch.autograd.gradcheck(two_layers, tables())


@pytest.mark.parametrize("form", FORMS)
def test_a_graph_without_edges(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(form, monkeypatch)
    found, _ = halves("none", n_pairs=0.0)
    user, item = tables()
    chosen = torch.tensor([1, 1, 0])
    for heard in (found.to_users(item, user), found.some_users(chosen).next(item, user[chosen])):
        assert not heard.any()
        heard.sum().backward()
    assert item.grad is None or not item.grad.any()


# -- what an accelerator would have to be waited for ------------------------------------------------------------------

# Their results, or the sizes of these, depend on values: the host reads them from the device.
WAITED_FOR = {
    *("_local_scalar_dense", "nonzero", "masked_select", "bincount", "unique_consecutive", "_unique2", "unique_dim"),
    *("_coalesce", "equal", "is_nonzero"),
    "lift_fresh",  # a number of the host that becomes a tensor, which is copied to the device
}


class Watch(TorchDispatchMode):
    """The names of the operations that were run."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        self.seen.add(name)
        if name == "index" and any(rows is not None and rows.dtype == torch.bool for rows in args[1]):
            self.seen.add("nonzero")
        if name == "repeat_interleave" and not (kwargs or {}).get("output_size"):
            self.seen.add("nonzero")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("backbone", BACKBONE_NAMES)
def test_a_step_in_the_form_for_accelerators_waits_for_nothing(
    backbone: str, preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = made(backbone, preset, "both", 2)
    choose("accelerator", monkeypatch)
    case.model(*case.batch)  # builds the graph once
    with Watch() as watch:
        case.model(*case.batch).loss.backward()
    assert watch.seen, "nothing was seen"
    assert not watch.seen & WAITED_FOR


def test_the_watch_sees_what_is_waited_for() -> None:
    rows = torch.tensor([2, 0, 2])
    waiting: list[Callable[[], Any]] = [
        lambda: rows.sum().item(),
        lambda: rows[rows > 0],
        lambda: rows.unique(),
        lambda: rows.bincount(minlength=3),
        lambda: rows.repeat_interleave(rows),
        lambda: rows.new_tensor(1.0),
    ]
    for step in waiting:
        with Watch() as watch:
            step()
        assert watch.seen & WAITED_FOR
