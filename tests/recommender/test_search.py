"""The search: equal trials for everybody, nothing measured twice, the best one found."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from reclm_hf.recommender.search import RANGES, SearchTrial, best_trial, draw_settings, search

KEY = {"data": "abc"}


def distance(settings: dict[str, float]) -> float:
    """Highest at learning_rate .003 and l2 1e-5; the preset's own is far away."""
    if not settings:
        return -10.0
    return -abs(math.log10(settings["learning_rate"] / 3e-3)) - abs(math.log10(settings["l2"] / 1e-5))


def test_draws_are_distinct_within_the_ranges_and_the_same_for_everybody() -> None:
    drawn = draw_settings(12, contrastive=True, seed=4)
    assert drawn[0] == {}
    assert len({tuple(settings.items()) for settings in drawn}) == 12
    for settings in drawn[1:]:
        assert set(settings) == set(RANGES)
        assert all(value in RANGES[name] for name, value in settings.items())
    assert drawn == draw_settings(12, contrastive=True, seed=4)
    assert draw_settings(5, contrastive=True, seed=4) == drawn[:5], (
        "a larger budget adds trials and keeps the earlier ones"
    )
    assert set(draw_settings(2, contrastive=False, episodes=True)[1]) == {"learning_rate"}
    assert all(set(settings) == {"learning_rate", "l2"} for settings in draw_settings(9, contrastive=False)[1:])


def test_the_whole_grid_can_be_searched_and_the_best_is_found(tmp_path: Path) -> None:
    size = 1 + len(RANGES["learning_rate"]) * len(RANGES["l2"])
    trials = search(draw_settings(size, contrastive=False), distance, tmp_path / "search.json", KEY)
    assert best_trial(trials).settings == {"learning_rate": 3e-3, "l2": 1e-5}
    with pytest.raises(ValueError, match=f"between 1 and {size}"):
        draw_settings(size + 1, contrastive=False)


def test_a_killed_search_goes_on(tmp_path: Path) -> None:
    asked: list[dict[str, float]] = []

    def measure(settings: dict[str, float]) -> float:
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append(settings)
        return distance(settings)

    candidates = draw_settings(6, contrastive=False)
    with pytest.raises(KeyboardInterrupt):
        search(candidates, measure, tmp_path / "search.json", KEY)
    first, asked[:] = list(asked), []
    trials = search(candidates, measure, tmp_path / "search.json", KEY)
    assert first + asked == candidates, "nothing is measured twice"
    assert trials == [SearchTrial(settings, distance(settings)) for settings in candidates]
    with pytest.raises(ValueError, match="other data"):
        search(candidates, measure, tmp_path / "search.json", {"data": "other"})


def test_a_tie_goes_to_the_presets_own() -> None:
    assert best_trial([SearchTrial({}, 0.5), SearchTrial({"l2": 1e-3}, 0.5)]).settings == {}
