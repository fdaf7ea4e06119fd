"""Ranks by counting against a full sort, metrics against hand-computed values and against ranx."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from reclm_hf.evaluation.metrics import UNRANKED, contributions, metric_names, target_ranks, user_metrics

NO_PAIRS = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


def pairs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.nonzero(mask)
    return rows, columns


def sorted_lists(scores: np.ndarray, seen: np.ndarray, tie_rank: np.ndarray) -> list[list[int]]:
    """The whole ranking of every row by a full sort, without seen columns and without scores of -inf."""
    lists = []
    for row, mask in zip(scores, seen, strict=True):
        columns = np.flatnonzero(~mask & (row > -np.inf))
        lists.append(sorted(columns.tolist(), key=lambda column: (-row[column], tie_rank[column])))
    return lists


def check_against_sort(scores: np.ndarray, seen: np.ndarray, targets: np.ndarray, tie_rank: np.ndarray) -> None:
    before = scores.copy()
    ranks = target_ranks(scores, pairs(seen), pairs(targets), tie_rank, "model")
    np.testing.assert_array_equal(scores, before)
    lists = sorted_lists(scores, seen, tie_rank)
    rows, columns = pairs(targets)
    expected = [
        lists[row].index(column) if scores[row, column] > -np.inf else UNRANKED
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
    ]
    assert ranks.tolist() == expected


def test_rank_is_the_number_of_unseen_items_above() -> None:
    scores = np.array([[5.0, 4.0, 3.0, 2.0, 1.0]], dtype=np.float32)
    targets = (np.array([0, 0]), np.array([2, 4]))
    tie_rank = np.array([3, 1, 4, 0, 2])
    assert target_ranks(scores, NO_PAIRS, targets, tie_rank, "m").tolist() == [2, 4]
    seen = (np.array([0]), np.array([1]))
    assert target_ranks(scores, seen, targets, tie_rank, "m").tolist() == [1, 3]


def test_ties_follow_the_permutation_and_not_the_column() -> None:
    scores = np.zeros((1, 4), dtype=np.float32)
    targets = (np.zeros(4, dtype=np.int64), np.arange(4))
    assert target_ranks(scores, NO_PAIRS, targets, np.array([2, 0, 3, 1]), "m").tolist() == [2, 0, 3, 1]
    # Places need not be consecutive: candidates are a part of the items.
    assert target_ranks(scores, NO_PAIRS, targets, np.array([70, 5, 90, 6]), "m").tolist() == [2, 0, 3, 1]


def test_positive_and_negative_zero_are_a_tie() -> None:
    scores = np.array([[0.0, -0.0]], dtype=np.float32)
    targets = (np.array([0, 0]), np.array([0, 1]))
    assert target_ranks(scores, NO_PAIRS, targets, np.array([1, 0]), "m").tolist() == [1, 0]


def test_minus_infinity_is_no_hit_and_seen_items_do_not_hide_behind_it() -> None:
    scores = np.array([[-np.inf, -np.inf, -1e38, -np.inf]], dtype=np.float32)
    seen = (np.array([0]), np.array([3]))
    targets = (np.array([0, 0]), np.array([0, 2]))
    assert target_ranks(scores, seen, targets, np.arange(4), "m").tolist() == [UNRANKED, 0]
    metrics = user_metrics(np.array([UNRANKED]), np.array([0]), 1, (20,))
    assert {name: values.tolist() for name, values in metrics.items()} == {name: [0.0] for name in metric_names((20,))}


@pytest.mark.parametrize(("bad", "word"), [(np.nan, "NaN"), (np.inf, r"\+inf")])
def test_scores_without_an_order_name_the_model(bad: float, word: str) -> None:
    scores = np.array([[1.0, 2.0], [bad, 0.0]], dtype=np.float32)
    with pytest.raises(ValueError, match=f"my-model: the scores contain {word}"):
        target_ranks(scores, NO_PAIRS, (np.array([0]), np.array([0])), np.arange(2), "my-model")


def test_a_target_that_is_masked_is_an_error() -> None:
    pair = (np.array([0]), np.array([1]))
    with pytest.raises(ValueError, match="also in its user's history"):
        target_ranks(np.ones((1, 3), dtype=np.float32), pair, pair, np.arange(3), "m")


def test_targets_in_any_order_and_rows_without_any() -> None:
    scores = np.arange(12, dtype=np.float32).reshape(3, 4)
    targets = (np.array([2, 0, 2, 0, 0]), np.array([3, 1, 0, 3, 0]))
    assert target_ranks(scores, NO_PAIRS, targets, np.arange(4), "m").tolist() == [0, 2, 3, 0, 3]
    assert target_ranks(scores, NO_PAIRS, NO_PAIRS, np.arange(4), "m").tolist() == []


values = st.sampled_from([-np.inf, -3e38, -1.0, 0.0, 1e-45, 0.5, 1.0, 3e38])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), n_rows=st.integers(1, 4), n_columns=st.integers(1, 12))
def test_counting_equals_sorting(data: st.DataObject, n_rows: int, n_columns: int) -> None:
    shape = (n_rows, n_columns)
    scores = data.draw(arrays.arrays(np.float32, shape, elements=values.map(np.float32)))
    kind = data.draw(arrays.arrays(np.int8, shape, elements=st.integers(0, 2)))
    tie_rank = np.array(data.draw(st.permutations(range(n_columns))))
    check_against_sort(scores, kind == 1, kind == 2, tie_rank)


def test_metrics_by_hand() -> None:
    # User 0: hits at places 1 and 3 of 3 targets; user 1: its only target at place 5.
    rank, group = np.array([0, 2, 9, 4]), np.array([0, 0, 0, 1])
    metrics = user_metrics(rank, group, 2, (3, 5))
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    expected = {
        "recall@3": [2 / 3, 0],
        "recall@5": [2 / 3, 1],
        "ndcg@3": [(1 + 1 / np.log2(4)) / ideal, 0],
        "ndcg@5": [(1 + 1 / np.log2(4)) / ideal, 1 / np.log2(6)],
        "hit_rate@3": [1, 0],
        "hit_rate@5": [1, 1],
        "mrr": [1, 1 / 5],
    }
    assert set(metrics) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, atol=1e-12, err_msg=name)


def test_more_targets_than_k() -> None:
    # Five targets in the first five places: the list of two is perfect, but holds only two of five.
    metrics = user_metrics(np.arange(5), np.zeros(5, dtype=np.int64), 1, (2,))
    assert metrics["ndcg@2"][0] == pytest.approx(1)
    assert metrics["recall@2"][0] == pytest.approx(2 / 5)


def test_reciprocal_rank_looks_beyond_k() -> None:
    metrics = user_metrics(np.array([99]), np.array([0]), 1, (20,))
    assert metrics["mrr"][0] == pytest.approx(1 / 100)


def test_contributions_of_the_first_hit_and_of_shared_hits() -> None:
    rank, group = np.array([3, 1, 7]), np.array([0, 0, 0])
    assert contributions("mrr", rank, group, 1).tolist() == [0, 0.5, 0]
    assert contributions("hit_rate@5", rank, group, 1).tolist() == [0.5, 0.5, 0]


@pytest.mark.parametrize("metric", ["recall", "recall@", "recall@0", "recall@x", "map@20", "mrr@20"])
def test_unknown_metrics_say_what_there_is(metric: str) -> None:
    with pytest.raises(ValueError, match="Unknown metric"):
        contributions(metric, np.array([0]), np.array([0]), 1)


@pytest.mark.parametrize("ks", [(), (0, 20), (20, 20)])
def test_bad_cut_offs(ks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cut-offs"):
        metric_names(ks)


@pytest.fixture(scope="module")
def ranx() -> Iterator[Any]:
    # ranx compiles for half a minute; as plain Python the same functions take milliseconds on lists this small.
    numba = pytest.importorskip("numba")
    with pytest.MonkeyPatch.context() as patch:
        # Not by the environment, which numba reads once: a kernel of ours may have started it before.
        patch.setattr(numba.config, "DISABLE_JIT", 1)
        yield pytest.importorskip("ranx")


def cases() -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Name -> (scores, seen, targets), each [B, C]."""
    rng = np.random.default_rng(7)
    scores = rng.standard_normal((25, 60), dtype=np.float32)
    kind = rng.random((25, 60))
    seen, targets = kind < 0.2, kind > 0.9
    targets[:, 0], seen[:, 0] = True, False
    nothing = np.zeros_like(seen)
    ordered = np.tile(-np.arange(60, dtype=np.float32), (25, 1))
    first, last = np.zeros_like(seen), np.zeros_like(seen)
    first[:, :4], last[:, -4:] = True, True
    holes = np.where(rng.random(scores.shape) < 0.4, -np.inf, scores).astype(np.float32)
    return {
        "random": (scores, nothing, targets),
        "seen items masked": (scores, seen, targets),
        "one user": (scores[:1], seen[:1], targets[:1]),
        "more targets than k": (scores, nothing, scores > -0.5),
        "every item a target": (scores, nothing, ~nothing),
        "all targets hit": (ordered, nothing, first),
        "no hits": (ordered, nothing, last),
        "ties": (np.round(scores), seen, targets),
        "all equal": (np.zeros_like(scores), seen, targets),
        "huge": (scores * np.float32(5e37), seen, targets),
        "negative": (scores - 1e6, seen, targets),
        "minus infinity": (holes, seen, targets),
        "nothing but minus infinity": (np.full_like(scores, -np.inf), seen, targets),
    }


