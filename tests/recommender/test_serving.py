"""Items added later and profiles of strangers: bad input leaves the model as it was."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from reclm_hf.data.splits import Split
from reclm_hf.recommender.build import build_recommender
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from tests.checkerboard import N_ITEMS, N_USERS
from tests.recommender.models import KINDS, config, data, profiles, trained, untrained

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
        (NEW.assign(categories=[["alpha"], "beta"]), np.ones((2, 16)), "'n2' has the categories 'beta'"),
        (NEW.assign(categories=[["alpha"], [3]]), np.ones((2, 16)), r"'n2' has the categories \[3\]"),
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
        recommender.get_parameter("project_text.0.weight").mul_(2)
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
    splits, vectors = data()
    settings = config("bias_mf", "standard", "llm")
    with pytest.raises(ValueError, match="profile table holds no profile"):
        build_recommender(settings, splits.data, splits.test, vectors, np.zeros((N_USERS, 16), dtype=np.float32))


@pytest.mark.parametrize("mode", ["llm", "constant", "shuffled"])
def test_users_without_a_profile_are_scored_and_know_nothing_of_others(mode: str) -> None:
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


LATE = ["046", "048"]  # without history in the test split; 047 and 049, cold too, stay in the catalogue


def item_profiles() -> np.ndarray:
    """Profile vectors [50, 16] of items, none for the last."""
    vectors = np.random.default_rng(7).standard_normal((N_ITEMS, 16)).astype(np.float32)
    vectors[-1] = 0
    return vectors


def built(backbone: str, preset: str, mode: str, without: list[str]) -> RecLMRecommender:
    """A model of the test split whose catalogue lacks some cold items; profiles, if any, on both sides."""
    splits, vectors = data()
    split = splits.test
    keep = ~np.isin(split.item_ids, without)
    place = np.cumsum(keep) - 1
    kept_targets = keep[split.target_item]
    smaller: Split = replace(
        split,
        item_ids=split.item_ids[keep],
        history_item=place[split.history_item].astype(np.int32),
        target_user=split.target_user[kept_targets],
        target_item=place[split.target_item[kept_targets]].astype(np.int32),
        warm=split.warm[keep],
        cold=split.cold[keep],
    )
    tables = replace(splits.data, items=splits.data.items[keep].reset_index(drop=True))
    settings = config(backbone, preset, mode)
    settings.profile_sides = "both"
    given = (None, None) if mode == "none" else (profiles(), item_profiles()[keep])
    return build_recommender(settings, tables, smaller, vectors[keep], *given)


def drawn_weights(model: RecLMRecommender) -> None:
    """No weight stays at zero, where a forgotten term would not show."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))


def copy_common_rows(source: RecLMRecommender, target: RecLMRecommender, rows: np.ndarray) -> None:
    """The weights; the buffers (means, popularity, graph, profiles) must be equal by themselves."""
    with torch.no_grad():
        for (name, value), place in zip(source.named_parameters(), target.parameters(), strict=True):
            assert name in dict(target.named_parameters())
            place.copy_(value[rows] if len(value) == N_ITEMS and len(place) == len(rows) else value)


@pytest.mark.parametrize(("backbone", "preset", "mode"), KINDS)
def test_an_added_item_scores_as_one_that_was_in_the_catalogue(backbone: str, preset: str, mode: str) -> None:
    whole, later = built(backbone, preset, mode, []), built(backbone, preset, mode, LATE)
    ids = [str(item) for item in data()[0].test.item_ids]
    rows = np.array([row for row, item in enumerate(ids) if item not in LATE])
    drawn_weights(whole)
    copy_common_rows(whole, later, rows)
    chosen = [ids.index(item) for item in LATE]
    texts = pd.DataFrame({"item_id": LATE, "title": ["Late", "Later"], "text": ["x", "y"]})
    given = None if mode == "none" else item_profiles()[chosen]
    later.add_items(texts, vectors=data()[1][chosen], profile_vectors=given)
    order = later.catalog.item_index(ids)
    assert (order[chosen] == [N_ITEMS - 2, N_ITEMS - 1]).all()
    expected = whole.score(USERS, ITEMS)
    assert np.ptp(expected[:, chosen], axis=0).min() > 1e-3, "the item means something to users"
    np.testing.assert_allclose(later.score(USERS, order), expected, atol=1e-6, rtol=1e-6)
    # People who were never seen, by histories that hold such an item too.
    histories = [["000", "003"], ["046", "001", "048"]]
    found = [model.recommend_for_histories(histories, k=N_ITEMS) for model in (whole, later)]
    for first, second in zip(*(lists.scores for lists in found), strict=True):
        np.testing.assert_allclose(second, first, atol=1e-5)


