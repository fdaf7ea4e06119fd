"""Training encodes the rows of a batch: its losses and gradients against dense formulas over all rows, in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from torch.utils._python_dispatch import TorchDispatchMode

from reclm_hf.recommender import batch_rows, bipartite, losses
from reclm_hf.recommender.bipartite import Bipartite
from reclm_hf.recommender.configuration_reclm_recommender import BACKBONE_NAMES, PRESETS, RecLMRecommenderConfig
from reclm_hf.recommender.graph import normalized_adjacency
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from reclm_hf.recommender.shares import Share

GRAPHS = ("lightgcn", "sgl", "simgcl")
KINDS = [
    (backbone, preset, sides, n_layers)
    for backbone in BACKBONE_NAMES
    for preset in PRESETS
    for sides in ("none", "both")
    for n_layers in ((1, 2, 3) if backbone in GRAPHS else (1,))
]
# How the rows of a batch come about: users' edges sliced out, the whole product, and the forms without sizes that
# depend on values, which an accelerator takes.
FORMS = ("sliced", "whole", "accelerator")
TEXT, WIDTH = 6, 5


def choose(form: str, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(bipartite, "_SLICED_SHARE", 2.0 if form == "sliced" else -1.0)
    for module in (losses, batch_rows, bipartite):
        patch.setattr(module, "sizes_are_waited_for", lambda device: form == "accelerator")


@dataclass
class Case:
    """A float32 model with random weights and state, its history [U, I] and a batch."""

    model: RecLMRecommender
    history: np.ndarray
    batch: tuple[torch.Tensor, ...]


def made(backbone: str, preset: str, sides: str, n_layers: int = 2, shape: tuple[int, int, int] = (9, 7, 12)) -> Case:
    """shape: users, items, triples. The last user and the last item are in no pair where there are several."""
    n_users, n_items, n_triples = shape
    rng = np.random.default_rng(n_layers)
    history = (rng.random((n_users, n_items)) < 0.4).astype(np.float64)
    history[0, 0] = 1
    if n_users > 1 and n_items > 1:
        history[-1], history[:, -1] = 0, 0
    config = RecLMRecommenderConfig(
        backbone=backbone, preset=preset, profile_mode="none" if sides == "none" else "llm", profile_sides=sides,
        n_users=n_users, n_items=n_items, embedding_dim=WIDTH, text_dim=TEXT, profile_dim=TEXT, n_layers=n_layers,
        loss="bpr", l2=1e-2, ssl_weight=0.3, drop_rate=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    model = RecLMRecommender(config).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        for name in ("item_text", "user_profile", "item_profile", "user_text", "popularity", "text_popularity_weight"):
            if hasattr(model, name):
                getattr(model, name).normal_()
        model.item_warm.copy_(torch.from_numpy(history.any(0).astype(np.float32)))
    if model.graph is not None:
        model.graph.set(*normalized_adjacency(csr_array(history.astype(np.float32)), config.reference))
    batch = tuple(torch.from_numpy(rng.integers(0, most, n_triples)) for most in (n_users, n_items, n_items))
    return Case(model, history, batch)


# -- the formulas -----------------------------------------------------------------------------------------------------


def unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def _times(matrix: torch.Tensor, _: int, x: torch.Tensor) -> torch.Tensor:
    return matrix @ x


class Dense:
    """The losses of a batch from the weights and the state of a model, with no code of it."""

    def __init__(self, case: Case) -> None:
        self.config, self.history = case.model.config, torch.from_numpy(case.history)
        self.dtype = case.model.dtype  # of the numbers that are drawn
        self.w = {name: p.detach().double().requires_grad_() for name, p in case.model.named_parameters()}
        self.b = {name: value.double() for name, value in case.model.named_buffers() if value.is_floating_point()}
        users, items = self.history.shape
        own = torch.eye(users + items, dtype=torch.float64) * self.config.reference
        self.structure = own.clone()
        self.structure[:users, users:], self.structure[users:, :users] = self.history, self.history.T
        self.degree = self.structure.sum(1)
        # As stored: float32.
        self.adjacency = self.normalized(self.structure).float().double()

    @staticmethod
    def normalized(matrix: torch.Tensor) -> torch.Tensor:
        scale = matrix.sum(1).clamp(min=1.0).rsqrt()
        return matrix * scale * scale.unsqueeze(1)

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def mlp(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return self.linear(f"{name}.2", torch.relu(self.linear(f"{name}.0", x)))

    def initial(self, warm: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        user, item = self.w["user_embedding.weight"], self.mlp("project_text", self.b["item_text"])
        profiles = self.config.profile_mode != "none"
        if self.config.reference:
            if profiles:
                about = unit(self.mlp("shared_fusion.project", self.b["user_profile"]))
                user = torch.relu(self.linear("shared_fusion.fuse", torch.cat([user, about], 1)))
                about = self.mlp("shared_fusion.project", self.b["item_profile"])
                item = torch.relu(self.linear("shared_fusion.fuse", torch.cat([item, about], 1)))
            return user, unit(item)
        if profiles:
            user = self.linear("fusion.fuse", torch.cat([user, self.mlp("fusion.project", self.b["user_profile"])], 1))
            about = self.mlp("item_fusion.project", self.b["item_profile"])
            item = self.linear("item_fusion.fuse", torch.cat([item, about], 1))
        return user, item + self.w["item_embedding.weight"] * warm.unsqueeze(1)

    def propagated(self, nodes: torch.Tensor, step: Callable[[int, torch.Tensor], torch.Tensor]) -> torch.Tensor:
        layers = [nodes]
        for number in range(self.config.n_layers):
            layers.append(step(number, layers[-1]))
        if self.config.reference:
            return torch.stack(layers).sum(0)
        if self.config.backbone != "simgcl":
            return torch.stack(layers).mean(0)
        return torch.where((self.degree == 0).unsqueeze(1), nodes, torch.stack(layers[1:]).mean(0))

    def scores(self, user: torch.Tensor, item: torch.Tensor, warm: torch.Tensor) -> torch.Tensor:
        """[U, I]."""
        if self.config.backbone in GRAPHS:
            nodes = self.propagated(torch.cat([user, item]), lambda _, x: self.adjacency @ x)
            user, item = nodes[: len(user)], item if self.config.reference else nodes[len(user) :]
        if self.config.backbone == "ncf":
            pairs = [side[..., :WIDTH] for side in (user[:, None], item[None])]
            found = (pairs[0] * pairs[1] * self.w["backbone.gmf"]).sum(-1)
            both = [side[:, -WIDTH:] for side in (user, item)]
            wide = torch.cat([both[0][:, None].expand(-1, len(item), -1), both[1][None].expand(len(user), -1, -1)], -1)
            hidden = torch.relu(self.linear("backbone.first", wide))
            if not self.config.reference:
                hidden = torch.relu(self.linear("backbone.second", hidden)) * self.w["backbone.out.weight"]
            found = found + hidden.sum(-1)
        else:
            found = user @ item.T
        if "item_bias.weight" in self.w:
            found = found + self.w["item_bias.weight"][:, 0] * warm
        return found if not self.config.floors else self.with_floors(found)

    def with_floors(self, found: torch.Tensor) -> torch.Tensor:
        text, warm = self.b["item_text"], self.b["item_warm"].long()
        head = 5.0 * (text * self.w["floors.head"][warm]).sum(1)
        expected = text @ self.b["text_popularity_weight"] + self.b["text_popularity_bias"] + self.config.cold_offset
        found = found * self.w["floors.gate"][warm] + head + torch.where(warm > 0, self.b["popularity"], expected)
        found = found + self.b["user_text"] @ text.T * self.w["floors.cosine"][warm]
        if "profile_gain" in self.w:
            found = found + self.b["user_profile"] @ text.T * self.w["profile_gain"][warm]
        return found

    def views(self, nodes: torch.Tensor) -> list[torch.Tensor]:
        """With the numbers that the model draws, in its order: of the entries by row and column, or of the noise."""
        entries = self.structure.nonzero(as_tuple=True)
        keep = 1 - self.config.drop_rate

        def noisy(x: torch.Tensor) -> torch.Tensor:
            return x + unit(torch.rand(x.shape).double()) * x.detach().sign() * self.config.noise

        def thinned() -> torch.Tensor:
            drawn = torch.zeros_like(self.structure)
            drawn[entries] = torch.rand(len(entries[0])).double()
            if self.config.reference:
                return self.adjacency * (drawn + keep >= 1) / keep
            return self.normalized(self.structure * (torch.triu(drawn) + torch.triu(drawn, 1).T < keep))

        found = []
        for _ in range(2):
            if self.config.backbone == "simgcl":
                found.append(self.propagated(nodes, lambda _, x: noisy(self.adjacency @ x)))
            else:
                found.append(self.propagated(nodes, partial(_times, thinned())))
        return found

    def contrast(self, first: torch.Tensor, second: torch.Tensor, anchors: torch.Tensor, known: Any) -> torch.Tensor:
        cosine = unit(first) @ unit(second).T / self.config.ssl_temperature
        rows = set(anchors.tolist()) | ({*known.nonzero()[:, 0].tolist()} if self.config.reference else set())
        table = cosine[:, sorted(rows)]
        anchors = anchors if self.config.reference else anchors.unique()
        return (torch.logsumexp(table, 1) - cosine.diagonal())[anchors].mean()

    def losses(self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor) -> list[torch.Tensor]:
        """BPR, the L2 term, the auxiliary loss."""
        warm = self.b["item_warm"]
        if self.config.id_dropout:
            warm = warm * (torch.rand(len(warm), dtype=self.dtype) >= self.config.id_dropout)
        user, item = self.initial(warm)
        scores = self.scores(user, item, warm)
        bpr = torch.log1p(torch.exp(scores[users, negatives] - scores[users, positives])).mean()
        if self.config.reference:
            l2 = torch.stack([weight.square().sum() for weight in self.w.values()]).sum()
        else:
            ids = [self.w["user_embedding.weight"][users]]
            ids += [self.w["item_embedding.weight"][rows] for rows in (positives, negatives)]
            l2 = torch.cat(ids, 1).square().sum(1).mean()
        if self.config.backbone not in ("sgl", "simgcl"):
            return [bpr, self.config.l2 * l2, bpr * 0]
        size, known = [len(user), len(item)], self.degree > 1
        views = [view.split(size) for view in self.views(torch.cat([user, item]))]
        sides = zip(*views, (users, positives), known.split(size), strict=True)
        auxiliary = torch.stack([self.contrast(*side) for side in sides]).sum()
        return [bpr, self.config.l2 * l2, self.config.ssl_weight * auxiliary]


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
