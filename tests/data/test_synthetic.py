"""Synthetic data follow their model: choices have the stated odds, and what is not planted is not there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reclm_hf.data import synthetic
from reclm_hf.data.synthetic import (
    FRESHNESS,
    TEST_CUT,
    VALIDATION_CUT,
    Synthetic,
    SyntheticItems,
    synthetic_interactions,
    text_effect,
)


@pytest.fixture(scope="module")
def data() -> Synthetic:
    return synthetic_interactions(1.0, 1.0, seed=3)


def test_the_seed_decides(data: Synthetic) -> None:
    again, other = (synthetic_interactions(1.0, 1.0, seed=seed) for seed in (3, 4))
    assert again.splits.fingerprint == data.splits.fingerprint != other.splits.fingerprint
    np.testing.assert_array_equal(again.users.profiles, data.users.profiles)


def test_strengths_change_choices_only(data: Synthetic) -> None:
    other = synthetic_interactions(0.0, 2.0, seed=3)
    np.testing.assert_array_equal(other.items.vectors, data.items.vectors)
    np.testing.assert_array_equal(other.users.profiles, data.users.profiles)
    assert other.splits.data.fingerprint() != data.splits.data.fingerprint()


def test_both_splits_have_cold_items_and_nobody_chooses_before_the_release(data: Synthetic) -> None:
    rows = data.splits.data
    assert rows.duplicates == 0
    assert rows.n_users == 1200
    assert rows.timestamp is not None
    time = (rows.timestamp - synthetic.START) / synthetic.PERIOD
    # Times are rounded down to microseconds.
    assert (time >= data.items.release[rows.item] - 1e-9).all()
    for split, cut in ((data.splits.validation, VALIDATION_CUT), (data.splits.test, TEST_CUT)):
        assert split.cut is not None
        assert (split.cut - synthetic.START) / synthetic.PERIOD == pytest.approx(cut, abs=1e-3)
        assert split.cold.sum() > 50
        assert 0.1 < split.cold[split.target_item].mean() < 0.5
    # Nearly every item finds a user before the next cut: which ones are candidates is no matter of luck.
    new = data.items.release >= TEST_CUT - 1e-9
    assert np.mean(data.splits.test.cold != new) < 0.03


def test_terms_have_the_stated_variance(data: Synthetic) -> None:
    dim = data.items.vectors.shape[1]
    for direction in (data.users.taste, data.users.trait):
        term = dim**0.5 * direction @ data.items.vectors.T
        assert term.mean() == pytest.approx(0, abs=0.05)
        assert term.std() == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(np.linalg.norm(data.items.vectors, axis=1), 1, rtol=1e-5)
    assert np.abs((data.users.taste * data.users.trait).sum(axis=1)).max() == 0


def test_profiles_tell_the_trait_and_not_the_taste(data: Synthetic) -> None:
    own = (data.users.profiles * data.users.trait).sum(axis=1)
    other = (data.users.profiles * data.users.trait[::-1]).sum(axis=1)
    assert own.mean() == pytest.approx(1 / (1 + synthetic.PROFILE_NOISE**2) ** 0.5, abs=0.02)
    assert abs(other.mean()) < 0.05
    assert abs((data.users.profiles * data.users.taste).sum(axis=1).mean()) < 0.02


def test_first_choices_follow_the_softmax() -> None:
    """30,000 users with one want before three items: shares as exp(s), and nothing that is not out yet."""
    vectors = np.eye(4, dtype=np.float32)
    items = SyntheticItems(vectors, np.array([0.0, 0.5, 0.0, 9.0]), np.array([0.0, 0.0, 0.0, 1.0]))
    wants = np.tile([1.0, 0.0, 0.0, 0.0], (30_000, 1))
    user, item, time = synthetic._choose(items, wants, 2, np.random.default_rng(0))
    assert (item < 3).all()
    assert len(user) == 60_000
    order = np.lexsort((time, user))
    first, second = item[order][0::2], item[order][1::2]
    assert (first != second).all()
    odds = np.exp([1.0, 0.5, 0.0])
    np.testing.assert_allclose(np.bincount(first) / 30_000, odds / odds.sum(), atol=0.01)
    # Without what was taken first, the rest keeps its odds.
    np.testing.assert_allclose((second[first == 0] == 1).mean(), odds[1] / odds[1:].sum(), atol=0.015)


def test_newer_items_have_the_stated_odds() -> None:
    items = SyntheticItems(np.eye(4, dtype=np.float32), np.zeros(4), np.array([0.0, 0.0, 0.25, 0.5]))
    user, item, time = synthetic._choose(items, np.zeros((30_000, 4)), 2, np.random.default_rng(1))
    order = np.lexsort((time, user))
    first, late = item[order][0::2], time[order][0::2] >= 0.5
    odds = np.exp(FRESHNESS * items.release)
    np.testing.assert_allclose(np.bincount(first[late]) / late.sum(), odds / odds.sum(), atol=0.02)


def test_a_huge_strength_still_chooses_new_items() -> None:
    found = synthetic_interactions(40.0, 40.0, n_users=50, seed=0)
    assert found.splits.data.duplicates == 0
    assert len(found.splits.data.user) == synthetic_interactions(0.0, 0.0, n_users=50, seed=0).splits.data.user.size


def test_fresh_users_share_items_and_candidates(data: Synthetic) -> None:
    for split in (data.splits.validation, data.splits.test):
        fresh = data.fresh_users(split, 300, seed=1)
        np.testing.assert_array_equal(fresh.split.cold, split.cold)
        np.testing.assert_array_equal(fresh.split.candidates("catalogue"), split.candidates("catalogue"))
        assert fresh.split.warm[fresh.split.history_item].all()
        targets = fresh.split.target_item
        assert (split.warm | split.cold)[targets].all()
        assert fresh.split.cold[targets].mean() == pytest.approx(split.cold[split.target_item].mean(), abs=0.1)
        assert not np.array_equal(fresh.users.trait[:300], data.users.trait[:300])
    first, second = (data.fresh_users(data.splits.test, 300, seed=seed).split for seed in (1, 2))
    assert not np.array_equal(first.target_item, second.target_item)


def test_an_oracle_knows_the_utilities(data: Synthetic) -> None:
    test, users, items = data.splits.test, np.arange(5), np.arange(400)
    out = data.items.release < TEST_CUT  # out for the whole period of the test
    known = data.items.appeal + FRESHNESS * data.items.release
    term = 4 * (data.users.taste + data.users.trait)[:5] @ data.items.vectors.T
    np.testing.assert_allclose(data.oracle(test).score(users, items)[:, out], (known + term)[:, out], atol=1e-4)
    shared = data.oracle(test, text=0, profile=0).score(users, items)
    np.testing.assert_allclose(shared[:, out], np.broadcast_to(known[out], (5, out.sum())), atol=1e-4)
    assert (shared == shared[0]).all()
    half = 4 * data.users.trait[:5] @ data.items.vectors.T / 2
    half_known = data.oracle(test, text=0, profile=0.5).score(users, items) - shared
    np.testing.assert_allclose(half_known, half, atol=1e-4)
    others = replace(data.users, trait=data.users.trait[::-1])
    np.testing.assert_allclose(
        data.oracle(test, others, text=0).score(users, items), data.oracle(test, text=0).score(1199 - users, items)
    )


def test_the_text_effect_is_the_mean_over_all_pairs(data: Synthetic) -> None:
    fresh = data.fresh_users(data.splits.test, 40, seed=5)
    vectors = data.items.vectors - data.items.vectors[fresh.split.warm].mean(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def pairs(items: np.ndarray) -> float:
        cosines = vectors[items] @ vectors[items].T
        return float(cosines[~np.eye(len(items), dtype=bool)].mean())

    taken = [fresh.split.history_item[fresh.split.history_user == user] for user in range(40)]
    users = [pairs(items) for items in taken if len(items) > 1]
    found = text_effect(fresh, data.items.vectors)
    assert found.value == pytest.approx(np.mean(users) - pairs(np.flatnonzero(fresh.split.warm)), abs=1e-5)
    assert found.standard_error == pytest.approx(np.std(users, ddof=1) / len(users) ** 0.5, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text_strength": -1.0}, "neither may be negative"),
        ({"dim": 7}, "dim=7"),
        ({"events": 2}, "at least 5 events"),
        ({"n_items": 60}, "12 items for each"),
    ],
)
def test_bad_arguments(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        synthetic_interactions(**({"text_strength": 0.0, "profile_strength": 0.0} | arguments))


def test_other_splits_have_no_known_period(data: Synthetic) -> None:
    with pytest.raises(ValueError, match="block-1"):
        data.oracle(replace(data.splits.test, name="block-1"))