@pytest.mark.parametrize("name", cases())
def test_metrics_equal_ranx(name: str, ranx: Any) -> None:
    scores, seen, targets = cases()[name]
    tie_rank = np.random.default_rng(1).permutation(scores.shape[1])
    ks = (5, 20)
    rows, _ = pairs(targets)
    rank = target_ranks(scores, pairs(seen), pairs(targets), tie_rank, name)
    ours = user_metrics(rank, rows, len(scores), ks)
    # ranx leaves ties open, so it is given the places of a full sort; a list may be empty, ranx needs one entry.
    lists = sorted_lists(scores, seen, tie_rank)
    run = {
        f"u{row}": {"nothing": -1e9} | {f"i{column}": -float(place) for place, column in enumerate(columns)}
        for row, columns in enumerate(lists)
    }
    truth = {f"u{row}": {f"i{column}": 1 for column in np.flatnonzero(mask)} for row, mask in enumerate(targets)}
    theirs = ranx.evaluate(ranx.Qrels(truth), ranx.Run(run), metric_names(ks), return_mean=False)
    # ranx orders users by name.
    by_name = sorted(range(len(scores)), key=lambda row: f"u{row}")
    for metric in metric_names(ks):
        np.testing.assert_allclose(ours[metric][by_name], theirs[metric], atol=1e-6, err_msg=metric)
