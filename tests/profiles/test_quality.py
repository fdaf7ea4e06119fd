from __future__ import annotations

import hashlib
import warnings
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from reclm_hf.profiles.neighbors import top_neighbors
from reclm_hf.profiles.quality import (
    Personalisation,
    distinct_share,
    history_vectors,
    mean_interval,
    over_smoothing,
    personalisation,
    quality_lines,
    quality_report,
    well_formed_share,
)
from tests.checkerboard import checkerboard

WELL = "User identity: night owl, tea drinker, jazz fan; User interests: long walks, old maps, rare stamps"


def vectors(n: int, dim: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dim))


def test_profiles_that_are_the_history_are_always_found() -> None:
    own = vectors(300)
    found = personalisation(own, own)
    assert (found.mrr, found.hit_at_1, found.candidates) == (1.0, 1.0, 100)
    shifted = personalisation(own + 5.0, own - 3.0)
    assert shifted.mrr == 1.0, "what all texts of a kind have in common is taken out"


def test_random_profiles_are_found_by_chance() -> None:
    found = personalisation(vectors(1500, seed=1), vectors(1500))
    assert found.chance == pytest.approx(0.05187, abs=1e-5)
    assert found.mrr == pytest.approx(found.chance, abs=0.011)
    low, high = found.interval()
    assert low < found.chance < high
    assert found.hit_at_1 == pytest.approx(0.01, abs=0.008)


@pytest.mark.parametrize("empty", [np.zeros((60, 8)), np.ones((60, 8))], ids=["zero", "constant"])
def test_profiles_that_say_nothing_get_chance_exactly(empty: np.ndarray) -> None:
    found = personalisation(empty, vectors(60, 8))
    assert found.candidates == 60
    np.testing.assert_allclose(found.reciprocal_rank, found.chance)
    np.testing.assert_allclose(found.hit, 1 / 60)


def test_one_zero_profile_among_others_gets_chance() -> None:
    own = vectors(200)
    profiles = own.copy()
    profiles[7] = 0.0
    found = personalisation(profiles, own)
    assert found.reciprocal_rank[7] == pytest.approx(found.chance)
    assert np.delete(found.reciprocal_rank, 7).min() == 1.0


def test_ranks_are_those_of_a_count_by_hand() -> None:
    histories = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])  # already centred
    profiles = np.array([[1.0, 0.2], [1.0, -0.2], [-1.0, 0.2], [-1.0, -0.2]])
    # Cosines of user 1 with the four histories: 1, -.2, -1, .2: rank 3. User 3: -1, -.2, 1, .2: rank 2.
    found = personalisation(profiles, histories)
    np.testing.assert_allclose(found.reciprocal_rank, [1, 1 / 3, 1, 1 / 2])
    np.testing.assert_allclose(found.hit, [1, 0, 1, 0])


def test_two_equal_histories_share_their_ranks() -> None:
    own = vectors(50)
    own[1] = own[0]
    found = personalisation(own, own)
    assert found.reciprocal_rank[:2] == pytest.approx([0.75, 0.75])
    assert found.hit[:2] == pytest.approx([0.5, 0.5])


def test_a_users_candidates_do_not_depend_on_the_order_of_rows() -> None:
    histories, profiles = vectors(400), vectors(400, seed=2) + vectors(400)
    straight = personalisation(profiles, histories, seed=3)
    order = np.random.default_rng(0).permutation(400)
    mixed = personalisation(profiles[order], histories, seed=3, rows=order)
    np.testing.assert_allclose(mixed.reciprocal_rank, straight.reciprocal_rank[order])
    other = personalisation(profiles, histories, seed=4)
    assert (other.reciprocal_rank != straight.reciprocal_rank).any()


def test_others_are_drawn_from_the_rows_given() -> None:
    histories = vectors(200)
    rows = np.arange(10)
    histories[100:] = histories[rows[0]]  # indistinguishable from the first user's
    near = personalisation(histories[rows], histories, rows=rows, others=np.arange(100))
    assert near.mrr == 1.0
    among = personalisation(histories[rows], histories, rows=rows, others=np.arange(100, 200), candidates=50)
    assert among.candidates == 50
    assert among.reciprocal_rank[0] == pytest.approx((1 / np.arange(1, 51)).mean())


def test_users_without_history_are_nobodys_candidates() -> None:
    histories = vectors(30)
    histories[20:] = 0.0
    assert personalisation(histories[:20], histories, rows=np.arange(20)).candidates == 20
    with pytest.raises(ValueError, match="without history"):
        personalisation(histories, histories)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="width 8"):
        personalisation(vectors(5, 8), vectors(5, 9))
    with pytest.raises(ValueError, match="finite"):
        personalisation(np.full((3, 2), np.nan), vectors(3, 2))
    with pytest.raises(ValueError, match="two users"):
        personalisation(vectors(1), vectors(1))


def test_interval_of_a_mean_is_the_textbook_one() -> None:
    values = np.random.default_rng(5).normal(2.0, 3.0, 500)
    low, high = mean_interval(values)
    error = values.std(ddof=1) / np.sqrt(500)
    assert (low, high) == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.03)
    assert mean_interval(values) == (low, high)
    assert np.isnan(mean_interval(np.array([1.0]))).all()


