"""The table of what models can do says what they do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reclm_hf.baselines import FLOORS
from reclm_hf.pipeline.support import floor_support, recommender_support, support_table
from reclm_hf.recommender.configuration_reclm_recommender import BACKBONE_NAMES
from tests.recommender.models import KINDS, data, untrained

COLD = {"046", "047", "048", "049"}


def test_the_readme_holds_exactly_this_table(repository: Path) -> None:
    text = (repository / "README.md").read_text(encoding="utf-8")
    start, end = "<!-- support-table -->", "<!-- /support-table -->"
    assert start in text, f"put the output of support_table() between {start} and {end}"
    assert text.split(start)[1].split(end)[0].strip() == support_table()


def test_every_model_has_a_row() -> None:
    table = support_table()
    for name in (*BACKBONE_NAMES, *FLOORS):
        assert f"`{name}`" in table
    assert len({line.count("|") for line in table.splitlines()}) == 1


@pytest.mark.parametrize(("backbone", "preset", "mode"), KINDS)
def test_recommenders_do_what_the_table_says(backbone: str, preset: str, mode: str) -> None:
    model = untrained(backbone, preset, mode)
    support = recommender_support(backbone)[preset, mode]
    found = model.recommend(["user-00"], k=50)
    assert bool(found.item_ids[0]) == support.known_users
    assert bool(COLD & set(found.item_ids[0])) == support.cold_items
    assert (model.graph is not None) == support.graph
    assert bool(model.recommend_for_history(["000", "002"], k=3).item_ids[0]) == support.new_users_by_history
    cold = np.arange(46, 50)
    before = model.score(np.arange(2), cold)
    model.item_text.copy_(model.item_text.flip(0))
    assert (not np.allclose(model.score(np.arange(2), cold), before)) == support.item_text
    vector = np.ones(16, dtype=np.float32)
    if support.new_users_by_profile:
        assert model.recommend_for_profile("likes alpha", k=3, vector=vector).item_ids[0]
    else:
        with pytest.raises(ValueError, match="cannot read a profile"):
            model.recommend_for_profile("likes alpha", k=3, vector=vector)


@pytest.mark.parametrize("name", list(FLOORS))
def test_floors_do_what_the_table_says(name: str) -> None:
    splits, vectors = data()
    support = floor_support(FLOORS[name])
    floor = FLOORS[name]()
    if support.item_text:
        with pytest.raises(ValueError, match="item text vectors"):
            floor.fit(splits.test, None, splits.data)
    fitted = floor.fit(splits.test, vectors if support.item_text else None, splits.data)
    found = fitted.recommend(["user-00"], k=50)
    assert bool(found.item_ids[0]) == support.known_users
    assert bool(COLD & set(found.item_ids[0])) == support.cold_items
    for method, claim in (
        ("recommend_for_history", support.new_users_by_history),
        ("recommend_for_profile", support.new_users_by_profile),
        ("graph", support.graph),
    ):
        assert hasattr(fitted, method) == claim
