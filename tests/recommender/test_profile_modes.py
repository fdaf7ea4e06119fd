from __future__ import annotations

import numpy as np
import pytest

from reclm_hf.recommender.profile_modes import profile_vectors

RNG = np.random.default_rng(0)
LLM = RNG.standard_normal((80, 4)).astype(np.float32)
LENGTH = np.repeat([1, 5, 20, 100], 20)


def vectors(mode: str) -> np.ndarray | None:
    return profile_vectors(mode, llm=LLM, raw_text=LLM * 2, history_length=LENGTH, seed=3)


def test_shuffled_permutes_within_quartiles_of_history_length() -> None:
    shuffled = vectors("shuffled")
    assert shuffled is not None
    assert not np.array_equal(shuffled, LLM)
    for length in np.unique(LENGTH):
        rows = length == LENGTH
        assert np.array_equal(np.sort(shuffled[rows], axis=0), np.sort(LLM[rows], axis=0))


def test_constant_is_the_mean_and_the_others_are_what_they_say() -> None:
    constant = vectors("constant")
    assert constant is not None
    assert constant == pytest.approx(np.broadcast_to(LLM.mean(0), LLM.shape), abs=1e-6)
    assert vectors("none") is None
    assert np.array_equal(vectors("llm"), LLM)
    assert np.array_equal(vectors("raw_text"), LLM * 2)


def test_missing_profiles_say_what_to_run() -> None:
    with pytest.raises(ValueError, match="reclm profiles build"):
        profile_vectors("llm", llm=None, raw_text=None, history_length=LENGTH)
