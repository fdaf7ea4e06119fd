"""Which users, candidates and targets are evaluated, in blocks, and what is kept of it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from reclm_hf.data.splits import Split
from reclm_hf.evaluation import UNRANKED, MeanUser, evaluate, mean_user, scoring
from reclm_hf.recommender.catalog import Catalog, CatalogRecommender, tie_order
from tests.evaluation.planted import FixedScores, make_split, random_scores, random_split


@pytest.fixture
def split() -> Split:
    return random_split()


class Served(FixedScores, CatalogRecommender):
    """The same scores behind `recommend()`."""

    def __init__(self, scores: np.ndarray, split: Split) -> None:
        super().__init__(scores)
        self.catalog = Catalog.from_split(None, split)


def test_a_small_case_by_hand() -> None:
    # Items 0-2 are warm, 3 and 4 cold, 5 is known to nobody and no candidate.
    split = make_split(history=[(0, 0), (1, 1), (2, 2)], targets=[(0, 1), (0, 3), (1, 4)], n_users=3, n_items=6)
    scores = np.array([[9, 3, 5, 4, 1, 8], [1, 9, 2, 3, 0, 8], [0, 0, 0, 0, 0, 0]])
    result = evaluate(FixedScores(scores), split, ks=(1, 2))
    catalogue = result["catalogue"]
    assert catalogue.n_candidates == 5
    assert catalogue.users.tolist() == [0, 1]
    assert (catalogue.target_item.tolist(), catalogue.rank.tolist()) == ([1, 3, 4], [2, 1, 3])
    assert catalogue.metrics["recall@2"].tolist() == [0.5, 0]
    warm, cold = result["catalogue_warm"], result["catalogue_cold"]
    assert (warm.target_item.tolist(), warm.rank.tolist(), warm.n_candidates) == ([1], [2], 5)
    assert (cold.users.tolist(), cold.rank.tolist()) == ([0, 1], [1, 3])
    assert cold.metrics["recall@2"].tolist() == [1, 0]
    zero_shot = result["zero_shot"]
    assert (zero_shot.n_candidates, zero_shot.rank.tolist()) == (2, [0, 1])
    assert zero_shot.mean("recall@1") == 0.5


def test_only_users_with_targets_are_scored_in_blocks(split: Split) -> None:
    model = FixedScores(random_scores(split))
    evaluate(model, split, settings=("catalogue",), block_size=7)
    assert max(map(len, model.asked)) == 7
    assert np.concatenate(model.asked).tolist() == np.unique(split.target_user).tolist()
    assert len(np.unique(split.target_user)) < split.n_users


def test_blocks_do_not_change_anything(split: Split) -> None:
    scores = np.round(random_scores(split))
    whole, parts = (evaluate(FixedScores(scores), split, block_size=size) for size in (10_000, 7))
    for setting, result in whole.settings.items():
        np.testing.assert_array_equal(result.rank, parts[setting].rank)
        for metric, values in result.metrics.items():
            np.testing.assert_array_equal(values, parts[setting].metrics[metric])


def test_a_large_catalogue_gets_smaller_blocks(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_BLOCK_CELLS", 3 * len(split.candidates("catalogue")))
    model = FixedScores(random_scores(split))
    evaluate(model, split, settings=("catalogue",))
    assert max(map(len, model.asked)) == 3


def test_warm_and_cold_apart_recombine_to_the_catalogue(split: Split) -> None:
    result = evaluate(FixedScores(random_scores(split)), split, ks=(5, 20))
    whole = result["catalogue"]
    hits = np.zeros(split.n_users)
    counts = np.zeros(split.n_users)
    for part in (result["catalogue_warm"], result["catalogue_cold"]):
        assert part.n_candidates == whole.n_candidates
        counts[part.users] += np.bincount(part.group)
        hits[part.users] += part.metrics["recall@20"] * np.bincount(part.group)
    assert counts[whole.users].tolist() == np.bincount(whole.group).tolist()
    np.testing.assert_allclose(hits[whole.users] / counts[whole.users], whole.metrics["recall@20"])
    assert not split.warm[result["catalogue_cold"].target_item].any()
    assert split.warm[result["catalogue_warm"].target_item].all()


def test_ties_are_broken_by_the_permutation_not_by_id(split: Split) -> None:
    model = FixedScores(np.zeros((split.n_users, split.n_items)))
    result = evaluate(model, split, settings=("zero_shot",), seed=3)["zero_shot"]
    cold = split.candidates("zero_shot")
    place = np.argsort(np.argsort(tie_order(split.n_items, 3)[cold]))
    assert result.rank.tolist() == place[np.searchsorted(cold, result.target_item)].tolist()
    by_id = np.searchsorted(cold, result.target_item)
    assert result.rank.tolist() != by_id.tolist()
    other = evaluate(model, split, settings=("zero_shot",), seed=4)["zero_shot"]
    assert result.rank.tolist() != other.rank.tolist()


@pytest.mark.parametrize("kind", ["random", "ties", "minus infinity"])
def test_metrics_are_those_of_the_recommended_lists(split: Split, kind: str) -> None:
    scores = random_scores(split)
    if kind == "ties":
        scores = np.round(scores)
    if kind == "minus infinity":
        scores[:, ::2] = -np.inf
    model = Served(scores, split)
    result = evaluate(model, split, ks=(10,))["catalogue"]
    candidates = [split.item_ids[item] for item in split.candidates("catalogue")]
    lists = model.recommend([split.user_ids[user] for user in result.users], 10, candidates=candidates).item_ids
    for place, (user, recommended) in enumerate(zip(result.users, lists, strict=True)):
        wanted = {split.item_ids[item] for item in split.target_item[split.target_user == user]}
        assert result.metrics["recall@10"][place] == pytest.approx(len(wanted & set(recommended)) / len(wanted))


def test_test_items_are_the_only_candidates_when_asked() -> None:
    split = make_split([(0, 0), (1, 1), (1, 2)], [(0, 1), (1, 3)], n_users=2, n_items=4)
    result = evaluate(FixedScores(np.tile([4.0, 3.0, 9.0, 1.0], (2, 1))), split, settings=("test_items",))
    assert list(result.settings) == ["test_items"]
    assert result["test_items"].n_candidates == 2
    # Item 2 is no test item, item 1 is known to user 1.
    assert result["test_items"].rank.tolist() == [0, 0]
    with pytest.raises(KeyError, match=r"was not evaluated.*test_items"):
        _ = result["catalogue"]


def test_without_cold_items_a_setting_is_empty_and_says_why() -> None:
    split = make_split([(0, 0), (1, 1)], [(0, 1)], n_users=2, n_items=2)
    result = evaluate(FixedScores(np.zeros((2, 2))), split)
    assert result["zero_shot"].reason == "no cold items: every target of the test split has history"
    assert result["catalogue_cold"].reason == "no target is a cold item"
    for setting in ("zero_shot", "catalogue_cold"):
        assert len(result[setting].users) == len(result[setting].rank) == 0
        assert np.isnan(result[setting].mean("recall@20"))
    assert result["catalogue"].reason == result["catalogue_warm"].reason == ""
    assert len(result.to_frame()) == 2
    split = make_split([(0, 0)], [], n_users=1, n_items=1)
    assert evaluate(FixedScores(np.zeros((1, 1))), split)["catalogue"].reason == "the test split has no targets"


def test_scores_that_cannot_be_ranked_name_the_model(split: Split) -> None:
    scores = random_scores(split)
    scores[split.target_user[0], 0] = np.nan
    with pytest.raises(ValueError, match="half-trained: the scores contain NaN"):
        evaluate(FixedScores(scores, "half-trained"), split)


def test_scores_of_another_shape_name_the_model(split: Split) -> None:
    class Transposed(FixedScores):
        def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
            return super().score(users, items).T

    with pytest.raises(ValueError, match=r"turned\.score gave shape"):
        evaluate(Transposed(random_scores(split), "turned"), split)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"ks": ()}, "cut-offs"), ({"block_size": 0}, "block_size"), ({"settings": ("everything",)}, "Unknown setting")],
)
def test_bad_arguments(split: Split, arguments: dict[str, tuple[()]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(FixedScores(random_scores(split)), split, **arguments)


def test_a_model_that_cannot_score_cold_items_gets_no_hit_among_them(split: Split) -> None:
    scores = random_scores(split)
    scores[:, split.cold] = -np.inf
    result = evaluate(FixedScores(scores), split)
    assert set(result["zero_shot"].rank.tolist()) == {UNRANKED}
    assert result["zero_shot"].mean("recall@40") == 0
    assert result["zero_shot"].mean("mrr") == 0
    assert result["catalogue_warm"].mean("recall@40") > 0


class Factors:
    """A model with user vectors, and with the scores of their mean."""

    name = "factors"

    def __init__(self, split: Split) -> None:
        rng = np.random.default_rng(0)
        self.users = rng.standard_normal((split.n_users, 4), dtype=np.float32)
        self.items = rng.standard_normal((split.n_items, 4), dtype=np.float32)

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        return self.users[users] @ self.items[items].T

    def mean_user_scores(self, items: np.ndarray) -> np.ndarray:
        return self.items[items] @ self.users.mean(axis=0)


def test_the_mean_user_is_the_model_with_one_vector_for_all(split: Split) -> None:
    model = Factors(split)
    row = mean_user(model, split)
    assert row is not None
    assert row.name == "factors (mean user)"
    replaced = Factors(split)
    replaced.users[:] = model.users.mean(axis=0)
    got, expected = evaluate(row, split), evaluate(replaced, split)
    for setting in got.settings:
        np.testing.assert_array_equal(got[setting].rank, expected[setting].rank)
    assert got["catalogue"].rank.tolist() != evaluate(model, split)["catalogue"].rank.tolist()


def test_models_without_mean_user_scores_do_not_offer_the_row(split: Split) -> None:
    model = FixedScores(random_scores(split))
    assert mean_user(model, split) is None
    with pytest.raises(ValueError, match="fixed has no mean_user_scores"):
        MeanUser(model, split)


def test_mean_user_scores_of_another_shape(split: Split) -> None:
    model = Factors(split)
    model.mean_user_scores = lambda items: np.zeros(3)  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="one score an item"):
        MeanUser(model, split)


def test_frames_hold_every_user_and_every_target_by_id(split: Split) -> None:
    result = evaluate(FixedScores(random_scores(split)), split, ks=(20,))
    users = result.to_frame()
    assert list(users.columns) == ["setting", "user_id", "n_targets", "recall@20", "ndcg@20", "hit_rate@20", "mrr"]
    catalogue = users[users["setting"] == "catalogue"]
    assert catalogue["n_targets"].sum() == len(split.target_user)
    assert catalogue["recall@20"].mean() == pytest.approx(result.summary()["catalogue"]["recall@20"])
    assert catalogue["user_id"].iloc[0] == split.user_ids[result["catalogue"].users[0]]
    ranks = result.ranks_frame()
    assert (ranks["setting"] == "catalogue").sum() == len(split.target_user)
    zero_shot = ranks[ranks["setting"] == "zero_shot"]
    assert set(zero_shot["item_id"]) == set(split.item_ids[split.cold])
    assert zero_shot["rank"].tolist() == result["zero_shot"].rank.tolist()


def test_importing_the_evaluation_loads_numpy_only(child_environment: dict[str, str]) -> None:
    program = (
        "import sys; import reclm_hf.evaluation; "
        "print(*{'torch', 'pandas', 'pyarrow', 'scipy', 'transformers', 'datasets'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=child_environment, check=True, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == []
