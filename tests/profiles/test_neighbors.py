from __future__ import annotations

import numpy as np
import pytest

from reclm_hf.profiles.neighbors import find_neighbors, nearest_by_text, top_neighbors


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


def test_of_equally_similar_users_the_lower_row_comes_first():
    vectors = np.tile(np.eye(2, dtype=np.float32), (6, 1))  # even rows are all the same, odd rows too
    for block in (3, 100):
        found = top_neighbors(vectors, 3, block=block)
        assert found[0].tolist() == [2, 4, 6]
        assert found[6].tolist() == [0, 2, 4]
        assert found[11].tolist() == [1, 3, 5]


@pytest.fixture
def texts(vectors):
    return np.random.default_rng(1).standard_normal((len(vectors), 9)).astype(np.float32)


def test_users_with_history_are_placed_by_it_whatever_their_texts(vectors, texts):
    found = find_neighbors(vectors, texts, 4)
    np.testing.assert_array_equal(found.rows, top_neighbors(vectors, 4))
    assert found.rows.dtype == np.int32
    assert set(found.by) == {"interactions"}


def test_users_without_history_are_placed_by_text_among_those_with(vectors, texts):
    new = [3, 17, 18]
    vectors[new] = 0.0
    texts[17] = 0.0  # said nothing
    texts[[5, 6]] = 0.0  # nothing is known of the items of these two
    found = find_neighbors(vectors, texts, 4)
    assert found.by[new].tolist() == ["text", "none", "text"]
    assert set(np.delete(found.by, new)) == {"interactions"}
    assert (found.rows[17] == -1).all()
    others = np.delete(np.arange(40), [*new, 5, 6])
    unit = texts / np.maximum(np.linalg.norm(texts, axis=1, keepdims=True), 1e-9)
    for user in (3, 18):
        expected = sorted(others, key=lambda other: -float(unit[user] @ unit[other]))[:4]
        assert found.rows[user].tolist() == expected
    np.testing.assert_array_equal(np.delete(found.rows, new, axis=0), np.delete(top_neighbors(vectors, 4), new, axis=0))


def test_people_who_are_in_no_table_are_placed_by_text(vectors, texts):
    asking = np.array([texts[7] * 2, np.zeros(9), -texts[7]], dtype=np.float32)
    found = nearest_by_text(asking, texts, 2)
    assert found[0, 0] == 7
    assert found[1].tolist() == [-1, -1]
    assert (
        found[2].tolist()
        == np.argsort(-(asking[2] @ (texts / np.linalg.norm(texts, axis=1, keepdims=True)).T))[:2].tolist()
    )
    assert nearest_by_text(asking[:0], texts).shape == (0, 3)
    assert (nearest_by_text(asking, np.zeros_like(texts)) == -1).all()


def test_without_texts_users_without_history_have_none(vectors):
    vectors[3] = 0.0
    found = find_neighbors(vectors, n=2)
    assert found.by[3] == "none"
    assert (found.rows[3] == -1).all()


def test_where_nobody_has_a_history_there_is_nobody_to_be_placed_by(vectors, texts):
    found = find_neighbors(np.zeros_like(vectors), texts)
    assert (found.rows == -1).all()
    assert set(found.by) == {"none"}


def test_too_few_users_with_history_leave_places_empty(vectors, texts):
    vectors[2:] = 0.0
    found = find_neighbors(vectors, texts, 3)
    assert sorted(found.rows[9].tolist()) == [-1, 0, 1]
    assert found.rows[0].tolist() == [1, -1, -1]


def test_bad_texts_are_refused(vectors, texts):
    with pytest.raises(ValueError, match="39 text vectors for 40 users"):
        find_neighbors(vectors, texts[:39])
    texts[0, 0] = np.inf
    with pytest.raises(ValueError, match="infinite"):
        find_neighbors(vectors, texts)


def test_no_square_matrix_is_made():
    """20,000 users: all scores together would take 1.5 GiB, more than 100 times what is used."""
    import tracemalloc

    vectors = np.random.default_rng(0).standard_normal((20_000, 8)).astype(np.float32)
    tracemalloc.start()
    top_neighbors(vectors, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 15 * 2**20
