"""Hyper-parameters are chosen on validation, ties go to the simpler, and the refit is on the test history."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from reclm_hf.baselines import FLOORS
from reclm_hf.baselines.base import Floor
from reclm_hf.baselines.mix import Mix
from reclm_hf.baselines.select import select_floor, select_floors
from reclm_hf.data.splits import Split
from reclm_hf.evaluation.protocol import evaluate
from tests.checkerboard import N_ITEMS, N_USERS, checkerboard

USERS, ITEMS = np.arange(N_USERS), np.arange(N_ITEMS)


def recall(model: Floor, split: Split, settings: Sequence[str]) -> dict[str, float]:
    assert split.name == "validation", "nothing may be evaluated on test while choosing"
    found = evaluate(model, split, settings=settings, ks=(2,))
    return {setting: found[setting].mean("recall@2") for setting in settings}


def test_every_floor_is_selected_and_refitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reclm_hf.baselines.clcrec.LEAST_STEPS", 50)  # enough to choose between, and quicker
    splits, vectors = checkerboard()
    selections = select_floors(FLOORS, splits, vectors, recall)
    assert list(selections) == list(FLOORS)
    for name, (floor, trials) in selections.items():
        assert floor.name == name
        np.testing.assert_array_equal(floor.catalog.seen_indptr, splits.test.history_matrix().indptr)
        assert floor.catalog.titles[7] == "Title 007"
        sizes = [np.prod([len(floor.search_space[key]) for key in keys]) for _, keys in floor.stages()]
        assert len(trials) == sum(sizes)
        assert [trial.chosen for trial in trials].count(True) == len(floor.stages())
        assert selections[name].recall == next(trial.recall for trial in reversed(trials) if trial.chosen)
    mix, knn = selections["mix"].floor, selections["item_knn"].floor
    assert isinstance(mix, Mix)
    assert set(mix.parts) == {mix.collaborative, "popularity_decayed", "text_cosine", "text_popularity"}
    assert mix.parts["text_cosine"] == selections["text_cosine"].floor.params
    # Text tells the two new items of the own parity, one of which is the answer: both fit into a list of two.
    assert selections["text_cosine"].recall["zero_shot"] == 1.0
    assert selections["mix"].recall["zero_shot"] == 1.0
    assert selections["mix"].recall["catalogue"] >= selections["popularity_decayed"].recall["catalogue"]
    fresh = FLOORS["item_knn"](**knn.params).fit(splits.test)
    np.testing.assert_array_equal(knn.score(USERS, ITEMS), fresh.score(USERS, ITEMS))


def test_the_mix_selects_its_parts_where_they_are_not_given() -> None:
    splits, vectors = checkerboard()
    alone = select_floor("mix", splits, vectors, recall)
    together = select_floors(["item_knn", "ease", "text_popularity", "mix"], splits, vectors, recall)["mix"]
    assert alone.floor.params == together.floor.params
    np.testing.assert_array_equal(alone.floor.score(USERS, ITEMS), together.floor.score(USERS, ITEMS))


def test_nothing_is_fitted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start of the search and the winner of a stage are candidates of what comes next as they are."""
    splits, _ = checkerboard()
    fitted: list[tuple[str, float, float]] = []
    fit = FLOORS["item_knn"].fit

    def counted(floor: Floor, split: Split, *args: object) -> Floor:
        fitted.append((split.name, floor.params["k"], floor.params["shrink"]))
        return fit(floor, split, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(FLOORS["item_knn"], "fit", counted)
    monkeypatch.setattr(FLOORS["item_knn"], "search_stages", (("catalogue", ("k",)), ("catalogue", ("shrink",))))
    select_floor("item_knn", splits, None, recall)
    assert len(fitted) == len(set(fitted)) == 1 + (3 - 1) + (3 - 1) + 1


def test_selection_does_not_see_the_test_period() -> None:
    splits, vectors = checkerboard()
    test = splits.test
    blind = dataclasses.replace(splits, test=dataclasses.replace(test, target_item=test.target_item[::-1].copy()))
    for name in ("popularity_decayed", "ease", "mix"):
        one, other = (select_floor(name, given, vectors, recall) for given in (splits, blind))
        assert one.trials == other.trials
        np.testing.assert_array_equal(one.floor.score(USERS, ITEMS), other.floor.score(USERS, ITEMS))


def scored_by(name: str, values: dict[object, float]) -> object:
    """An evaluation that looks a hyper-parameter's recall up."""

    def look_up(model: Floor, split: Split, settings: Sequence[str]) -> dict[str, float]:
        return dict.fromkeys(settings, values[model.params[name]])

    return look_up


@pytest.mark.parametrize(
    ("recalls", "chosen"),
    [
        ({1000: 0.1, 500: 0.3, 200: 0.3, 100: 0.2, 50: 0.1}, 500),  # a tie: the simpler, listed first
        ({1000: 0.1, 500: 0.2, 200: 0.3, 100: 0.4, 50: 0.5}, 50),
        (dict.fromkeys((1000, 500, 200, 100, 50), float("nan")), 1000),  # nothing to rank
        ({1000: float("nan"), 500: 0.0, 200: 0.0, 100: 0.1, 50: float("nan")}, 100),
    ],
)
def test_the_best_value_wins_and_ties_go_to_the_simpler(recalls: dict[object, float], chosen: float) -> None:
    splits, _ = checkerboard()
    floor, trials = select_floor("ease", splits, None, scored_by("ridge", recalls))  # type: ignore[arg-type]
    assert floor.params == {"ridge": chosen, "min_count": 3}
    assert [trial.params["ridge"] for trial in trials if trial.chosen] == [chosen]


def test_text_floors_are_chosen_by_zero_shot() -> None:
    splits, vectors = checkerboard()

    def opposite(model: Floor, split: Split, settings: Sequence[str]) -> dict[str, float]:
        return {"catalogue": float(model.params["centered"]), "zero_shot": float(not model.params["centered"])}

    assert select_floor("text_cosine", splits, vectors, opposite).floor.params == {"centered": False}


def test_later_stages_keep_what_earlier_ones_chose() -> None:
    splits, vectors = checkerboard()

    def wanted(model: Floor, split: Split, settings: Sequence[str]) -> dict[str, float]:
        distance = abs(model.params["half_life_days"] - 14) + abs(model.params["ridge"] - 30)
        return dict.fromkeys(settings, -float(distance))

    floor, trials = select_floor(FLOORS["text_popularity"], splits, vectors, wanted)
    assert floor.params == {"half_life_days": 14, "ridge": 30}
    assert {trial.params["half_life_days"] for trial in trials if trial.stage == 1} == {14}
