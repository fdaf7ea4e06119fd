"""The two trained cold-start methods: their parts against formulas, and what they must do with cold items."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from reclm_hf.baselines import FLOORS
from reclm_hf.baselines.clcrec import _batches, _in_history, _info_nce
from reclm_hf.baselines.dropoutnet import _dropped
from reclm_hf.baselines.implicit_als import ALPHA, als_factors
from reclm_hf.data.splits import Split
from tests.checkerboard import N_ITEMS, N_USERS, checkerboard

USERS = np.arange(N_USERS)
NAMES = ["dropoutnet_style", "clcrec_style"]


def largest_singular_value(history: np.ndarray) -> float:
    return float(np.linalg.svd(history, compute_uv=False)[0])


def als_loss(history: np.ndarray, x: np.ndarray, y: np.ndarray, ridge: float) -> float:
    """Eq. 3 of Hu et al., written out."""
    confidence = 1 + ALPHA * history
    return float((confidence * (history - x @ y.T) ** 2).sum() + ridge * ((x**2).sum() + (y**2).sum()))


def test_als_ends_where_its_loss_is_least() -> None:
    split = checkerboard()[0].test
    matrix = split.history_matrix()
    history = matrix.toarray().astype(np.float64)
    x, y = als_factors(matrix, rank=3, shrinkage=0.1)
    assert x.dtype == y.dtype == np.float32
    assert x.shape == (N_USERS, 3)
    assert not y[~split.warm].any()
    ridge = 0.1 * (1 + ALPHA) * largest_singular_value(history)
    # The last half step solved for the items exactly: the gradient there is zero.
    confidence = 1 + ALPHA * history
    gradient = (confidence * (x @ y.T - history)).T @ x + ridge * y
    assert np.abs(gradient).max() < 1e-3 * np.abs((confidence * history).T @ x).max()
    least = als_loss(history, x, y, ridge)
    rng = np.random.default_rng(0)
    for _ in range(20):
        step = 0.1 * rng.standard_normal(y.shape)
        assert als_loss(history, x, y + step, ridge) > least
        assert als_loss(history, x + 0.1 * rng.standard_normal(x.shape), y, ridge) > least


def test_shrinkage_is_a_share_of_what_leaves_nothing() -> None:
    matrix = checkerboard()[0].test.history_matrix()
    sizes = [np.abs(als_factors(matrix, 4, shrinkage)[0]).max() for shrinkage in (0.1, 0.9, 0.999)]
    assert sizes[0] > sizes[1] > sizes[2] > 0
    for rank, shrinkage in ((0, 0.1), (4, 0.0), (4, 1.0)):
        with pytest.raises(ValueError, match=f"rank={rank}.*shrinkage={shrinkage}"):
            als_factors(matrix, rank, shrinkage)


def test_info_nce_by_hand() -> None:
    anchor = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    positive = torch.tensor([[0.5, 0.5], [1.0, 1.0]])
    negative = torch.tensor([[1.0, 1.0], [-1.0, 0.5], [3.0, 0.0]])
    masked = torch.tensor([[False, False, True], [False, True, False]])
    first = -np.log(np.exp(1.0) / (np.exp(1.0) + np.exp(2.0) + np.exp(-2.0)))
    second = -np.log(np.exp(4.0) / (np.exp(4.0) + np.exp(4.0) + np.exp(0.0)))
    found = _info_nce(anchor, positive, negative, masked, temperature=0.5)
    assert float(found) == pytest.approx((first + second) / 2, rel=1e-6)


def test_batches_hold_the_history_once_an_epoch_and_mark_false_negatives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reclm_hf.baselines.clcrec.LEAST_STEPS", 1)
    monkeypatch.setattr("reclm_hf.baselines.clcrec.BATCH", 100)
    monkeypatch.setattr("reclm_hf.baselines.clcrec.NEGATIVES", 10)
    split = checkerboard()[0].test
    history = split.history_matrix().toarray() > 0
    pairs = []
    for batch in _batches(split, 1, 0.5, np.random.default_rng(0)):
        user, item = batch.user.numpy(), batch.item.numpy()
        positive, negative = item[: len(user)], item[len(user) :]
        assert len(set(negative)) == 10
        assert split.warm[negative].all()
        np.testing.assert_array_equal(batch.known, history[np.ix_(user, negative)])
        np.testing.assert_array_equal(batch.same, positive[:, None] == negative)
        assert batch.swapped.shape == (len(item), 1)
        pairs += list(zip(user.tolist(), positive.tolist(), strict=True))
    assert sorted(pairs) == sorted(zip(*(rows.tolist() for rows in history.nonzero()), strict=True))


def test_known_negatives_are_found() -> None:
    history = checkerboard()[0].test.history_matrix()
    users, items = np.array([3, 3, 0]), np.array([49, 5, 0, 2])
    np.testing.assert_array_equal(_in_history(history, users, items), history.toarray()[np.ix_(users, items)] > 0)


def test_dropout_takes_the_latent_part_of_whole_rows() -> None:
    inputs = np.ones((4000, 5), dtype=np.float32)
    found = _dropped(inputs, 2, 0.3, np.random.default_rng(0)).numpy()
    assert (found[:, 2:] == 1).all()
    assert (found[:, 0] == found[:, 1]).all()
    assert (found[:, 0] == 0).mean() == pytest.approx(0.3, abs=0.03)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what does not depend on how well a method has learnt."""
    monkeypatch.setattr("reclm_hf.baselines.clcrec.LEAST_STEPS", 1)


