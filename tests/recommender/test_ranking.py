"""Ranked lists from scores: ties, the k best, seen items, blocks."""

from __future__ import annotations

import numpy as np
import pytest

from reclm_hf.recommender.ranking import block_users, rank_blocks, tie_order, top_k


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
