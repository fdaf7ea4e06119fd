"""What every floor must do, on data with known answers."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from reclm_hf.baselines import FLOORS
from reclm_hf.baselines.base import Floor
from reclm_hf.data.splits import Splits
from tests.checkerboard import N_ITEMS, N_USERS, answers, checkerboard

USERS = np.arange(N_USERS)
ITEMS = np.arange(N_ITEMS)
NAMES = list(FLOORS)
ON_IDS = ["popularity", "popularity_decayed", "item_knn", "ease"]
TRAINED = ["dropoutnet_style", "clcrec_style"]
ON_TEXT = ["text_cosine", "text_popularity", "mix", *TRAINED]
PERSONAL = ["item_knn", "ease", "text_cosine", "mix", *TRAINED]
PARAMS: dict[str, dict[str, object]] = {
    "item_knn": {"k": 10, "shrink": 5},
    "mix": {"collaborative_weight": 3.0, "cosine_weight": 1.0, "text_popularity_weight": 0.1, "cold_offset": -10.0},
}


@cache
def data() -> tuple[Splits, np.ndarray]:
    return checkerboard()


@cache
def fitted(name: str) -> Floor:
    splits, vectors = data()
    return FLOORS[name](**PARAMS.get(name, {})).fit(splits.test, vectors, splits.data)


def unseen_order(floor: Floor, items: np.ndarray) -> list[np.ndarray]:
    """For each user, the unseen ones of `items`, best first."""
    scores = floor.score(USERS, items)
    return [
        np.array([item for item in items[np.argsort(-row, kind="stable")] if item not in floor.catalog.seen(user)])
        for user, row in enumerate(scores)
    ]


def test_the_registry_knows_every_floor_and_imports_it_late(child_environment: dict[str, str]) -> None:
    for name, floor in FLOORS.items():
        assert floor.name == name
    with pytest.raises(KeyError, match=r"'itemknn'.*item_knn"):
        FLOORS["itemknn"]
    code = "import sys, reclm_hf.baselines as b; print(list(b.FLOORS)); print({'torch', 'scipy'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=child_environment)
    assert found.stdout.splitlines() == [str(NAMES), "set()"]


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_finite_and_do_not_depend_on_what_is_scored_together(name: str) -> None:
    floor = fitted(name)
    scores = floor.score(USERS, ITEMS)
    assert scores.dtype == np.float32
    assert scores.shape == (N_USERS, N_ITEMS)
    assert np.isfinite(scores).all()
    users, items = np.array([7, 3, 7]), np.array([49, 0, 21, 46])
    np.testing.assert_allclose(floor.score(users, items), scores[np.ix_(users, items)], rtol=1e-5, atol=1e-5)
    assert floor.score(users, items[:0]).shape == (3, 0)


@pytest.mark.parametrize("name", NAMES)
def test_loaded_floor_scores_equally(name: str, tmp_path: Path) -> None:
    floor = fitted(name)
    floor.save(tmp_path)
    for loaded in (Floor.load(tmp_path), FLOORS[name].load(tmp_path)):
        assert type(loaded) is type(floor)
        assert loaded.params == floor.params
        np.testing.assert_allclose(loaded.score(USERS, ITEMS), floor.score(USERS, ITEMS), rtol=0, atol=1e-6)
        assert loaded.recommend(["user-07"]) == floor.recommend(["user-07"])


@pytest.mark.parametrize("name", NAMES)
def test_recommend_returns_unseen_items_under_their_own_ids(name: str) -> None:
    floor = fitted(name)
    found = floor.recommend(floor.catalog.user_ids, k=N_ITEMS)
    for user, (ids, titles, scores) in enumerate(zip(found.item_ids, found.titles, found.scores, strict=True)):
        seen = {f"{item:03d}" for item in floor.catalog.seen(user)}
        new = {"046", "047", "048", "049"}
        assert set(ids) == set(floor.catalog.item_ids) - seen - (set() if floor.recommends_cold else new)
        assert titles == [f"Title {item}" for item in ids]
        assert scores == sorted(scores, reverse=True)
    assert "007" in found.item_ids[0]


@pytest.mark.parametrize("name", NAMES)
def test_fit_is_reproducible_and_reads_no_targets(name: str) -> None:
    splits, vectors = data()
    split = dataclasses.replace(splits.test, target_item=splits.test.target_item[::-1].copy())
    again = FLOORS[name](**PARAMS.get(name, {})).fit(split, vectors)
    np.testing.assert_array_equal(again.score(USERS, ITEMS), fitted(name).score(USERS, ITEMS))


@pytest.mark.parametrize("name", PERSONAL)
def test_the_warm_answer_is_near_the_top(name: str) -> None:
    """A user has two unseen warm items of the own parity: the answer, and the other item that was new in validation."""
    for user, order in enumerate(unseen_order(fitted(name), np.flatnonzero(data()[0].test.warm))):
        assert answers(user, "test")[0] in order[:2]


@pytest.mark.parametrize("name", ["text_cosine", "mix", *TRAINED])
def test_texts_rank_the_cold_items_of_the_own_parity_first(name: str) -> None:
    for user, order in enumerate(unseen_order(fitted(name), np.arange(46, 50))):
        assert (order[:2] % 2 == user % 2).all()
        assert (order[2:] % 2 != user % 2).all()


@pytest.mark.parametrize("name", ON_IDS)
def test_floors_on_ids_put_cold_items_last_in_a_tie(name: str) -> None:
    scores = fitted(name).score(USERS, ITEMS)
    warm = data()[0].test.warm
    assert (scores[:, ~warm].max(axis=1) < scores[:, warm].min(axis=1)).all()
    assert (scores[:, ~warm] == scores[:, ~warm][:, :1]).all()


@pytest.mark.parametrize("name", ON_TEXT)
def test_floors_on_text_tell_cold_items_apart(name: str) -> None:
    assert len(np.unique(fitted(name).score(USERS[:1], np.arange(46, 50)))) == 4
    with pytest.raises(ValueError, match="text vectors"):
        FLOORS[name]().fit(data()[0].test)
    with pytest.raises(ValueError, match=r"\[50, d\]"):
        FLOORS[name]().fit(data()[0].test, np.zeros((49, 3), dtype=np.float32))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PERSONAL])
def test_unpersonal_floors_give_one_list(name: str) -> None:
    scores = fitted(name).score(USERS, ITEMS)
    assert (scores == scores[0]).all()


def test_popular_texts_are_guessed_popular() -> None:
    """With the even items three times as popular, an unknown even item is expected above an unknown odd one."""
    splits, vectors = data()
    split = splits.test
    kept = (split.history_item % 2 == 0) | (split.history_user % 3 == 0)
    skewed = dataclasses.replace(
        split,
        history_user=split.history_user[kept],
        history_item=split.history_item[kept],
        history_time=split.history_time[kept],
    )
    scores = FLOORS["text_popularity"](ridge=1.0).fit(skewed, vectors).score(USERS[:1], np.arange(46, 50))[0]
    assert min(scores[0], scores[2]) > max(scores[1], scores[3])


def test_random_order_follows_its_seed() -> None:
    splits, _ = data()
    orders = [FLOORS["random"](seed=seed).fit(splits.test).score(USERS, ITEMS)[0] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(orders[0], orders[1])
    assert (orders[0] != orders[2]).any()
    assert len(np.unique(orders[0])) == N_ITEMS


def test_a_saved_floor_is_checked_when_loaded(tmp_path: Path) -> None:
    fitted("popularity").save(tmp_path)
    with pytest.raises(ValueError, match=r"popularity.*Popularity\.load"):
        FLOORS["ease"].load(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"floor": "popularity", "params": {"halflife": 3}}))
    with pytest.raises(ValueError, match=r"config\.json.*halflife"):
        Floor.load(tmp_path)
    config.write_text("{")
    with pytest.raises(ValueError, match=r"config\.json"):
        Floor.load(tmp_path)


def test_fit_needs_a_history() -> None:
    split = data()[0].test
    empty = dataclasses.replace(split, history_user=split.history_user[:0], history_item=split.history_item[:0])
    with pytest.raises(ValueError, match="no history"):
        FLOORS["popularity"]().fit(empty)