@pytest.mark.parametrize("mode", ["constant", "raw_text"])
def test_an_added_item_gets_what_stands_in_the_place_of_profiles(mode: str) -> None:
    whole, later = built("bias_mf", "standard", mode, []), built("bias_mf", "standard", mode, LATE)
    later.add_items(NEW, vectors=data()[1][[46, 48]])
    expected = whole.item_profile[[46, 48]] if mode == "raw_text" else later.item_profile[[0, 0]]
    assert torch.allclose(later.item_profile[-2:], expected, atol=1e-6)
    assert later.item_profile[-2:].any(dim=1).all()


def test_item_profiles_are_encoded_and_centred_like_those_of_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, later = built("bias_mf", "standard", "llm", []), built("bias_mf", "standard", "llm", LATE)
    vectors = {"Item profile: a": item_profiles()[46], "Item profile: b": item_profiles()[48]}

    class Encoder:
        def encode(self, texts: list[str]) -> np.ndarray:
            return np.array([vectors[text] for text in texts])

    monkeypatch.setattr(later, "text_encoder", Encoder)
    column = pd.Series(["Item profile: a", None])
    later.add_items(NEW, vectors=data()[1][[46, 48]], item_profiles=column)
    assert torch.allclose(later.item_profile[-2], whole.item_profile[46], atol=1e-6)
    assert not later.item_profile[-1].any(), "no profile, no vector"
    later.add_items(NEW.assign(item_id=["n3", "n4"]), vectors=data()[1][[46, 48]])
    assert not later.item_profile[-2:].any()


@pytest.mark.parametrize(
    ("mode", "options", "expected"),
    [
        ("none", {"item_profiles": ["a", "b"]}, "no written profiles"),
        ("constant", {"profile_vectors": np.ones((2, 16))}, "no written profiles.*'constant'"),
        ("llm", {"profile_vectors": np.ones((2, 3))}, r"profile_vectors must be finite and \[2, 16\], got \(2, 3\)"),
        ("llm", {"item_profiles": ["a"]}, "1 item_profiles for 2 items"),
    ],
)
def test_item_profiles_that_do_not_fit_change_nothing(mode: str, options: dict[str, object], expected: str) -> None:
    model = built("bias_mf", "standard", mode, [])
    with pytest.raises(ValueError, match=expected):
        model.add_items(NEW, vectors=data()[1][[46, 48]], **options)  # type: ignore[arg-type]
    assert model.catalog.n_items == model.config.n_items == len(model.item_text) == N_ITEMS


def test_categories_of_added_items_can_be_asked_for() -> None:
    recommender = model()
    new = NEW.assign(categories=[["fresh", "alpha"], None])
    recommender.add_items(new, vectors=data()[1][[46, 47]])
    assert recommender.catalog.categories[-2:] == [["fresh", "alpha"], []]
    assert recommender.recommend(["user-00"], categories=["fresh"]).item_ids == [["n1"]]


def test_filters_hold_for_a_profile_too() -> None:
    recommender = trained("bias_mf", "standard", "llm")
    vector = np.eye(16, dtype=np.float32)[0]

    def asked(**filters: list[str]) -> list[str]:
        return recommender.recommend_for_profile("likes", k=50, vector=vector, **filters).item_ids[0]

    assert set(asked(candidates=["000", "001", "002"], deny=["001"])) == {"000", "002"}
    assert {int(item) % 2 for item in asked(categories=["beta"])} == {1}
    with pytest.raises(ValueError, match="unknown category 'gamma'"):
        asked(categories=["gamma"])


def test_a_placebo_reads_a_profile_as_text_only() -> None:
    """What a `constant` model holds in the place of profiles is not replaced by a vector it never saw."""
    recommender = trained("bias_mf", "floor_residual", "constant")
    vector = np.eye(16, dtype=np.float32)[1]
    found = recommender._from_profile(torch.from_numpy(vector))
    assert torch.equal(found.user[:, -16:], recommender.user_profile[:1])
