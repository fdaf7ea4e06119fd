from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from reclm_hf.recommender.sampling import NegativeSampler


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
