"""Ranked lists from scores: ties, the k best, seen items, blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reclm_hf.recommender import ranking
from reclm_hf.recommender.ranking import all_in_order, block_users, rank_blocks, tie_order, top_k


def test_tie_order_is_a_seeded_permutation_that_grows_at_the_end() -> None:
    order = tie_order(1000)
    assert sorted(order) == list(range(1000))
    np.testing.assert_array_equal(order, tie_order(1000))
    assert (order != tie_order(1000, seed=1)).any()
    # Not the order of the ids, in which items often stand by age.
    assert abs(np.corrcoef(order, np.arange(1000))[0, 1]) < 0.1
    longer = tie_order(1100)[:1000]
    np.testing.assert_array_equal(np.argsort(order), np.argsort(longer))
    assert tie_order(0).shape == (0,)


@pytest.mark.parametrize("k", [1, 3, 7, 8, 20])
def test_top_k_agrees_with_a_full_sort(k: int) -> None:
    rng = np.random.default_rng(k)
    scores = rng.integers(0, 4, (200, 8)).astype(np.float32)  # many ties, at the k-th place too
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    ties = rng.permutation(8)
    expected = [sorted(range(8), key=lambda item: (-row[item], ties[item]))[:k] for row in scores]
    np.testing.assert_array_equal(top_k(scores, k, ties), expected)


def test_top_k_of_nothing() -> None:
    assert top_k(np.empty((0, 5)), 3, np.arange(5)).shape == (0, 3)
    assert top_k(np.empty((2, 0)), 3, np.arange(0)).shape == (2, 0)


def test_top_k_rejects_what_it_cannot_rank() -> None:
    with pytest.raises(ValueError, match="NaN"):
        top_k(np.array([[1.0, np.nan]]), 1, np.arange(2))
    with pytest.raises(ValueError, match="at least 1"):
        top_k(np.zeros((1, 2)), 0, np.arange(2))
    with pytest.raises(ValueError, match=r"\[B, C\]"):
        top_k(np.zeros((1, 2)), 1, np.arange(3))


def test_top_k_where_some_rows_have_ties_at_the_kth_place_and_others_none() -> None:
    ties = np.array([3, 0, 2, 1])
    scores = np.array([[4, 3, 2, 1], [7, 7, 7, 7], [1, 9, 1, 1], [0, -np.inf, -np.inf, -np.inf]], dtype=np.float32)
    assert top_k(scores, 2, ties).tolist() == [[0, 1], [1, 3], [1, 3], [0, 1]]


def test_blocks_hold_the_lists_of_a_reference() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 5, (31, 12)).astype(np.float32)
    seen = rng.random((31, 12)) < 0.3
    seen[4] = True
    seen[5] = False
    indptr, indices = np.append(0, seen.sum(axis=1).cumsum()), np.nonzero(seen)[1]
    ties, items = tie_order(12), np.array([0, 2, 3, 5, 7, 8, 11])
    users = rng.permutation(31)[:23]
    blocks = list(
        rank_blocks(
            lambda rows, columns: scores[np.ix_(rows, columns)],
            users,
            items,
            3,
            ties=ties,
            seen=(indptr, indices),
            block=5,
        )
    )
    assert [len(block.users) for block in blocks] == [5, 5, 5, 5, 3]
    found = [list(row) for block in blocks for row in np.split(block.items, np.cumsum(block.counts)[:-1])]
    expected = [
        sorted((item for item in items if not seen[user, item]), key=lambda item: (-scores[user, item], ties[item]))[:3]
        for user in users
    ]
    assert found == expected
    repeated = np.concatenate([np.repeat(block.users, block.counts) for block in blocks])
    np.testing.assert_array_equal(
        np.concatenate([block.scores for block in blocks]), scores[repeated, np.concatenate(found).astype(int)]
    )


def test_memory_of_a_block_is_bounded() -> None:
    assert [block_users(n) for n in (0, 1000, 5000, 10**7)] == [2**22, 4194, 838, 16]


@pytest.fixture
def rows_of_any_length_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "_LONG_ROW", 0)
    monkeypatch.setattr(ranking, "_CHUNKS_A_PLACE", 1)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    scores=arrays(
        np.float32,
        st.tuples(st.integers(0, 4), st.integers(0, 60)),
        elements=st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 0.5, 2.0, np.inf]),
    ),
    k=st.integers(1, 70),
    seed=st.integers(0, 3),
)
def test_long_rows_are_ranked_as_short_ones(
    rows_of_any_length_are_long: None, scores: np.ndarray, k: int, seed: int
) -> None:
    ties = tie_order(scores.shape[1], seed)
    expected = [sorted(range(len(ties)), key=lambda item: (-row[item], ties[item]))[:k] for row in scores]
    found = top_k(scores, k, ties)
    assert found.shape == (len(scores), min(k, len(ties)))
    assert found.dtype == np.int64
    assert found.tolist() == expected


@pytest.mark.parametrize("distinct", [1, 3, 10**6])
@pytest.mark.parametrize("extra", [0, 1, 63])
def test_a_row_of_many_columns_agrees_with_a_full_sort(distinct: int, extra: int) -> None:
    rng = np.random.default_rng(distinct)
    scores = rng.integers(0, distinct, (2, ranking._LONG_ROW + extra)).astype(np.float32)
    scores[1, rng.permutation(scores.shape[1])[10:]] = -np.inf  # fewer than k that count
    ties = tie_order(scores.shape[1])
    for k in (1, 20, 257):
        expected = np.lexsort((np.broadcast_to(ties, scores.shape), -scores))[:, :k]
        np.testing.assert_array_equal(top_k(scores, k, ties), expected)


@pytest.mark.parametrize("column", [0, 12_345, -1])
def test_nan_in_a_row_of_many_columns_is_an_error(column: int) -> None:
    scores = np.zeros((2, ranking._LONG_ROW + 7), dtype=np.float32)
    scores[1, column] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        top_k(scores, 20, tie_order(scores.shape[1]))


def test_all_positions_in_order_are_told_from_others() -> None:
    assert all_in_order(np.arange(5), 5)
    assert all_in_order(np.arange(1), 1)
    assert all_in_order(np.arange(0), 0)
    for other in ([0, 1, 2, 3], [1, 0, 2, 3, 4], [0, 2, 1, 3, 4], [0, 1, 1, 3, 4], [1, 2, 3, 4, 5], []):
        assert not all_in_order(np.array(other, dtype=np.int64), 5)


def test_the_scores_that_a_model_gave_are_not_written_to() -> None:
    scores = np.arange(6, dtype=np.float32).reshape(2, 3)
    for seen in (None, (np.array([0, 1, 2]), np.array([2, 0]))):
        blocks = rank_blocks(
            lambda users, _: scores[users[0] :], np.arange(2), np.arange(3), 1, ties=tie_order(3), seen=seen, block=2
        )
        assert [block.items.tolist() for block in blocks] == [[2, 2] if seen is None else [1, 2]]
        np.testing.assert_array_equal(scores, np.arange(6).reshape(2, 3))


def test_the_order_of_ties_cannot_be_changed_by_a_caller() -> None:
    with pytest.raises(ValueError, match="read-only"):
        tie_order(7)[0] = 3
