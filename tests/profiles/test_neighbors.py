from __future__ import annotations

import numpy as np
import pytest

from reclm_hf.profiles.neighbors import top_neighbors


@pytest.fixture
def vectors():
    return np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)


def by_hand(vectors, n):
    found = []
    for user, vector in enumerate(vectors):
        scores = [
            (-float(vector @ other / np.linalg.norm(vector) / np.linalg.norm(other)), row)
            for row, other in enumerate(vectors)
            if row != user
        ]
        found.append([row for _, row in sorted(scores)[:n]])
    return np.array(found)


@pytest.mark.parametrize("block", [1, 7, 40, 1000])
def test_equals_a_search_by_hand_whatever_the_block(vectors, block):
    expected = by_hand(vectors, 4)
    found = top_neighbors(vectors, 4, block=block)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.int32


def test_length_of_vectors_does_not_count(vectors):
    scaled = vectors * np.linspace(0.01, 100, 40, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(top_neighbors(scaled, 4), top_neighbors(vectors, 4))


def test_users_without_history_have_no_neighbours_and_are_none(vectors):
    vectors[[3, 17]] = 0.0
    found = top_neighbors(vectors, 5)
    assert (found[[3, 17]] == -1).all()
    others = np.delete(found, [3, 17], axis=0)
    assert not np.isin(others, [3, 17, -1]).any()


def test_too_few_users_leave_places_empty(vectors):
    found = top_neighbors(vectors[:3], 5)
    assert (found[:, :2] >= 0).all()
    assert (found[:, 2:] == -1).all()
    assert (top_neighbors(vectors[:1], 5) == -1).all()


def test_bad_input_is_refused(vectors):
    with pytest.raises(ValueError, match="at least one"):
        top_neighbors(vectors, 0)
    vectors[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        top_neighbors(vectors, 2)
