from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.sparse import csr_array

from reclm_hf.recommender import sampling
from reclm_hf.recommender.kernels import Kernel
from reclm_hf.recommender.sampling import DeviceNegativeSampler, NegativeSampler


def test_negatives_are_uniform_over_untouched_items() -> None:
    history = csr_array(np.array([[1, 0, 0, 1, 0, 1], [0, 0, 1, 0, 0, 0]], dtype=np.float32))
    sampler = NegativeSampler(history, np.arange(6))
    users = np.repeat([0, 1], 30_000)
    drawn = sampler.sample(users, np.random.default_rng(0))
    for user, untouched in ((0, [1, 2, 4]), (1, [0, 1, 3, 4, 5])):
        counts = np.bincount(drawn[users == user], minlength=6)
        assert set(np.flatnonzero(counts)) == set(untouched)
        assert counts[untouched] / 30_000 == pytest.approx(1 / len(untouched), abs=0.02)


def test_random_histories_never_yield_a_touched_item() -> None:
    rng = np.random.default_rng(1)
    dense = (rng.random((40, 60)) < 0.5).astype(np.float32)
    dense[:, 50:] = 0  # cold items are no negatives
    sampler = NegativeSampler(csr_array(dense), np.arange(50))
    users = rng.integers(0, 40, 20_000)
    drawn = sampler.sample(users, rng)
    assert not dense[users, drawn].any()
    assert drawn.max() < 50


def test_a_full_history_is_refused() -> None:
    with pytest.raises(ValueError, match="every item"):
        NegativeSampler(csr_array(np.ones((2, 3), dtype=np.float32)), np.arange(3))


def test_touched_items_must_be_drawable() -> None:
    with pytest.raises(ValueError, match="all items with history"):
        NegativeSampler(csr_array(np.ones((1, 3), dtype=np.float32)), np.arange(2))


def random_history(seed: int, n_users: int = 30, n_items: int = 40) -> csr_array:
    """Users without history, with all but one item, and in between."""
    rng = np.random.default_rng(seed)
    dense = rng.random((n_users, n_items)) < rng.random((n_users, 1)) ** 2
    dense[0], dense[1], dense[1, rng.integers(n_items)] = False, True, False
    dense[2] = True  # nothing left: nobody may ask for this user
    dense[-1, -1] = True
    return csr_array(dense.astype(np.float32))


def untouched_by_definition(history: csr_array, users: np.ndarray, rng: np.random.Generator) -> list[int]:
    """The r-th item that the user has not touched, by listing them."""
    dense = history.toarray() > 0
    free = [np.flatnonzero(~row) for row in dense]
    return [
        int(free[user][int(draw * len(free[user]))]) for user, draw in zip(users, rng.random(len(users)), strict=True)
    ]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("compiled", [False, True])
def test_both_paths_give_the_drawn_untouched_item(seed: int, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    history = random_history(seed)
    sampler = NegativeSampler(history, np.arange(history.shape[1]))
    users = np.random.default_rng(seed).choice(np.flatnonzero(sampler.free), 500)
    if compiled:
        pytest.importorskip("numba")
        monkeypatch.setattr(sampling, "_MANY_DRAWS", 0)
    else:
        monkeypatch.setattr(Kernel, "compiled", lambda kernel: None)
    found = sampler.sample(users, np.random.default_rng(seed))
    assert found.dtype == np.int64
    assert found.tolist() == untouched_by_definition(history, users, np.random.default_rng(seed))
    assert sampler.sample(users[:0], np.random.default_rng(0)).tolist() == []


@pytest.mark.parametrize("seed", range(3))
def test_tensors_are_drawn_uniformly_and_never_touched(seed: int) -> None:
    history = random_history(seed)
    host = NegativeSampler(history, np.arange(history.shape[1]))
    sampler = DeviceNegativeSampler(host, "cpu")
    users = torch.from_numpy(np.flatnonzero(host.free).repeat(8_000))
    drawn = sampler.sample(users, torch.Generator().manual_seed(seed))
    assert drawn.dtype == torch.int64
    counts = np.zeros(history.shape)
    np.add.at(counts, (users.numpy(), drawn.numpy()), 1)
    free = history.toarray() == 0
    assert not counts[~free].any()
    for user in np.flatnonzero(host.free > 1):
        assert stats.chisquare(counts[user][free[user]]).pvalue > 1e-5, user
    assert counts[1][free[1]].tolist() == [8_000]  # its only untouched item
    again = sampler.sample(users, torch.Generator().manual_seed(seed))
    assert torch.equal(again, drawn)
    assert sampler.sample(users[:0]).tolist() == []


def test_tensors_are_drawn_from_the_given_items_only() -> None:
    history = csr_array(np.array([[1, 0, 0, 1, 0, 0]], dtype=np.float32))
    sampler = DeviceNegativeSampler(NegativeSampler(history, np.array([0, 2, 3, 5])), torch.device("cpu"))
    assert set(sampler.sample(torch.zeros(200, dtype=torch.int64)).tolist()) == {2, 5}


def test_a_history_without_pairs_leaves_all_items() -> None:
    sampler = NegativeSampler(csr_array((2, 3), dtype=np.float32), np.arange(3))
    users = np.zeros(100, dtype=np.int64)
    assert set(sampler.sample(users, np.random.default_rng(0))) == {0, 1, 2}
    assert set(DeviceNegativeSampler(sampler, "cpu").sample(torch.from_numpy(users)).tolist()) == {0, 1, 2}
