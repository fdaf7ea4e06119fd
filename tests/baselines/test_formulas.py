"""Each floor against its formula, worked out by hand or with dense matrices."""

from __future__ import annotations

import numpy as np
import pytest

from reclm_hf.baselines import FLOORS
from reclm_hf.baselines.ease import item_weights
from reclm_hf.baselines.item_knn import nearest_items
from reclm_hf.data.splits import Split
from tests.checkerboard import checkerboard

DAY = 86_400_000_000


def split_of(pairs: list[tuple[int, int]], days_before_cut: list[float] | None = None, n_items: int = 5) -> Split:
    """A split with the given (user, item) history and one target of a user 0 that nobody uses."""
    user, item = (np.array(column, dtype=np.int32) for column in zip(*pairs, strict=True))
    cut = 1000 * DAY
    times = None if days_before_cut is None else cut - (np.array(days_before_cut) * DAY).astype(np.int64)
    warm = np.zeros(n_items, dtype=bool)
    warm[item] = True
    return Split(
        name="test",
        cut=cut,
        user_ids=np.array([f"u{row}" for row in range(user.max() + 1)], dtype=object),
        item_ids=np.array([f"i{row}" for row in range(n_items)], dtype=object),
        history_user=user,
        history_item=item,
        history_time=times,
        target_user=np.array([0], dtype=np.int32),
        target_item=np.array([n_items - 1], dtype=np.int32),
        warm=warm,
        cold=~warm,
        users_without_history=0,
    )


def test_popularity_by_hand() -> None:
    split = split_of([(0, 0), (1, 0), (0, 1), (2, 2)], [14, 7, 3.5, 1e4])
    items = np.arange(5)
    plain = FLOORS["popularity"]().fit(split).score(np.array([0]), items)[0]
    assert plain.tolist() == [2, 1, 1, -1, -1]
    decayed = FLOORS["popularity_decayed"](half_life_days=7).fit(split).score(np.array([0, 1]), items)
    np.testing.assert_allclose(decayed[0, :2], [0.25 + 0.5, 0.5**0.5], rtol=1e-6)
    # The third item is so old that its weight vanishes; it stays above items that nobody has touched.
    assert decayed[0, 2] == 0 > decayed[0, 3] == decayed[0, 4] == -1
    np.testing.assert_array_equal(decayed[0], decayed[1])


@pytest.mark.parametrize("name", ["popularity_decayed", "text_popularity"])
def test_a_half_life_must_be_positive(name: str) -> None:
    split = split_of([(0, 0), (1, 1)], [14, 7])
    with pytest.raises(ValueError, match="half_life"):
        FLOORS[name](half_life_days=0).fit(split, np.eye(5, dtype=np.float32))


def test_item_knn_is_cosine_with_shrinkage() -> None:
    splits, _ = checkerboard()
    split = splits.validation
    history = split.history_matrix().toarray().astype(np.float64)
    common = history.T @ history
    norms = np.sqrt(np.diag(common))
    similarity = common / (np.outer(norms, norms) + 7.0)
    np.fill_diagonal(similarity, 0)
    for row in similarity:
        # The tenth largest and above; a stable sort keeps the earlier of equal items.
        row[np.argsort(-row.astype(np.float32), kind="stable")[10:]] = 0
    found = nearest_items(split.history_matrix(), k=10, shrink=7.0)
    np.testing.assert_allclose(found.toarray(), similarity, rtol=1e-5, atol=1e-7)
    assert (np.diff(found.indptr) <= 10).all()
    warm = np.flatnonzero(split.warm)
    scores = FLOORS["item_knn"](k=10, shrink=7.0).fit(split).score(np.arange(split.n_users), warm)
    np.testing.assert_allclose(scores, (history @ similarity.T)[:, warm], rtol=1e-5, atol=1e-6)


def test_item_knn_by_hand() -> None:
    # Items 0 and 1 share users 0 and 1; items 1 and 2 share user 1.
    split = split_of([(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 2)])
    all_items = np.arange(5)
    scores = FLOORS["item_knn"](k=5, shrink=0).fit(split).score(np.array([2]), all_items)[0]
    np.testing.assert_allclose(scores, [0.5, 0.5, 0, -1, -1], rtol=1e-6)
    nearest = FLOORS["item_knn"](k=1, shrink=0).fit(split).score(np.array([2]), all_items)[0]
    assert nearest.tolist() == [0, 0, 0, -1, -1]
    with pytest.raises(ValueError, match="k=0"):
        FLOORS["item_knn"](k=0).fit(split)


@pytest.mark.parametrize("ridge", [1.0, 50.0])
def test_ease_solves_the_constrained_regression(ridge: float) -> None:
    """B minimises |X - XB|^2 + ridge |B|^2 with a zero diagonal: column by column, a regression on the other items."""
    splits, _ = checkerboard()
    history = splits.test.history_matrix().toarray().astype(np.float64)[:, splits.test.warm]
    weights = item_weights(history.T @ history, ridge)
    assert (np.diag(weights) == 0).all()
    for item in (0, 7, 45):
        others = np.arange(history.shape[1]) != item
        x = history[:, others]
        expected = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ history[:, item])
        np.testing.assert_allclose(weights[others, item], expected, rtol=1e-3, atol=2e-5)


