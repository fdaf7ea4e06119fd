"""Where a new item would stand: every rank as the model itself would give it, and an honest word on the rest."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reclm_hf.recommender.build import build_recommender
from reclm_hf.recommender.what_if import Someone
from reclm_hf.space import audience
from reclm_hf.space.answers import place_item, recommend_user
from reclm_hf.space.shapes import Sentence
from reclm_hf.space.world import World
from tests.recommender import models
from tests.recommender.models import KINDS
from tests.space.worlds import GENERATOR, TinyEncoder, TinyWriter, scorer, tiny_world

TITLE, TEXT = "Beta again", "a beta story"


@cache
def world() -> World:
    """Not to be changed by a test."""
    return tiny_world()


def grown_ranks(world: World, said: str) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of a new item among all and among cold items for every user, by ranking everything for each of them."""
    items = pd.DataFrame({"item_id": ["the new one"], "title": ["new"], "text": [said]})
    grown = world.model.with_items(items, vectors=world.encoder.encode([said]))
    everything, among_cold = [], []
    for user in grown.catalog.user_ids:
        order = grown.rank_for(Someone(user)).order
        cold = order[np.isin(order, [46, 47, 48, 49, 50])]
        everything.append(1 + int(np.flatnonzero(order == 50)[0]))
        among_cold.append(1 + int(np.flatnonzero(cold == 50)[0]))
    return np.array(everything), np.array(among_cold)


def test_ranks_are_those_of_the_model_with_the_item_added() -> None:
    answer = place_item(world(), TITLE, TEXT, 50)
    everything, cold = grown_ranks(world(), f"{TITLE}. {TEXT}")
    expected = dict(zip(world().model.catalog.user_ids, everything.tolist(), strict=True))
    assert {reader.user_id: reader.rank for reader in answer.readers} == expected
    ranks = [reader.rank for reader in answer.readers]
    assert ranks == sorted(ranks)
    low, median, high = np.percentile(cold, [25, 50, 75])
    assert answer.rank_among_cold == {"median": median, "low": low, "high": high, "of": 5, "users": 50}


def test_an_item_finds_those_who_like_its_kind() -> None:
    for word, parity in (("alpha", 0), ("beta", 1)):
        answer = place_item(world(), f"{word} again", f"a {word} story", 20)
        assert {int(reader.user_id[-2:]) % 2 for reader in answer.readers} == {parity}
        assert {int(like.item_id) % 2 for like in answer.resembles} == {parity}
        cosines = [like.cosine for like in answer.resembles]
        assert cosines == sorted(cosines, reverse=True)
        assert f"{word} fan" in answer.profile


def test_nothing_of_the_world_is_changed() -> None:
    before = asdict(recommend_user(world(), "user-03"))
    place_item(world(), TITLE, TEXT)
    assert len(world().model.catalog.item_ids) == world().model.config.n_items == len(world().texts) == 50
    assert asdict(recommend_user(world(), "user-03")) == before


@pytest.mark.parametrize(("backbone", "preset", "mode"), KINDS)
def test_every_kind_of_model_places_an_item(backbone: str, preset: str, mode: str) -> None:
    small = tiny_world(backbone, preset, mode, trained=False)
    answer = place_item(small, TITLE, TEXT, 3)
    json.dumps(asdict(answer), allow_nan=False)
    everything, _ = grown_ranks(small, f"{TITLE}. {TEXT}")
    assert [reader.rank for reader in answer.readers] == sorted(everything.tolist())[:3]


@pytest.mark.parametrize("wins", [True, False])
def test_equal_scores_are_ranked_in_the_order_of_ties(wins: bool) -> None:
    # Two items of score 1 whose place in the order of ties is before, or after, that of the new one.
    ends = (0, 0, 0, 2) if wins else (0, 0, 2, 2)
    asked = audience.Asked(np.array([0, 1]), np.array([[1.0, 1.0], [0.5, -np.inf]], dtype=np.float32), ends)
    ranks, cold = audience.ranks(asked, np.array([1.0, 0.5], dtype=np.float32))
    assert ranks.tolist() == cold.tolist() == ([3, 2] if wins else [1, 1])


def test_users_are_sampled_where_their_scores_would_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {reader.user_id: reader.rank for reader in place_item(world(), TITLE, TEXT, 50).readers}
    monkeypatch.setattr(audience, "MOST_CELLS", 10 * 50)
    answers = [place_item(tiny_world(), TITLE, TEXT, 50) for _ in range(2)]
    assert len(answers[0].readers) == answers[0].rank_among_cold["users"] == 10
    assert answers[0] == answers[1]
    assert all(whole[reader.user_id] == reader.rank for reader in answers[0].readers)


def test_the_profile_is_that_of_the_nearest_items_else_of_the_readers_and_else_there_is_none() -> None:
    near = place_item(world(), TITLE, TEXT)
    assert near.profile_from == "what the profiles of the 10 nearest items with one say most"
    assert near.profile.startswith("User identity: beta fan, reader ")
    readers = place_item(tiny_world(item_profiles=False), TITLE, TEXT)
    assert readers.profile == "User identity: beta fan; User interests: beta stories, alpha tales"
    assert readers.profile_from == "what the profiles of its 10 best readers say more often than others"
    nothing = place_item(tiny_world(item_profiles=False, profiles=False), TITLE, TEXT)
    assert nothing.profile == ""
    assert "neither similar items nor readers have profiles" in nothing.profile_from
    assert [reader.profile for reader in nothing.readers] == [""] * 10


