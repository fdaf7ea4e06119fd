"""Items added later and profiles of strangers: bad input leaves the model as it was."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import torch

from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from tests.checkerboard import N_ITEMS, N_USERS
from tests.recommender.models import data, trained, untrained

USERS, ITEMS = np.arange(N_USERS), np.arange(N_ITEMS)
NEW = pd.DataFrame({"item_id": ["n1", "n2"], "title": ["One", "Two"], "text": ["alpha", "beta"]})


def model(backbone: str = "bias_mf", preset: str = "floor_residual", mode: str = "none") -> RecLMRecommender:
    return copy.deepcopy(trained(backbone, preset, mode))


@pytest.mark.parametrize(
    ("items", "vectors", "expected"),
    [
        (NEW, np.ones((2, 3)), r"vectors must be finite and \[2, 16\], got \(2, 3\)"),
        (NEW, np.ones((1, 16)), r"\[2, 16\], got \(1, 16\)"),
        (NEW, np.full((2, 16), np.nan), "finite"),
        (NEW.assign(item_id=["n1", "007"]), np.ones((2, 16)), "'007' is in the catalogue already"),
        (NEW.assign(item_id=["n1", "n1"]), np.ones((2, 16)), "'n1' is in the catalogue already"),
        (NEW.assign(item_id=["n1", None]), np.ones((2, 16)), "row 2 has the id"),
        (NEW.assign(item_id=[1, 2]), np.ones((2, 16)), r"row 1 has the id.*1"),
        (NEW.assign(title=["One", None], text=["", " "]), np.ones((2, 16)), "item 'n2' has no text"),
        (NEW.drop(columns="title"), np.ones((2, 16)), "no column 'title'"),
    ],
)
def test_items_that_cannot_be_added_leave_everything_as_it_was(
    items: pd.DataFrame, vectors: np.ndarray, expected: str
) -> None:
    recommender = model()
    before = recommender.score(USERS, ITEMS)
    with pytest.raises(ValueError, match=expected):
        recommender.add_items(items, vectors=vectors)
    assert recommender.catalog.n_items == recommender.config.n_items == len(recommender.item_text) == N_ITEMS
    np.testing.assert_array_equal(recommender.score(USERS, ITEMS), before)
    assert recommender.recommend(["user-00"], k=N_ITEMS) == trained("bias_mf", "floor_residual", "none").recommend(
        ["user-00"], k=N_ITEMS
    )


def test_title_and_text_stand_in_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    recommender = model()
    encoded: list[str] = []

    class Encoder:
        def encode(self, texts: list[str]) -> np.ndarray:
            encoded.extend(texts)
            return data()[1][: len(texts)]

    monkeypatch.setattr(recommender, "text_encoder", Encoder)
    recommender.add_items(NEW.assign(title=["One", None], text=[float("nan"), "beta"]))
    assert encoded == ["One", "beta"]
    assert recommender.catalog.titles[-2:] == ["One", "beta"]


@pytest.mark.parametrize("backbone", ["bias_mf", "lightgcn"])
def test_items_added_one_after_the_other_score_as_items_added_together(backbone: str) -> None:
    together, apart = model(backbone), model(backbone)
    vectors = data()[1][[46, 47]]
    together.add_items(NEW, vectors=vectors)
    for row in range(2):
        apart.add_items(NEW.iloc[[row]], vectors=vectors[[row]])
    items = np.arange(N_ITEMS + 2)
    np.testing.assert_allclose(apart.score(USERS, items), together.score(USERS, items), atol=1e-6)
    # Items 46 and 47 are warm; the new ones have the same texts and no history.
    assert (together.item_warm[-2:] == 0).all()
    assert together.item_text[-2:].numpy() == pytest.approx(together.item_text[[46, 47]].numpy(), abs=1e-6)


def test_scores_follow_what_is_changed_in_place() -> None:
    recommender = model(mode="llm")
    before = recommender.score(USERS, ITEMS)
    recommender.user_profile.copy_(recommender.user_profile.flip(0))
    assert not np.allclose(recommender.score(USERS, ITEMS), before), "buffers count as much as weights"
    recommender.user_profile.copy_(recommender.user_profile.flip(0))
    np.testing.assert_allclose(recommender.score(USERS, ITEMS), before, atol=1e-6)
    with torch.no_grad():
        recommender.project_text[0].weight.mul_(2)
        recommender.config.cold_offset += 1
    cold = data()[0].test.candidates("zero_shot")
    assert not np.allclose(recommender.score(USERS, cold), before[:, cold])


@pytest.mark.parametrize("preset", ["standard", "floor_residual"])
def test_a_profile_alone_is_ranked_by_a_graph_model(preset: str) -> None:
    recommender = trained("lightgcn", preset, "llm")
    for parity in (0, 1):
        vector = np.eye(16, dtype=np.float32)[parity]
        found = recommender.recommend_for_profile("User identity: ...", k=10, vector=vector)
        assert np.mean([int(item) % 2 == parity for item in found.item_ids[0]]) >= 0.8
        assert found.user_ids == ["new user"]
    with pytest.raises(ValueError, match="k must be at least 1"):
        recommender.recommend_for_profile("User identity: ...", k=0, vector=vector)


def test_profiles_that_are_zero_for_everybody_are_refused() -> None:
    from reclm_hf.recommender.build import build_recommender
    from tests.recommender.models import config

    splits, vectors = data()
    settings = config("bias_mf", "standard", "llm")
    with pytest.raises(ValueError, match="profile table holds no profile"):
        build_recommender(settings, splits.data, splits.test, vectors, np.zeros((N_USERS, 16), dtype=np.float32))


@pytest.mark.parametrize("mode", ["llm", "constant", "shuffled"])
def test_users_without_a_profile_are_scored_and_know_nothing_of_others(mode: str) -> None:
    from reclm_hf.recommender.build import build_recommender
    from tests.recommender.models import config, profiles

    splits, vectors = data()
    some = profiles()
    some[10:] = 0
    built = build_recommender(config("bias_mf", "floor_residual", mode), splits.data, splits.test, vectors, some)
    assert np.isfinite(built.score(USERS, ITEMS)).all()
    given = built.user_profile.numpy()
    if mode == "constant":
        assert (given == given[0]).all(), "one vector for everybody says nothing, not even who has a profile"
    else:
        assert not given[10:].any()
        assert given[:10].any(axis=1).all()
    assert untrained("bias_mf", "floor_residual", "none").fusion is None
