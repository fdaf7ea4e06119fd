"""Training on a CUDA device: as on the CPU, and without waiting for the device in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reclm_hf.recommender.configuration_reclm_recommender import BACKBONE_NAMES
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from reclm_hf.recommender.optimizers import make_optimizer
from reclm_hf.recommender.trainer import Epochs, TripleEpochs, fit, make_epochs
from tests.recommender.models import OPTIONS, data, untrained

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
KINDS = [(backbone, preset) for backbone in BACKBONE_NAMES for preset in ("reference", "standard", "floor_residual")]
every_kind = pytest.mark.parametrize(("backbone", "preset"), KINDS)


def moved(model: Any, device: str) -> RecLMRecommender:
    """Any: transformers' own wrapper of `to` has lost its types."""
    return model.to(device)


def without_draws(backbone: str, preset: str, device: str) -> RecLMRecommender:
    """A model that draws nothing while it trains: the devices have other random numbers."""
    model = untrained(backbone, preset, "llm")
    model.config.id_dropout = model.config.ssl_weight = 0.0
    return moved(model, device)


class FixedNegatives:
    """The triples of an epoch as the CPU draws them, one batch after the other."""

    def __init__(self, passes: TripleEpochs, patch: pytest.MonkeyPatch) -> None:
        batches = passes._batches(np.random.default_rng(1), torch.device("cpu"))
        patch.setattr(passes, "_batches", lambda rng, device: [(group, rows.to(device)) for group, rows in batches])