def with_a_stranger(split: Split) -> Split:
    """The split without the history of user 0."""
    kept = split.history_user != 0
    return dataclasses.replace(
        split,
        history_user=split.history_user[kept],
        history_item=split.history_item[kept],
        history_time=split.history_time[kept],  # type: ignore[index]
    )


@pytest.mark.parametrize("name", NAMES)
def test_cold_items_are_known_by_their_content_alone(name: str) -> None:
    """Two items of one text score alike when both are cold, and not when one of them has a history."""
    splits, vectors = checkerboard()
    vectors[[48, 4]] = vectors[46]
    scores = FLOORS[name]().fit(splits.test, vectors).score(USERS, np.arange(N_ITEMS))
    np.testing.assert_allclose(scores[:, 48], scores[:, 46], rtol=1e-5, atol=1e-6)
    assert np.abs(scores[:, 4] - scores[:, 46]).max() > 0.01


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("name", NAMES)
def test_users_without_history_get_finite_scores(name: str) -> None:
    splits, vectors = checkerboard()
    floor = FLOORS[name]().fit(with_a_stranger(splits.test), vectors)
    scores = floor.score(USERS, np.arange(N_ITEMS))
    assert np.isfinite(scores).all()
    if name == "clcrec_style":
        assert not scores[0].any()


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("name", NAMES)
def test_one_interaction_is_enough(name: str) -> None:
    splits, vectors = checkerboard()
    split = splits.test
    rows = {field: getattr(split, field)[:1] for field in ("history_user", "history_item", "history_time")}
    warm = np.zeros(split.n_items, dtype=bool)
    warm[rows["history_item"]] = True
    scores = FLOORS[name]().fit(dataclasses.replace(split, warm=warm, **rows), vectors).score(USERS, np.arange(N_ITEMS))
    assert np.isfinite(scores).all()
    assert np.abs(scores).max() < 1e3


def test_a_single_step_is_allowed() -> None:
    splits, vectors = checkerboard()
    scores = FLOORS["dropoutnet_style"](steps=1).fit(splits.test, vectors).score(USERS, np.arange(N_ITEMS))
    assert np.isfinite(scores).all()


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_and_nothing_of_torch_is_changed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    splits, vectors = checkerboard()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    # Stands for a caller that uses two threads.
    used: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    one = FLOORS[name](seed=1).fit(splits.test, vectors).score(USERS, np.arange(N_ITEMS))
    assert used == [1, 2]
    assert torch.equal(torch.rand(3), expected)
    other = FLOORS[name](seed=2).fit(splits.test, vectors).score(USERS, np.arange(N_ITEMS))
    assert (one != other).any()


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("dropoutnet_style", {"dropout": 1.0}),
        ("dropoutnet_style", {"steps": 0}),
        ("clcrec_style", {"temperature": 0.0}),
        ("clcrec_style", {"hybrid": 1.5}),
        ("clcrec_style", {"epochs": 0}),
    ],
)
def test_bad_hyper_parameters_are_named(name: str, params: dict[str, float]) -> None:
    splits, vectors = checkerboard()
    ((field, value),) = params.items()
    with pytest.raises(ValueError, match=f"{field}={value}"):
        FLOORS[name](**params).fit(splits.test, vectors)
