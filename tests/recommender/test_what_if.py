"""One person, known or new, ranked for as they are and as if they had chosen or written something else."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from reclm_hf.recommender.ranking import Recommendations
from reclm_hf.recommender.what_if import PARTS, Ranking, Someone
from tests.checkerboard import N_ITEMS, N_USERS
from tests.recommender.models import KINDS, data, profiles, trained, untrained
from tests.recommender.test_explain import drawn

USERS, ITEMS = np.arange(N_USERS), np.arange(N_ITEMS)
USER = 7
NAME = f"user-{USER:02d}"
HISTORY = ["003", "012", "047"]  # 047 is cold
NEW = pd.DataFrame({"item_id": ["n1", "n2"], "title": ["One", "Two"], "categories": [["fresh"], []]})
GRAPHS = ("lightgcn", "sgl", "simgcl")

every_kind = pytest.mark.parametrize(("backbone", "preset", "mode"), KINDS)


@cache
def model(backbone: str, preset: str, mode: str, sides: str = "both") -> RecLMRecommender:
    """No weight is zero; not to be changed by a test."""
    return drawn(backbone, preset, mode, sides)


def close(found: Ranking, expected: Recommendations, model: RecLMRecommender, atol: float = 1e-5) -> None:
    """The same items in the same order, with the same scores."""
    np.testing.assert_allclose(found.scores, expected.scores[0], atol=atol, rtol=1e-5)
    by_item = dict(zip(expected.item_ids[0], expected.scores[0], strict=True))
    ids = [model.catalog.item_ids[item] for item in found.order]
    np.testing.assert_allclose([by_item[item] for item in ids], found.scores, atol=atol, rtol=1e-5)


def adds_up(found: Ranking) -> np.ndarray:
    parts = found.parts(found.order)
    assert parts.shape == (len(found.order), len(PARTS))
    assert parts.dtype == np.float32
    np.testing.assert_allclose(parts.sum(1), found.scores, atol=1e-5, rtol=1e-5)
    return parts


@every_kind
def test_a_known_user_is_ranked_for_as_ever(backbone: str, preset: str, mode: str) -> None:
    recommender = model(backbone, preset, mode)
    found = recommender.rank_for(Someone(NAME))
    close(found, recommender.recommend([NAME], k=N_ITEMS), recommender, atol=1e-6)
    np.testing.assert_array_equal(found.seen, np.sort(recommender.catalog.seen(USER)))
    assert found.order.dtype == found.seen.dtype == np.int64
    adds_up(found)
    items = np.array([5, 47, int(found.seen[0])])
    explained = [recommender.explain(NAME, recommender.catalog.item_ids[item]).parts for item in items]
    np.testing.assert_allclose(found.parts(items), [[parts[part] for part in PARTS] for parts in explained], atol=1e-5)
    if mode == "llm":
        # The own profile, given as if it were another one, takes the way of all others.
        again = recommender.rank_for(Someone(NAME, vector=profiles()[USER]))
        close(again, recommender.recommend([NAME], k=N_ITEMS), recommender)
        np.testing.assert_allclose(again.parts(items), found.parts(items), atol=1e-5)


@every_kind
def test_another_history_is_folded_in(backbone: str, preset: str, mode: str) -> None:
    recommender = model(backbone, preset, mode)
    expected = recommender.recommend_for_history(HISTORY, k=N_ITEMS)
    found = recommender.rank_for(Someone(history=HISTORY))
    close(found, expected, recommender)
    assert found.seen.tolist() == [3, 12, 47]
    adds_up(found)
    # Of a known user it is the same with what stands in the place of the own profile.
    close(recommender.rank_for(Someone(NAME, history=HISTORY, profile="")), expected, recommender)
    known = recommender.rank_for(Someone(NAME, history=[*HISTORY, "003"]))
    adds_up(known)
    if mode == "none":
        close(known, expected, recommender)
        return
    vector = profiles()[USER]
    beside = recommender.recommend_for_history(HISTORY, k=N_ITEMS, vector=vector)
    close(known, beside, recommender)
    close(recommender.rank_for(Someone(history=HISTORY, vector=vector)), beside, recommender)
    if backbone != "simgcl" or preset == "floor_residual":  # its users are what their history brings, and nothing else
        assert np.abs(known.scores - found.scores).max() > 1e-3


@every_kind
def test_a_profile_alone(backbone: str, preset: str, mode: str) -> None:
    recommender = model(backbone, preset, mode)
    vectors = profiles()[:2]
    if not recommender.backbone.support(recommender.config).new_users_by_profile:
        for history in (None, ()):
            with pytest.raises(ValueError, match="cannot read a profile"):
                recommender.rank_for(Someone(history=history, profile="likes alpha", vector=vectors[0]))
        return
    found = [recommender.rank_for(Someone(profile="likes", vector=vector)) for vector in vectors]
    for ranking, vector in zip(found, vectors, strict=True):
        close(ranking, recommender.recommend_for_profile("likes", k=N_ITEMS, vector=vector), recommender)
        assert len(ranking.seen) == 0
        adds_up(ranking)
    # All that the profile says is in its own part: the others are those of the mean user.
    first, second = (ranking.parts(ITEMS) for ranking in found)
    others = [PARTS.index(part) for part in ("id", "text", "bias")]
    np.testing.assert_allclose(first[:, others], second[:, others], atol=1e-6)
    assert np.abs(first - second).max() > 1e-3
    if mode == "llm":
        # A known user whose whole history is taken away is left with the own profile.
        left = recommender.rank_for(Someone(f"user-{0:02d}", history=[]))
        np.testing.assert_allclose(left.scores, found[0].scores, atol=1e-5)


@pytest.mark.parametrize("profile", ["another", ""])
@pytest.mark.parametrize(("backbone", "preset", "mode"), [kind for kind in KINDS if kind[2] == "llm"])
def test_another_profile_is_as_if_the_table_had_held_it(backbone: str, preset: str, mode: str, profile: str) -> None:
    """Exactly so, but for the items of the history in a graph, which go on hearing from the user as trained."""
    recommender = model(backbone, preset, mode)
    vector = profiles()[USER + 1]
    found = recommender.rank_for(Someone(NAME, profile=profile, vector=vector if profile else None), exclude_seen=False)
    state = recommender.state()
    table = state.user_profile.clone()
    table[USER] = recommender.centred_profiles(vector[None], 1)[0] if profile else 0.0
    with torch.no_grad():
        encoded = recommender.eval().encode(state._replace(user_profile=table))
        expected = encoded.scores(recommender.backbone, torch.tensor([USER]), torch.from_numpy(ITEMS))[0].numpy()
    placed = np.empty(N_ITEMS)
    placed[found.order] = found.scores
    before = recommender.score(np.array([USER]), ITEMS)[0]
    unseen = np.setdiff1d(ITEMS, recommender.catalog.seen(USER))
    np.testing.assert_allclose(placed[unseen], expected[unseen], atol=1e-5)
    assert np.abs(placed - before)[unseen].max() > 1e-3
    effect = np.abs(expected - before).max()
    np.testing.assert_allclose(placed, expected, atol=0.2 * effect if backbone in GRAPHS else 1e-5)
    adds_up(found)


@pytest.mark.parametrize("mode", ["constant", "raw_text", "shuffled", "random", "neighbour", "masked_titles", "none"])
@pytest.mark.parametrize("preset", ["standard", "floor_residual"])
def test_what_a_missing_profile_means_in_each_mode(preset: str, mode: str) -> None:
    recommender = model("bias_mf", preset, mode, "user")
    own, without = recommender.rank_for(Someone(NAME)), recommender.rank_for(Someone(NAME, profile=" "))
    adds_up(own)
    adds_up(without)
    if mode in ("constant", "raw_text", "none"):
        np.testing.assert_array_equal(own.scores, without.scores)  # nobody had written anything
    else:
        assert np.abs(np.sort(own.scores) - np.sort(without.scores)).max() > 1e-3
    beside = recommender.rank_for(Someone(NAME, history=HISTORY))
    adds_up(beside)
    new = recommender.rank_for(Someone(history=HISTORY))
    close(new, recommender.recommend_for_history(HISTORY, k=N_ITEMS), recommender)
    same = mode in ("constant", "raw_text", "none")  # what is beside a history is the same for known and for new people
    assert np.allclose(np.sort(beside.scores), np.sort(new.scores), atol=1e-5) == same
    for someone in (Someone(NAME, profile="likes alpha"), Someone(history=HISTORY, vector=profiles()[0])):
        with pytest.raises(ValueError, match="no use for a profile beside a history"):
            recommender.rank_for(someone)
    with pytest.raises(ValueError, match="neither a history nor a profile"):
        recommender.rank_for(Someone(NAME, history=[]))


def test_items_without_history_tell_nothing_by_their_ids() -> None:
    """Who chose only such items has no ID part of their own: what is personal in the score is text."""
    recommender = model("bias_mf", "standard", "none")
    first, second = (recommender.rank_for(Someone(history=[item])).parts(ITEMS) for item in ("046", "047"))
    identity, text = PARTS.index("id"), PARTS.index("text")
    np.testing.assert_allclose(first[:, identity], second[:, identity], atol=1e-5)
    assert np.abs(first[:, text] - second[:, text]).max() > 1e-3


def test_filters_seen_items_and_ranks() -> None:
    recommender = model("bias_mf", "standard", "none")
    found = recommender.rank_for(Someone(NAME), categories=["alpha"], deny=["000"])
    assert {int(item) % 2 for item in found.order} == {0}
    assert 0 not in found.order
    ranks = found.ranks(N_ITEMS)
    assert ranks.dtype == np.int64
    assert ranks[found.order].tolist() == list(range(1, len(found.order) + 1))
    assert (ranks == 0).sum() == N_ITEMS - len(found.order)
    everything = recommender.rank_for(Someone(NAME), exclude_seen=False)
    assert len(everything.order) == N_ITEMS
    assert len(everything.seen) == 0
    only = recommender.rank_for(Someone(history=["000"]), candidates=["000"])
    assert only.order.tolist() == only.scores.tolist() == []
    assert only.parts(np.array([], dtype=np.int64)).shape == (0, 4)


@pytest.mark.parametrize(
    ("someone", "error", "expected"),
    [
        (Someone(), ValueError, "neither a history nor a profile.*give a known user_id"),
        (Someone(profile=" "), ValueError, "neither a history nor a profile"),
        (Someone("x"), KeyError, "unknown user 'x'.*recommend_for_history"),
        (Someone(history=["x"]), KeyError, "unknown item 'x'"),
        (Someone(history="000"), ValueError, "not the single string '000'"),
        (Someone(NAME, vector=np.ones(3)), ValueError, r"\[1, 16\], got \(1, 3\)"),
        (Someone(history=["000"], vector=np.full(16, np.nan)), ValueError, "finite"),
        (Someone(profile="likes", vector=np.ones(3)), ValueError, r"\[1, 16\], got \(1, 3\)"),
        (Someone(NAME, profile=" ", vector=np.ones(16)), ValueError, "an empty profile has no vector"),
    ],
)
def test_what_cannot_be_ranked_for_is_said(someone: Someone, error: type[Exception], expected: str) -> None:
    with pytest.raises(error, match=expected):
        model("bias_mf", "floor_residual", "llm").rank_for(someone)


def test_a_profile_is_encoded_where_no_vector_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    recommender = copy.deepcopy(model("bias_mf", "floor_residual", "llm"))

    class Encoder:
        def encode(self, texts: list[str]) -> np.ndarray:
            return profiles()[[["even", "odd"].index(text) for text in texts]]

    monkeypatch.setattr(recommender, "text_encoder", Encoder)
    for options in ({"user_id": NAME}, {"history": HISTORY}, {}):
        found = recommender.rank_for(Someone(**options, profile="odd"))
        expected = recommender.rank_for(Someone(**options, vector=profiles()[1]))
        np.testing.assert_array_equal(found.order, expected.order)


@pytest.mark.parametrize("backbone", ["bias_mf", "lightgcn"])
def test_another_profile_turns_a_trained_list_over(backbone: str) -> None:
    recommender = trained(backbone, "floor_residual", "llm")
    for parity in (0, 1):
        found = recommender.rank_for(Someone(profile="likes", vector=np.eye(16, dtype=np.float32)[parity]))
        assert np.mean(found.order[:10] % 2 == parity) >= 0.8
        profile = found.parts(found.order)[:, PARTS.index("profile")]
        assert profile[found.order % 2 == parity].mean() > profile[found.order % 2 != parity].mean()


@every_kind
def test_a_grown_copy_is_what_adding_makes(backbone: str, preset: str, mode: str) -> None:
    recommender = model(backbone, preset, mode)
    before, served = recommender.score(USERS, ITEMS), recommender.served()
    options: dict[str, Any] = {"vectors": data()[1][[46, 3]]}
    if mode == "llm":
        options["profile_vectors"] = np.random.default_rng(2).standard_normal((2, 16)).astype(np.float32)
    expected = copy.deepcopy(recommender)
    expected.add_items(NEW, **options)
    grown = recommender.with_items(NEW, **options)
    items = np.arange(N_ITEMS + 2)
    np.testing.assert_allclose(grown.score(USERS, items), expected.score(USERS, items), atol=1e-5)
    assert np.ptp(grown.score(USERS, items)[:, -2:], axis=0).min() > 1e-3
    for someone in (Someone(NAME), Someone(history=["n1", "003"])):
        rankings = [each.rank_for(someone) for each in (grown, expected)]
        np.testing.assert_allclose(rankings[0].scores, rankings[1].scores, atol=1e-5)
        np.testing.assert_allclose(rankings[0].parts(items), rankings[1].parts(items), atol=1e-5)
    assert grown.recommend([NAME], categories=["fresh"]).item_ids == [["n1"]]
    # And again, on top of it.
    more = grown.with_items(NEW.assign(item_id=["n3", "n4"]), **options)
    np.testing.assert_allclose(more.score(USERS, items + 2)[:, -2:], grown.score(USERS, items)[:, -2:], atol=1e-5)

    assert recommender.served() is served, "the model itself computes nothing again"
    assert recommender.catalog.n_items == recommender.config.n_items == len(recommender.item_text) == N_ITEMS
    assert recommender.config.nnz == (0 if recommender.graph is None else len(recommender.graph.adj_val))
    np.testing.assert_array_equal(recommender.score(USERS, ITEMS), before)
    assert grown.user_embedding.weight is recommender.user_embedding.weight
    with pytest.raises(ValueError, match="'n1' is in the catalogue already"):
        grown.with_items(NEW, **options)
    with pytest.raises(KeyError, match="unknown item 'n1'"):
        recommender.explain(NAME, "n1")


def test_a_grown_copy_of_a_model_in_training_is_in_training_too() -> None:
    recommender = untrained("lightgcn", "floor_residual", "llm").train()
    grown = recommender.with_items(NEW, vectors=data()[1][[46, 47]])
    assert recommender.training
    assert grown.training
    expected = recommender.eval().with_items(NEW, vectors=data()[1][[46, 47]])
    items = np.arange(N_ITEMS + 2)
    np.testing.assert_allclose(grown.score(USERS, items), expected.score(USERS, items), atol=1e-6)


def test_threads_get_what_one_after_the_other_gets() -> None:
    """Also in training mode, which computing switches off for a moment: with dropped IDs the scores would be others."""
    recommender = copy.deepcopy(model("lightgcn", "floor_residual", "llm")).train()
    people = [Someone(NAME), Someone(NAME, profile=""), Someone(history=HISTORY), Someone(vector=profiles()[0])]

    def asked(model: RecLMRecommender, someone: Someone) -> np.ndarray:
        found = model.rank_for(someone)
        return np.column_stack([found.scores, found.parts(found.order)])

    expected = [asked(copy.deepcopy(recommender), someone) for someone in people]
    for _ in range(3):
        fresh = copy.deepcopy(recommender)
        encoded: list[str] = []
        fresh.encode = counted(fresh.encode, encoded)
        with ThreadPoolExecutor(8) as pool:
            futures = [(place, pool.submit(asked, fresh, people[place])) for place in [0, 1, 2, 3] * 4]
            for place, future in futures:
                np.testing.assert_allclose(future.result(), expected[place], atol=1e-6)
        assert len(encoded) == 3, "the served state and those without profiles and texts, each once"
        assert fresh.training


def counted(encode: Callable[..., Any], calls: list[str]) -> Callable[..., Any]:
    def wrapped(*args: Any) -> Any:
        calls.append("encode")
        return encode(*args)

    return wrapped
