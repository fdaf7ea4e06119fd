"""Features of a history against numbers by hand and dense formulas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.features import (
    center,
    decay_weights,
    decayed_popularity,
    fit_text_popularity,
    history_mean,
    normalize_rows,
)
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.splits import Split, item_split, make_split

DAY = 86_400_000_000
RNG = np.random.default_rng(0)


def split(rows: str = "b1@0 a2@4 a1@6 b4@6 a3@8 b2@9") -> Split:
    """Cut at day 8. "a1@0": user a takes item 1 on day 0; there are five items."""
    entries = [(word[0], word[1], int(word[3])) for word in rows.split()]
    frame = pd.DataFrame(entries, columns=["user_id", "item_id", "day"])
    frame["timestamp"] = pd.to_datetime(frame.pop("day"), unit="D", utc=True)
    ids = ["1", "2", "3", "4", "5"]
    data = Interactions.from_tables(pd.DataFrame({"item_id": ids, "title": ids}), frame, "toy")
    assert data.timestamp is not None
    early = data.timestamp < 8 * DAY
    rows = (data.user, data.item, data.timestamp)
    return make_split((data.user_ids, data.item_ids), rows, early, ~early, "test", 8 * DAY)


def test_decay_by_hand() -> None:
    # With a half-life of 4 days: ages 8, 4, 2, 2.
    np.testing.assert_allclose(decay_weights(split(), 4), [0.25, 0.5, 2**-0.5, 2**-0.5])
    np.testing.assert_allclose(decayed_popularity(split(), 4), [0.25 + 2**-0.5, 0.5, 0, 2**-0.5, 0], rtol=1e-6)
    np.testing.assert_array_equal(decayed_popularity(split()), [2, 1, 0, 1, 0])
    assert decayed_popularity(split(), 4).dtype == np.float32
    with pytest.raises(ValueError, match="half_life_days=0 must be positive"):
        decay_weights(split(), 0)


def test_nothing_decays_without_times() -> None:
    frame = pd.DataFrame({"user_id": ["a"] * 40, "item_id": [f"{item:02d}" for item in range(40)]})
    ids = frame["item_id"].tolist()
    timeless = item_split(Interactions.from_tables(pd.DataFrame({"item_id": ids, "title": ids}), frame, "toy")).test
    assert set(decay_weights(timeless, 1).tolist()) == {1.0}


def test_history_mean_by_hand() -> None:
    vectors = np.eye(5, dtype=np.float32)
    half = 0.5**0.5
    np.testing.assert_allclose(
        history_mean(split(), vectors), [[half, half, 0, 0, 0], [half, 0, 0, half, 0]], rtol=1e-6
    )
    # Users alternate in time, so a weight at the wrong row would show.
    recent = 2**-0.5
    long_a, long_b = (recent**2 + 0.5**2) ** 0.5, (0.25**2 + recent**2) ** 0.5
    decayed = [[recent / long_a, 0.5 / long_a, 0, 0, 0], [0.25 / long_b, 0, 0, recent / long_b, 0]]
    np.testing.assert_allclose(history_mean(split(), vectors, 4), decayed, rtol=1e-6)


def test_history_mean_of_nobody_is_zero() -> None:
    only_a = split("a1@0 a2@1 b1@8 b4@9")
    np.testing.assert_array_equal(history_mean(only_a, np.eye(5, dtype=np.float32))[1], np.zeros(5))


def test_center_takes_the_mean_of_warm_items_only() -> None:
    vectors = RNG.standard_normal((6, 3)).astype(np.float32)
    warm = np.array([1, 1, 1, 0, 0, 1], dtype=bool)
    centred, mean = center(vectors, warm)
    np.testing.assert_allclose(mean, (vectors[0] + vectors[1] + vectors[2] + vectors[5]) / 4, rtol=1e-5)
    expected = (vectors - mean) / np.linalg.norm(vectors - mean, axis=1, keepdims=True)
    np.testing.assert_allclose(centred, expected, rtol=1e-5)
    assert centred.dtype == mean.dtype == np.float32
    vectors[3:5] += 100
    np.testing.assert_array_equal(center(vectors, warm)[1], mean)


def test_zero_rows_stay_zero() -> None:
    np.testing.assert_allclose(normalize_rows(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]], rtol=1e-6)


@pytest.mark.parametrize("ridge", [0.1, 30.0])
def test_ridge_equals_the_dense_solution_with_a_free_intercept(ridge: float) -> None:
    vectors = (RNG.standard_normal((40, 5)) + 1).astype(np.float32)
    popularity = RNG.integers(0, 50, 40).astype(np.float32)
    warm = RNG.random(40) < 0.7
    model = fit_text_popularity(vectors, popularity, warm, ridge)
    # The column of ones stands for the intercept, and its penalty is zero.
    design = np.hstack([vectors[warm].astype(float), np.ones((warm.sum(), 1))])
    penalty = ridge * np.diag([1.0] * 5 + [0.0])
    solution = np.linalg.solve(design.T @ design + penalty, design.T @ np.log1p(popularity[warm].astype(float)))
    np.testing.assert_allclose(model.weight, solution[:5], rtol=1e-4, atol=1e-6)
    assert model.bias == pytest.approx(solution[5], rel=1e-4)
    np.testing.assert_allclose(model.predict(vectors), vectors @ solution[:5] + solution[5], rtol=1e-4)


def test_a_huge_penalty_leaves_the_mean() -> None:
    vectors = RNG.standard_normal((20, 3)).astype(np.float32)
    popularity = RNG.integers(0, 9, 20).astype(np.float32)
    model = fit_text_popularity(vectors, popularity, np.ones(20, dtype=bool), 1e12)
    np.testing.assert_allclose(model.predict(vectors), np.log1p(popularity).mean(), rtol=1e-5)
    with pytest.raises(ValueError, match="ridge=0 must be positive"):
        fit_text_popularity(vectors, popularity, np.ones(20, dtype=bool), 0)