def test_phrases_that_say_the_same_are_one() -> None:
    changed = tiny_world()
    for row, name in enumerate(changed.item_profiles):
        tastes = "beta fan, beta lover" if row % 4 == 1 else "Beta fan"
        changed.item_profiles[name] = f"User identity: {tastes}; User interests: beta stories"
    assert place_item(changed, TITLE, TEXT).profile == "User identity: beta fan; User interests: beta stories"


def test_a_language_model_writes_the_profile_where_there_is_one() -> None:
    written = place_item(tiny_world(writer=TinyWriter()), TITLE, TEXT)
    assert (written.profile, written.profile_from) == (TinyWriter.text, f"written by {GENERATOR}")


@pytest.mark.parametrize("error", [ValueError, OSError, RuntimeError, None])
def test_where_none_is_written_it_is_inferred_and_no_visitor_is_quoted(
    error: type[Exception] | None, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(TinyWriter):
        def write_item(self, title: str, *given: Any, **named: Any) -> str:
            if error is None:
                return " "
            raise error(f"{title} does not fit")

    answer = place_item(tiny_world(writer=Broken(), trained=False), TITLE, TEXT)
    assert "nearest items" in answer.profile_from
    assert answer.profile.startswith("User identity: ")
    assert TITLE not in caplog.text
    assert ("could not be written" in caplog.text) is (error is not None)


def test_a_model_whose_items_have_profiles_reads_the_new_one() -> None:
    config = models.config("bias_mf", "standard", "llm")
    config.profile_sides = "both"
    splits, vectors = models.data()
    profiles = TinyEncoder().encode([f"{('alpha', 'beta')[row % 2]} fan" for row in range(50)])
    model = build_recommender(config, splits.data, splits.test, vectors, models.profiles(), profiles).eval()
    read = replace(tiny_world(trained=False), catalog=model.catalog, scorer=scorer(model))
    unread = replace(read, item_profiles={})
    place_item(read, TITLE, TEXT)
    assert any("beta fan" in text for text in read.encoder.texts)
    ranks = [{r.user_id: r.rank for r in place_item(one, TITLE, TEXT, 50).readers} for one in (read, unread)]
    assert ranks[0] != ranks[1]


def test_a_catalogue_without_cold_items_has_no_rank_among_them() -> None:
    changed = tiny_world("bias_mf", trained=False)
    changed.model.item_warm[:] = 1.0
    answer = place_item(changed, TITLE, TEXT)
    assert answer.rank_among_cold == {"median": None, "low": None, "high": None, "of": 1, "users": 50}
    assert answer.readers


def test_a_title_that_is_there_already_is_answered_and_said() -> None:
    answer = place_item(world(), "TITLE 007", "another beta story")
    assert answer.note.startswith("The catalogue has 1 item of this title already (007); yours")
    twice = tiny_world(titles=["Twice"] * 50)
    note = place_item(twice, "twice", "beta").note
    assert "has 50 items of this title already (000, 001 and 002 and 47 more)" in note


def test_the_title_is_said_once_and_first() -> None:
    for title, text, said in (
        ("Beta", "", "Beta"),
        ("Beta", "a story", "Beta. a story"),
        ("Beta!", "a story", "Beta! a story"),
        ("Beta", "the BETA story", "the BETA story"),
    ):
        fresh = tiny_world(trained=False)
        place_item(fresh, title, text)
        assert said in fresh.encoder.texts


def test_what_the_encoder_cuts_off_is_said() -> None:
    assert "reads the first 128 word pieces" in place_item(world(), "Beta", "word " * 200).note
    # Fewer words than pieces are read, but long ones.
    assert "reads the first 128 word pieces" in place_item(world(), "Beta", "antidisestablishment " * 100).note
    assert place_item(world(), "Beta", "word " * 20).note == ""


def test_where_only_some_users_are_asked_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience, "MOST_USERS", 5)
    answer = place_item(tiny_world(trained=False), TITLE, TEXT)
    assert answer.rank_among_cold["users"] == 5
    assert answer.note == "Who would like it was asked of 5 users, drawn from 50: others may like it more."


@pytest.mark.parametrize(
    ("title", "text", "message"),
    [
        ("", "a beta story", "The title is empty"),
        ("\x00", "", "The title is empty"),
        ("?!", "a beta story", "The title holds no words"),
        ("x" * 301, "", "301 characters and 300 is the most"),
        ("x", "y" * 5001, "The text has 5,001 characters and 5,000 is the most"),
        (["x"], "", "must be text, and this is a list"),
        ("x", 7, "must be text, and this is a number"),
    ],
)
def test_what_cannot_be_placed_is_refused_before_anything_reads_it(title: Any, text: Any, message: str) -> None:
    read = len(world().encoder.texts)
    with pytest.raises(Sentence, match=message):
        place_item(world(), title, text)
    assert len(world().encoder.texts) == read