def test_history_vectors_are_mean_directions() -> None:
    splits, items = checkerboard()
    found = history_vectors(splits.validation, items * 7.0)
    assert found.dtype == np.float32
    assert found.shape == (splits.validation.n_users, items.shape[1])
    rows = splits.validation.history_item[splits.validation.history_user == 4]
    mean = items[rows].mean(axis=0)
    np.testing.assert_allclose(found[4], mean / np.linalg.norm(mean), atol=1e-6)


def test_over_smoothing_is_seen() -> None:
    groups = np.repeat(np.arange(40), 5)
    neighbors = np.array([np.setdiff1d(np.flatnonzero(groups == group), [user]) for user, group in enumerate(groups)])
    same = over_smoothing(vectors(40)[groups], neighbors)
    assert same.excess == pytest.approx(1.0, abs=0.1)
    assert same.neighbors == pytest.approx(1.0)
    assert over_smoothing(vectors(200), neighbors).excess == pytest.approx(0.0, abs=0.03)
    assert np.isnan(over_smoothing(vectors(200), np.full((200, 2), -1)).excess)


def test_shares_of_texts() -> None:
    assert well_formed_share([WELL, "hello", "", WELL]) == 0.5
    assert distinct_share([WELL, "hello", "", WELL]) == 0.75
    assert np.isnan(distinct_share([]))


class Encoder:
    """Every text a direction of its own; the texts of `known` a given one."""

    dimension = 16

    def __init__(self, known: dict[str, np.ndarray] | None = None) -> None:
        self.known = known or {}

    def encode(self, texts: list[str]) -> np.ndarray:
        assert all(text.strip() for text in texts)
        return np.stack([self.known[text] if text in self.known else self._own(text) for text in texts])

    def _own(self, text: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        vector = np.random.default_rng(seed).standard_normal(16)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


@pytest.fixture(scope="module")
def board() -> tuple:
    splits, items = checkerboard(noise=1.0)
    split = splits.validation
    rows = top_neighbors(history_vectors(split, items), 2)
    near = [[str(split.user_ids[other]) for other in others] for others in rows]
    table = pd.DataFrame(
        {
            "user_id": split.user_ids.astype(object),
            "profile": [f"about {user}" for user in split.user_ids],
            "neighbors": near,
        }
    )
    return split, items, table


def test_report_of_perfect_profiles(board: tuple) -> None:
    split, items, table = board
    histories = history_vectors(split, items)
    encoder = Encoder({f"about {user}": histories[row] for row, user in enumerate(split.user_ids)})
    report = quality_report(table, split, items, encoder)
    # Some users have the very same items before the cut: nothing could tell them apart.
    same = Counter(row.tobytes() for row in split.history_matrix().toarray())
    expected = [(1 / np.arange(1, same[row.tobytes()] + 1)).mean() for row in split.history_matrix().toarray()]
    assert report["mrr"] == pytest.approx(np.mean(expected))
    assert report["candidates"] == 50
    assert (report["well_formed"], report["distinct"]) == (0.0, 1.0)
    assert report["chance"] < report["mrr_of_neighbor_histories"] < 1
    assert report["mrr_of_neighbor_profiles"] == pytest.approx(report["mrr_of_neighbor_histories"])
    ratio = report["ratio_to_neighbor_histories"]
    assert ratio["ratio"] == pytest.approx(report["mrr"] / report["mrr_of_neighbor_histories"])
    assert 1 < ratio["low"] < ratio["ratio"] < ratio["high"]
    assert report["over_smoothing"] == pytest.approx(report["over_smoothing_of_histories"])
    assert f"MRR {report['mrr']:.3f}" in " ".join(quality_lines(report))


def test_report_of_profiles_taken_from_the_neighbors(board: tuple) -> None:
    split, items, table = board
    histories = history_vectors(split, items)
    place = {user: row for row, user in enumerate(split.user_ids)}
    smoothed = {
        f"about {user}": histories[[place[other] for other in near]].mean(axis=0)
        for user, near in zip(table["user_id"], table["neighbors"], strict=True)
    }
    report = quality_report(table, split, items, Encoder(smoothed))
    assert report["mrr"] == pytest.approx(report["mrr_of_neighbor_histories"])
    assert report["ratio_to_neighbor_histories"]["ratio"] == pytest.approx(1.0)
    assert report["over_smoothing"] > report["over_smoothing_of_histories"] + 0.01


def test_report_counts_broken_profiles_and_partial_tables(board: tuple) -> None:
    split, items, table = board
    some = table.iloc[:20].copy()
    some.loc[3, "profile"] = ""
    some.loc[4, "profile"] = WELL
    report = quality_report(some, split, items, Encoder())
    assert (report["profiles"], report["users_compared"], report["candidates"]) == (20, 20, 20)
    assert report["well_formed"] == 0.05
    some.loc[5, "user_id"] = "stranger"
    with pytest.raises(KeyError, match="stranger"):
        quality_report(some, split, items, Encoder())


def test_one_user_alone_is_compared_with_nobody(board: tuple) -> None:
    split, items, table = board
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = quality_report(table.iloc[:1], split, items, Encoder())
    assert (report["distinct"], report["users_compared"]) == (1.0, 1)
    figures = [report["mrr"], *report["mrr_interval"], report["ratio_to_neighbor_profiles"]["low"]]
    assert np.isnan([*figures, report["over_smoothing"]]).all()
    assert quality_lines(report) == ["0.0% well-formed, 100.0% distinct; too few users to compare"]


def test_chance_of_few_candidates() -> None:
    assert Personalisation(np.ones(1), np.ones(1), 2).chance == 0.75