@contextmanager
def no_waiting() -> Iterator[None]:
    """An error where the host waits for the device."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def epoch(model: RecLMRecommender, passes: Epochs) -> float:
    model.train()
    return passes.run(model, make_optimizer(model, OPTIONS), np.random.default_rng(2))


@every_kind
def test_an_epoch_on_the_device_is_that_of_the_cpu(backbone: str, preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    losses, scores = [], []
    for device in ("cpu", "cuda"):
        model = without_draws(backbone, preset, device)
        passes = make_epochs(model, data()[0].test, OPTIONS)
        if isinstance(passes, TripleEpochs):
            FixedNegatives(passes, monkeypatch)
        losses.append(epoch(model, passes))
        scores.append(model.eval().score(np.arange(20), np.arange(30)))
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    spread = float(scores[0].std())
    # BiasMF's and NCF's scores of a user may all be moved alike: gradients that cancel leave rounding to Adam.
    centred = [table - table.mean(axis=1, keepdims=True) for table in scores]
    np.testing.assert_allclose(centred[1], centred[0], atol=0.02 * spread)


@every_kind
def test_the_contrastive_losses_are_those_of_the_cpu(backbone: str, preset: str) -> None:
    """With views of one draw, made on the CPU."""
    model = untrained(backbone, preset, "llm").eval()
    if not model.backbone.contrastive:
        pytest.skip("no views")
    rng = np.random.default_rng(0)
    users, items = (torch.from_numpy(rng.integers(0, rows, 64)) for rows in (50, 42))
    found = []
    with torch.no_grad():
        initial = model.encode_parts(model.state()).initial
        views = model.backbone.views(*initial, model.state().adjacency)
    for device in ("cpu", "cuda"):
        moved(model, device)
        given = tuple(tuple(table.to(device) for table in view) for view in views)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(model.backbone, "views", lambda *_, given=given: given)
            state = model.state()
            loss = model.contrastive_loss(
                tuple(table.to(device) for table in initial), state, users.to(device), items.to(device)
            )
        found.append(float(loss))
    assert found[1] == pytest.approx(found[0], rel=1e-4)


def steps(model: RecLMRecommender, passes: Epochs) -> None:
    """Two epochs; in the second, everything that is built once is there, and only the loss is read, at the end."""
    epoch(model, passes)
    optimizer = make_optimizer(model, OPTIONS)
    generator = np.random.default_rng(3)
    if isinstance(passes, TripleEpochs):
        batches = passes._batches(generator, model.device)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(passes, "_batches", lambda rng, device: batches)
            run_unread(model, passes, optimizer, generator)
    else:
        run_unread(model, passes, optimizer, generator)


def run_unread(model: RecLMRecommender, passes: Any, optimizer: Any, rng: np.random.Generator) -> None:
    """The loop of `run`; what it returns is read from the device outside."""
    with pytest.MonkeyPatch.context() as patch:
        original = torch.Tensor.__float__

        def read(tensor: torch.Tensor) -> float:
            torch.cuda.set_sync_debug_mode("default")  # the loop has ended
            return original(tensor)

        patch.setattr(torch.Tensor, "__float__", read)
        with no_waiting():
            passes.run(model, optimizer, rng)


@every_kind
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_nothing_is_waited_for_in_the_loop(backbone: str, preset: str, precision: str) -> None:
    model = moved(untrained(backbone, preset, "llm"), "cuda")
    steps(model, make_epochs(model, data()[0].test, replace(OPTIONS, precision=precision)))


@every_kind
def test_training_in_bfloat16(backbone: str, preset: str) -> None:
    split, model = data()[0].test, moved(untrained(backbone, preset, "llm"), "cuda")
    result = fit(model, split, 3, replace(OPTIONS, precision="bfloat16"))
    losses = [entry["loss"] for entry in result.history]
    assert losses[-1] < losses[0]
    assert {value.dtype for value in model.state_dict().values() if value.is_floating_point()} == {torch.float32}


@pytest.mark.parametrize("backbone", ["bias_mf", "ncf"])
def test_row_sparse_adam_on_the_device(backbone: str) -> None:
    split, given = data()[0].test, replace(OPTIONS, optimizer="row_sparse_adam")
    found = []
    for device in ("cpu", "cuda"):
        model = moved(untrained(backbone, "standard", "none"), device)
        found.append([entry["loss"] for entry in fit(model, split, 2, given).history])
    assert found[1] == pytest.approx(found[0], rel=1e-3)


@pytest.mark.shared_data
def test_gowalla_steps(shared_data: Path) -> None:
    """LightGCN of width 64 and 3 layers on the graph of 29,858 users and 40,981 items, a few steps of 2048."""
    from scipy.sparse import csr_array

    from reclm_hf.recommender.configuration_reclm_recommender import RecLMRecommenderConfig
    from reclm_hf.recommender.graph import normalized_adjacency

    pairs = gowalla_pairs(shared_data / "gowalla")
    n_users, n_items = (int(rows.max()) + 1 for rows in pairs)
    history = csr_array((np.ones(pairs.shape[1], dtype=np.float32), (pairs[0], pairs[1])), shape=(n_users, n_items))
    torch.manual_seed(0)
    config = RecLMRecommenderConfig(
        backbone="lightgcn",
        preset="standard",
        n_users=n_users,
        n_items=n_items,
        embedding_dim=64,
        text_dim=1,
        n_layers=3,
    )
    model = RecLMRecommender(config)
    model.item_warm.fill_(1.0)
    assert model.graph is not None
    model.graph.set(*normalized_adjacency(history))
    moved(model, "cuda").train()
    optimizer = make_optimizer(model, OPTIONS)
    rng, losses = np.random.default_rng(0), []
    for _ in range(20):
        rows = rng.integers(0, pairs.shape[1], 2048)
        triple = np.stack([*pairs[:, rows], rng.integers(0, n_items, 2048)]).astype(np.int64)
        optimizer.zero_grad()
        loss = model(*torch.from_numpy(triple).to("cuda")).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    values = torch.stack(losses).tolist()
    assert np.isfinite(values).all()
    assert np.mean(values[-5:]) < np.mean(values[:5])


def gowalla_pairs(folder: Path) -> np.ndarray:
    """[2, n] users and items of the training file: a line has a user and their items."""
    if not (folder / "train.txt").is_file():
        pytest.skip(f"there is no train.txt in {folder}")
    found = []
    for line in (folder / "train.txt").read_text(encoding="utf-8").splitlines():
        user, *items = (int(number) for number in line.split())
        found += [(user, item) for item in items]
    return np.array(found, dtype=np.int64).T