def test_ease_scores_are_history_times_weights() -> None:
    splits, _ = checkerboard()
    split = splits.test
    history = split.history_matrix().toarray()
    weights = item_weights(history[:, split.warm].T @ history[:, split.warm], 20.0)
    users = np.arange(split.n_users)
    scores = FLOORS["ease"](ridge=20.0).fit(split).score(users, np.flatnonzero(split.warm))
    np.testing.assert_allclose(scores, history[:, split.warm] @ weights, rtol=1e-4, atol=1e-5)


def test_ease_leaves_out_rare_items() -> None:
    pairs = [(user, item) for user in range(4) for item in (0, 1)] + [(0, 2)]
    floor = FLOORS["ease"](ridge=1.0, min_count=3).fit(split_of(pairs))
    assert floor.state["weights"].shape == (2, 2)
    scores = floor.score(np.array([0]), np.arange(5))[0]
    assert scores[2] == 0 > scores[3] == scores[4]
    assert scores[:2].min() > 0
    # A history in which no item is frequent enough still gives a model.
    rare = FLOORS["ease"](ridge=1.0, min_count=30).fit(split_of(pairs))
    assert rare.state["weights"].shape == (2, 2)
    with pytest.raises(ValueError, match="ridge=0"):
        FLOORS["ease"](ridge=0).fit(split_of(pairs))


def test_text_cosine_by_hand() -> None:
    split = split_of([(0, 0), (0, 1), (1, 2)])
    vectors = np.array([[1, 0], [0, 1], [-1, 0], [1, 1], [0, -3]], dtype=np.float32)
    scores = FLOORS["text_cosine"](centered=False).fit(split, vectors).score(np.arange(2), np.arange(5))
    half = 0.5**0.5
    np.testing.assert_allclose(scores, [[half, half, -half, 1, -half], [-1, 0, 1, -half, 0]], atol=1e-6)
    # Centred: the mean of the three warm items, (0, 1/3), is taken off first.
    centred = FLOORS["text_cosine"](centered=True).fit(split, vectors).score(np.array([1]), np.array([4]))
    np.testing.assert_allclose(centred, [[(1 / 3) / np.hypot(1, 1 / 3)]], atol=1e-6)


def test_mix_is_the_sum_of_standardised_floors() -> None:
    splits, vectors = checkerboard()
    split = splits.test
    users, items = np.arange(split.n_users), np.arange(split.n_items)
    parts = {"ease": {"ridge": 50.0}, "popularity_decayed": {"half_life_days": 3}, "text_popularity": {"ridge": 10.0}}
    mix = FLOORS["mix"](
        collaborative="ease",
        parts=parts,
        collaborative_weight=0.4,
        cosine_weight=0.2,
        text_popularity_weight=3.0,
        cold_offset=1.5,
        cold_scale=0.5,
    ).fit(split, vectors)

    def z(name: str, transform: np.ufunc | None = None) -> np.ndarray:
        scores = FLOORS[name](**parts.get(name, {})).fit(split, vectors).score(users, items).astype(np.float64)
        scores = scores if transform is None else transform(np.maximum(scores, 0))
        warm = scores[:, split.warm]
        return (scores - warm.mean(axis=1, keepdims=True)) / warm.std(axis=1, keepdims=True)

    warm = z("popularity_decayed", np.log1p) + 0.4 * z("ease") + 0.2 * z("text_cosine")
    cold = 1.5 + 0.5 * (z("text_cosine") + 3.0 * z("text_popularity")) / 4.0
    expected = np.where(split.warm, warm, cold)
    np.testing.assert_allclose(mix.score(users, items), expected, rtol=1e-4, atol=1e-4)


def test_mix_of_flat_floors_is_finite() -> None:
    """One user, one item each: every standard deviation is zero."""
    split = split_of([(0, 0), (1, 1)])
    mix = FLOORS["mix"](collaborative_weight=1.0).fit(split, np.eye(5, dtype=np.float32))
    assert np.isfinite(mix.score(np.arange(2), np.arange(5))).all()


def test_mix_rejects_parts_that_it_does_not_have() -> None:
    with pytest.raises(ValueError, match=r"ease.*item_knn"):
        FLOORS["mix"](parts={"ease": {}})
    with pytest.raises(ValueError, match="collaborative='random'"):
        FLOORS["mix"](collaborative="random")
    mix = FLOORS["mix"]().fit(split_of([(0, 0), (0, 1), (1, 1)]), np.eye(5, dtype=np.float32))
    with pytest.raises(ValueError, match="parts"):
        mix.with_score_params(parts={})


def test_other_score_params_leave_the_fitted_floor_as_it_was() -> None:
    splits, vectors = checkerboard()
    users, items = np.arange(5), np.arange(50)
    mix = FLOORS["mix"]().fit(splits.test, vectors)
    before = mix.score(users, items)
    other = mix.with_score_params(cold_offset=2.0)
    np.testing.assert_array_equal(mix.score(users, items), before)
    np.testing.assert_allclose(other.score(users, items)[:, 46:], before[:, 46:] + 12.0, rtol=1e-5)
