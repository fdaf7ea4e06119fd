"""Intervals that cover what they should, over users and over items, and tests with known answers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from reclm_hf.evaluation import statistics
from reclm_hf.evaluation.statistics import (
    Intervals,
    bootstrap,
    holm,
    interval,
    minimal_detectable_effect,
    sign_flip,
    sums_by_unit,
)


def one_target_each(hits: np.ndarray, items: np.ndarray, draws: int = 400, seed: int = 0) -> statistics.Bootstrap:
    """Bootstrap where every user has one target: user metric = hit, weight 1. hits: [n, R]."""
    sums = sums_by_unit(items, np.column_stack([hits, np.ones(len(hits))]))
    return bootstrap(hits, sums[:, :-1], sums[:, -1], draws=draws, seed=seed)


def test_sums_by_unit_follow_the_units() -> None:
    sums = sums_by_unit(np.array([7, 3, 7]), np.array([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]]))
    assert sums.tolist() == [[2, 20], [5, 50]]


def test_the_ratio_over_items_is_the_mean_over_users() -> None:
    rng = np.random.default_rng(0)
    user = np.sort(rng.integers(0, 30, 200))
    _, group = np.unique(user, return_inverse=True)
    weights = 1 / np.bincount(group)[group]
    contributions = rng.integers(0, 2, 200) * weights
    sums = sums_by_unit(rng.integers(0, 40, 200), np.column_stack([contributions, weights]))
    means = np.bincount(group, weights=contributions)
    assert sums[:, 0].sum() / sums[:, 1].sum() == pytest.approx(means.mean())


def test_over_items_the_metric_is_a_ratio_of_what_was_drawn() -> None:
    # Every target is a hit: whichever items are drawn, recall is 1.
    weights = np.array([1.0, 0.5, 0.25, 3.0, 0.1])
    sample = bootstrap(np.ones((4, 1)), weights[:, None], weights, draws=50)
    np.testing.assert_allclose(sample.items, 1)


def test_the_same_seed_gives_the_same_draws_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    hits, items = rng.random((50, 2)), rng.integers(0, 20, 50)
    first = one_target_each(hits, items)
    monkeypatch.setattr(statistics, "_CHUNK_CELLS", 170)
    second = one_target_each(hits, items)
    np.testing.assert_allclose(first.users, second.users)
    np.testing.assert_allclose(first.items, second.items)
    other = one_target_each(hits, items, seed=1)
    assert not np.allclose(first.users, other.users)


def test_draws_are_multinomial() -> None:
    counts = np.concatenate([part for _, part in statistics._resampling_counts(8, 4000, np.random.default_rng(0))])
    assert (counts.sum(axis=1) == 8).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.06)
    assert counts.var() == pytest.approx(7 / 8, abs=0.03)


@pytest.mark.parametrize("planted", [0.0, 0.08])
def test_intervals_of_a_difference_cover_the_planted_one(planted: float) -> None:
    """60 data sets of 150 users with as many items: both 95 % intervals must cover nearly always, and not too often."""
    covered_users = covered_items = 0
    for number in range(60):
        rng = np.random.default_rng(number)
        easy = rng.random(150)
        # Paired rows: the same users are easy in both. P(a) - P(b) is the planted difference for every user.
        a = rng.random(150) < 0.2 + 0.5 * easy + planted
        b = rng.random(150) < 0.2 + 0.5 * easy
        hits = np.column_stack([a, b]).astype(float)
        found = one_target_each(hits, rng.permutation(150), seed=number).difference(0, 1)
        covered_users += int(found.low_users[0] <= planted <= found.high_users[0])
        covered_items += int(found.low_items[0] <= planted <= found.high_items[0])
    assert 52 <= covered_users <= 60
    assert 52 <= covered_items <= 60


def test_only_the_interval_over_items_covers_where_the_difference_lies_in_items() -> None:
    """500 users on 40 items; a and b differ by item, by nothing on average: other items, other sign."""
    covered_users = covered_items = 0
    for number in range(60):
        rng = np.random.default_rng(number)
        items = rng.integers(0, 40, 500)
        effect = rng.choice([-0.4, 0.4], 40)
        a = rng.random(500) < 0.5 + effect[items]
        b = rng.random(500) < 0.5
        found = one_target_each(np.column_stack([a, b]).astype(float), items, seed=number).difference(0, 1)
        covered_users += int(found.low_users[0] <= 0 <= found.high_users[0])
        covered_items += int(found.low_items[0] <= 0 <= found.high_items[0])
    assert covered_items >= 52
    assert covered_users <= 45


def test_a_paired_difference_is_narrower_than_its_parts() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(200)
    sample = one_target_each(np.column_stack([base + 0.01, base]), rng.permutation(200))
    found = sample.difference(0, 1)
    assert found.low[0] == pytest.approx(0.01)
    assert found.high[0] == pytest.approx(0.01)
    assert (sample.intervals().high - sample.intervals().low > 0.05).all()


def test_the_interval_over_items_is_the_wider_one_when_an_item_carries_everything() -> None:
    # 300 users, 30 items; 100 users want item 0, and only they are hit.
    items = np.concatenate([np.zeros(100), 1 + np.arange(200) % 29]).astype(int)
    hits = (items == 0).astype(float)[:, None]
    found = one_target_each(hits, items).intervals()
    assert found.wider.tolist() == ["items"]
    assert (found.low[0], found.high[0]) == (found.low_items[0], found.high_items[0])
    assert found.low_items[0] == 0
    assert found.low_users[0] > 0.2
    assert found.high_items[0] - found.low_items[0] > 3 * (found.high_users[0] - found.low_users[0])


def test_the_interval_over_users_is_the_wider_one_when_a_user_carries_everything() -> None:
    # 20 users; the first has 200 targets, all hit, on items of their own; the others one target each, on many items.
    group = np.concatenate([np.zeros(200), np.arange(1, 20)]).astype(int)
    weights = 1 / np.bincount(group)[group]
    contributions = np.where(group == 0, weights, 0.0)
    sums = sums_by_unit(np.arange(219), np.column_stack([contributions, weights]))
    values = np.bincount(group, weights=contributions)[:, None]
    found = bootstrap(values, sums[:, :-1], sums[:, -1], draws=400).intervals()
    assert found.wider.tolist() == ["users"]


def test_one_unit_has_no_interval() -> None:
    low, high = interval(np.full((10, 2), 0.5), n_units=1)
    assert np.isnan(low).all()
    assert np.isnan(high).all()
    nan = np.array([np.nan])
    only_users = Intervals(np.array([0.1]), np.array([0.2]), nan, nan, np.array([0.02]))
    assert (only_users.wider[0], only_users.low[0], only_users.high[0]) == ("users", 0.1, 0.2)
    only_items = Intervals(nan, nan, np.array([0.1]), np.array([0.2]), np.array([0.02]))
    assert (only_items.wider[0], only_items.low[0], only_items.high[0]) == ("items", 0.1, 0.2)


def test_sign_flips_equal_the_full_enumeration() -> None:
    differences = np.array([0.5, 0.25, 0.125, -0.0625, 0.5, 0.25, -0.125, 0.3])
    signs = np.array(list(itertools.product([-1, 1], repeat=len(differences))))
    exact = (np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12).mean()
    assert sign_flip(differences[:, None], draws=20_000)[0] == pytest.approx(exact, abs=0.01)


def test_sign_flips_of_no_difference_and_of_a_clear_one() -> None:
    rng = np.random.default_rng(0)
    columns = np.column_stack([np.zeros(100), np.ones(100), rng.standard_normal(100)])
    p = sign_flip(columns, draws=999)
    assert p[0] == 1
    assert p[1] == pytest.approx(1 / 1000)
    assert 0.001 < p[2] < 1


def test_sign_flip_p_values_are_uniform_under_no_difference() -> None:
    columns = np.random.default_rng(5).standard_normal((80, 300))
    p = sign_flip(columns, draws=500)
    assert 0.02 < (p < 0.05).mean() < 0.09
    assert np.median(p) == pytest.approx(0.5, abs=0.1)


def test_holm_by_hand() -> None:
    adjusted = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.5, np.nan, 0.6])), [1, np.nan, 1])
    assert len(holm(np.array([]))) == 0


def test_the_detectable_effect_is_found_four_times_in_five() -> None:
    assert minimal_detectable_effect(np.array([1.0]))[0] == pytest.approx(2.8016, abs=1e-4)
    estimates = minimal_detectable_effect(1.0) + np.random.default_rng(0).standard_normal(20_000)
    assert (np.abs(estimates) > 1.96).mean() == pytest.approx(0.8, abs=0.01)
