"""Placebos of profiles: what each of them keeps and what it destroys."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from reclm_hf.recommender.configuration_reclm_recommender import PROFILE_MODES
from reclm_hf.recommender.profile_modes import ProfileSide, profile_vectors

RNG = np.random.default_rng(0)
LENGTH = np.repeat([1, 5, 20, 50], 20)
WRITTEN = np.arange(80) != 7
LLM = (RNG.standard_normal((80, 4)) @ RNG.standard_normal((4, 4)) + 1.0).astype(np.float32) * WRITTEN[:, None]
HISTORY = csr_array(np.stack([np.isin(np.arange(60), RNG.choice(60, n, replace=False)) for n in LENGTH]).astype("f4"))
SIDE = ProfileSide(LLM, LLM * 2, HISTORY)


def vectors(mode: str) -> np.ndarray:
    found = profile_vectors(mode, SIDE, seed=3)
    assert found is not None
    return found


def test_shuffled_permutes_within_quartiles_of_history_length() -> None:
    shuffled = vectors("shuffled")
    assert not np.array_equal(shuffled, LLM)
    for length in np.unique(LENGTH):
        rows = (length == LENGTH) & WRITTEN
        assert np.array_equal(np.sort(shuffled[rows], axis=0), np.sort(LLM[rows], axis=0))


def test_constant_is_the_mean_and_the_others_are_what_they_say() -> None:
    assert vectors("constant") == pytest.approx(np.broadcast_to(LLM[WRITTEN].mean(0), LLM.shape), abs=1e-6)
    assert profile_vectors("none", SIDE) is None
    assert np.array_equal(vectors("llm"), LLM)
    assert np.array_equal(vectors("masked_titles"), LLM)
    assert np.array_equal(vectors("raw_text"), LLM * 2)


def test_random_has_the_mean_and_the_covariance_of_the_profiles() -> None:
    many = RNG.standard_normal((4000, 3)) @ np.diag([1.0, 2.0, 0.5]) + [3.0, 0.0, -1.0]
    history = csr_array(np.ones((4000, 1), dtype=np.float32))
    drawn = profile_vectors("random", ProfileSide(many.astype(np.float32), many, history), seed=1)
    assert drawn is not None
    np.testing.assert_allclose(drawn.mean(0), many.mean(0), atol=0.15)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(many.T), atol=0.3)
    correlation = np.corrcoef(drawn[:, 1], many[:, 1])[0, 1]
    assert abs(correlation) < 0.06, "a draw tells nothing of the row"


def test_neighbour_takes_the_profile_of_the_most_similar_history() -> None:
    found = vectors("neighbour")
    dense = HISTORY.toarray()
    cosine = dense @ dense.T / np.linalg.norm(dense, axis=1)[:, None] / np.linalg.norm(dense, axis=1)
    np.fill_diagonal(cosine, -1)
    cosine[:, ~WRITTEN] = -1
    for row in np.flatnonzero(WRITTEN & (cosine.max(1) > 0)):
        best = np.flatnonzero(np.isclose(cosine[row], cosine[row].max()))
        assert any(np.array_equal(found[row], LLM[other]) for other in best)
        assert row not in best


@pytest.mark.parametrize("mode", [mode for mode in PROFILE_MODES if mode not in ("none", "constant", "raw_text")])
def test_rows_without_a_profile_stay_without(mode: str) -> None:
    found = vectors(mode)
    assert not found[~WRITTEN].any()
    assert np.abs(found[WRITTEN]).sum(1).all()
    assert np.array_equal(found, vectors(mode)), "the seed decides"


@pytest.mark.parametrize("mode", ["constant", "random"])
def test_rows_without_interactions_are_in_no_statistics(mode: str) -> None:
    """Items first seen after the cut have profiles; nothing of them may reach what is fitted."""
    history = HISTORY.toarray()
    history[60:] = 0
    known = profile_vectors(mode, ProfileSide(LLM, LLM, csr_array(history)), seed=3)
    moved = LLM.copy()
    moved[60:] += 5.0
    assert np.array_equal(known, profile_vectors(mode, ProfileSide(moved, LLM, csr_array(history)), seed=3))


def test_missing_profiles_say_what_to_run() -> None:
    with pytest.raises(ValueError, match="reclm profiles build"):
        profile_vectors("llm", ProfileSide(None, LLM, HISTORY))
