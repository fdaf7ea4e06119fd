"""What the Space answers about users: lists beside lists, parts that add up, and a sentence that is true."""

from __future__ import annotations

import gc
import json
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from reclm_hf.recommender.what_if import Someone
from reclm_hf.space import answers
from reclm_hf.space.once import Once
from reclm_hf.space.shapes import PARTS, Listed, Sentence, UserAnswer
from reclm_hf.space.world import World
from tests.recommender.models import KINDS
from tests.space.worlds import AS_OF, GENERATOR, tiny_world

BETA = "User identity: beta fan; User interests: beta stories"
ALPHA = "User identity: alpha fan; User interests: alpha stories"


@cache
def world() -> World:
    """Not to be changed by a test."""
    return tiny_world()


@cache
def bare() -> World:
    """A model that reads no profiles, in a preset without a path from a text to a score."""
    return tiny_world("bias_mf", "standard", "none", profiles=False, item_profiles=False)


def all_answers(world: World) -> list[UserAnswer]:
    """One answer of each kind that the model can give."""
    found = [
        answers.recommend_user(world, "user-03", 5),
        answers.recommend_history(world, ["001", "003"], 5),
        answers.without_item(world, "user-03", "005", 5),
    ]
    config = world.model.config
    if world.model.backbone.support(config).new_users_by_profile:
        found.append(answers.recommend_profile(world, BETA, 5))
    if config.profile_mode == "llm":
        found += [
            answers.recommend_profile(world, ALPHA, 5, "user-03"),
            answers.without_interest(world, "user-03", "beta fan", 5),
            answers.recommend_history(world, ["001"], 5, ALPHA),
        ]
    return found


def ids(listed: list[Listed]) -> list[str]:
    return [entry.item_id for entry in listed]


@pytest.mark.parametrize(("backbone", "preset", "mode"), KINDS)
def test_parts_add_up_and_lists_are_ranked_in_every_kind_of_model(backbone: str, preset: str, mode: str) -> None:
    small = tiny_world(backbone, preset, mode, trained=False)
    for answer in all_answers(small):
        json.dumps(asdict(answer), allow_nan=False)
        assert answer.changed.endswith(".")
        assert answer.listed
        for entries in (answer.listed, answer.other):
            assert [entry.rank for entry in entries] == list(range(1, len(entries) + 1))
            assert [entry.score for entry in entries] == sorted((entry.score for entry in entries), reverse=True)
            for entry in entries:
                assert tuple(entry.parts) == PARTS
                assert sum(entry.parts.values()) == pytest.approx(entry.score, abs=1e-4)


@pytest.mark.parametrize("mode", ["constant", "raw_text", "shuffled", "random", "neighbour", "masked_titles"])
def test_a_model_with_a_placebo_for_profiles_is_answered_for(mode: str) -> None:
    small = tiny_world("bias_mf", "standard", mode, trained=False)
    answer = answers.recommend_user(small, "user-03", 5)
    assert answer.profile == ""
    if mode in ("constant", "raw_text"):
        assert answer.changed == "Both lists are the same: this recommender reads no profiles of users."
        assert ids(answer.listed) == ids(answer.other)
    assert answers.recommend_history(small, ["001"], 5).listed
    assert answers.place_item(small, "beta").readers
    with pytest.raises(Sentence, match=f"profile_mode='{mode}'"):
        answers.recommend_profile(small, BETA, 5, "user-03")


def test_a_known_user_gets_what_the_model_recommends_and_the_ranks_without_the_profile() -> None:
    answer = answers.recommend_user(world(), "user-03", 7)
    model = world().model
    found = model.recommend(["user-03"], 7)
    assert ids(answer.listed) == found.item_ids[0]
    assert [entry.title for entry in answer.listed] == found.titles[0]
    assert [entry.score for entry in answer.listed] == pytest.approx(found.scores[0], abs=1e-5)
    without = model.rank_for(Someone("user-03", profile=""))
    ranks = without.ranks(model.catalog.n_items)
    assert [entry.was for entry in answer.listed] == ranks[model.catalog.item_index(ids(answer.listed))].tolist()
    assert ids(answer.other) == [model.catalog.item_ids[item] for item in without.order[:7]]
    assert answer.compared_with == "without the profile"
    assert answer.profile == world().profiles["user-03"].profile


def test_cold_items_are_marked_and_categories_are_shown() -> None:
    answer = answers.recommend_user(world(), "user-03", 50)
    assert {entry.item_id for entry in answer.listed if entry.new} == {"046", "047", "048", "049"}
    assert {tuple(entry.categories) for entry in answer.listed} == {("alpha",), ("beta",)}


def test_the_reason_is_the_nearest_item_of_the_history() -> None:
    found = [entry for entry in answers.recommend_user(world(), "user-03", 20).listed if entry.why]
    assert found
    for entry in found:
        evidence = world().model.explain("user-03", entry.item_id).evidence[0]
        assert entry.why == f"like {evidence.title}"


def test_what_changed_names_the_item_that_rises_most_and_the_part_that_does_it() -> None:
    answer = answers.recommend_history(world(), ["001", "003"], 5, ALPHA)
    risen = {entry.title: entry.was - entry.rank for entry in answer.listed if entry.was}
    assert max(risen.values()) > 0
    best = next(entry for entry in answer.listed if risen.get(entry.title) == max(risen.values()))
    fresh = sum(entry.was is None or entry.was > 5 for entry in answer.listed)
    assert f"{fresh} of the first 5 " in answer.changed
    assert f"“{best.title}” rises most, from place {best.was} to {best.rank}, " in answer.changed
    # Nothing but the profile differs between the two lists.
    assert "the profile part of its score gains" in answer.changed


def test_where_nothing_moves_the_sentence_says_why() -> None:
    unread = answers.recommend_user(bare(), "user-03", 5)
    assert unread.changed == "Both lists are the same: this recommender reads no profiles of users."
    assert unread.profile == ""
    # As it is built, this preset gives profiles no weight.
    weightless = answers.recommend_user(tiny_world("bias_mf", trained=False), "user-03", 5)
    assert weightless.changed == "Nothing moves in the first 5: this model gives the profile no weight here."
    unwritten = answers.recommend_user(_without_profile("user-03"), "user-03", 5)
    assert "no profile of this user is known; write one" in unwritten.changed
    weightless = answers.recommend_profile(tiny_world("bias_mf", trained=False), ALPHA, 5, "user-03")
    assert weightless.changed == "Nothing moves in the first 5: the new text changes no score."
    slight = answers.without_item(world(), "user-03", "005", 2)
    assert ids(slight.listed) == ids(slight.other)
    assert "but not enough to change the order there." in slight.changed


def _without_profile(user_id: str) -> World:
    """The world without the user's profile, in the tables and in the model."""
    changed = tiny_world()
    del changed.profiles[user_id]
    changed.model.user_profile[int(user_id[-2:])] = 0.0
    return changed


def test_a_person_is_described_with_the_sources_of_each_phrase() -> None:
    person = answers.recommend_user(world(), "user-03").person
    assert person is not None
    catalog = world().model.catalog
    assert person.history == [(catalog.item_ids[item], catalog.titles[item]) for item in catalog.seen(3)]
    assert (person.as_of, person.generator) == (AS_OF, GENERATOR)
    origins = {phrase.text: phrase.origin for phrase in person.phrases}
    assert origins == {"beta fan": "own", "opera singer": "none", "beta stories": "own", "alpha tales": "neighbour"}
    sections = [phrase.section for phrase in person.phrases]
    assert sections == ["identities", "identities", "interests", "interests"]
    (tales,) = (phrase for phrase in person.phrases if phrase.text == "alpha tales")
    assert tales.titles == ["Title 000"]


def test_neighbours_are_those_of_the_profile_and_else_those_of_the_model() -> None:
    written = answers.recommend_user(world(), "user-03").person
    nearest = answers.recommend_user(world(), "user-49").person
    assert written is not None
    assert nearest is not None
    assert [near.user_id for near in written.neighbours] == ["user-05", "user-04"]
    found = world().model.similar_users(["user-49"], 5)
    assert [near.user_id for near in nearest.neighbours] == found.similar_ids[0]
    assert [near.similarity for near in nearest.neighbours] == pytest.approx(found.similarities[0], abs=1e-5)
    for near in [*written.neighbours, *nearest.neighbours]:
        chosen = (
            {item for item, _ in written.history} if near in written.neighbours else {i for i, _ in nearest.history}
        )
        other = world().model.catalog.seen(int(near.user_id[-2:]))
        titles = {world().model.catalog.titles[item] for item in other if f"{item:03d}" in chosen}
        assert len(near.shared) == min(5, len(titles))
        assert set(near.shared) <= titles


def test_a_user_without_history_is_answered() -> None:
    changed = tiny_world()
    catalog = changed.model.catalog
    indptr = catalog.seen_indptr.copy()
    indptr[4:] -= indptr[4] - indptr[3]
    kept = np.delete(catalog.seen_indices, np.arange(catalog.seen_indptr[3], catalog.seen_indptr[4]))
    changed.model.catalog = replace(catalog, seen_indptr=indptr, seen_indices=kept)
    changed = replace(changed, catalog=changed.model.catalog)
    del changed.profiles["user-03"]
    answer = answers.recommend_user(changed, "user-03", 5)
    assert answer.person is not None
    assert (answer.person.history, answer.person.neighbours, answer.person.phrases) == ([], [], [])
    assert [entry.why for entry in answer.listed] == [""] * 5


def test_an_interest_can_be_left_out() -> None:
    answer = answers.without_interest(world(), "user-03", " Beta FAN ", 5)
    assert answer.profile == "User identity: opera singer; User interests: beta stories, alpha tales"
    assert answer.compared_with == "with the profile as written"
    written = answers.recommend_profile(world(), world().profiles["user-03"].profile, 5, "user-03")
    assert ids(answer.other) == ids(written.listed)
    with pytest.raises(Sentence, match="does not say “gamma”: choose one of “beta fan”, “opera singer”"):
        answers.without_interest(world(), "user-03", "gamma")
    with pytest.raises(Sentence, match="No profile of this user is known"):
        answers.without_interest(world(), "user-49", "beta fan")
    with pytest.raises(Sentence, match="reads no profiles of users"):
        answers.without_interest(bare(), "user-03", "beta fan")


def test_without_its_only_phrase_the_profile_is_as_if_none_had_been_written() -> None:
    changed = tiny_world()
    changed.profiles["user-03"] = replace(changed.profiles["user-03"], identities=["beta fan"], interests=[])
    answer = answers.without_interest(changed, "user-03", "beta fan", 5)
    assert answer.profile == ""
    assert ids(answer.listed) == ids(answers.recommend_user(changed, "user-03", 5).other)


def test_an_item_can_be_left_out_of_the_history() -> None:
    answer = answers.without_item(world(), "user-03", "005", 50)
    assert answer.compared_with == "with the whole history"
    assert "005" not in ids(answer.listed) + ids(answer.other)
    history = [item for item, _ in answer.person.history] if answer.person else []
    folded_in = world().model.rank_for(Someone("user-03", history=history))
    assert ids(answer.other) == [world().model.catalog.item_ids[item] for item in folded_in.order]
    scores = [{entry.item_id: entry.score for entry in entries} for entries in (answer.listed, answer.other)]
    assert max(abs(scores[0][item] - scores[1][item]) for item in scores[0]) > 1e-3
    with pytest.raises(Sentence, match="“Title 000” is not in this user's history"):
        answers.without_item(world(), "user-03", "000")


def test_somebody_new_is_described_by_a_text_and_compared_with_nobody_in_particular() -> None:
    for text, parity in ((ALPHA, 0), (BETA, 1)):
        answer = answers.recommend_profile(world(), text, 10)
        found = world().model.recommend_for_profile(text, 10, vector=world().encoder.encode([text])[0])
        assert ids(answer.listed) == found.item_ids[0]
        assert answer.person is None
        assert {int(item) % 2 for item in ids(answer.listed)[:5]} == {parity}
    others = [ids(answers.recommend_profile(world(), text, 10).other) for text in (ALPHA, BETA)]
    assert others[0] == others[1]


def test_a_known_user_is_described_anew() -> None:
    answer = answers.recommend_profile(world(), ALPHA, 10, "user-03")
    assert answer.person is not None
    assert answer.profile == ALPHA
    assert answer.person.profile == world().profiles["user-03"].profile
    assert ids(answer.other) == ids(answers.recommend_user(world(), "user-03", 10).listed)
    assert sum(entry.parts["profile"] for entry in answer.listed if int(entry.item_id) % 2 == 0) != 0


def test_somebody_new_is_known_by_what_they_chose() -> None:
    answer = answers.recommend_history(world(), ["003", "001", "003"], 10)
    assert ids(answer.listed) == world().model.recommend_for_history(["001", "003"], 10).item_ids[0]
    assert not {"001", "003"} & set(ids(answer.listed) + ids(answer.other))
    described = answers.recommend_history(world(), ["001", "003"], 10, ALPHA)
    assert described.compared_with == "without the profile"
    assert ids(described.other) == ids(answer.listed)
    alone = answers.recommend_history(bare(), ["001", "003"], 10)
    assert (alone.other, alone.compared_with) == ([], "")
    assert alone.changed.startswith("This list stands alone")
    assert alone.listed


def test_whoever_chose_everything_is_told_so() -> None:
    answer = answers.recommend_history(world(), world().model.catalog.item_ids, 10)
    assert answer.listed == []
    assert answer.changed == "Nothing is left to recommend: every item of the catalogue is in the history."


def test_a_model_that_cannot_read_a_description_says_what_to_do_instead() -> None:
    with pytest.raises(Sentence, match="choose some items that the person likes instead"):
        answers.recommend_profile(bare(), BETA)
    with pytest.raises(Sentence, match="leave the profile out"):
        answers.recommend_profile(bare(), BETA, 5, "user-03")
    with pytest.raises(Sentence, match="leave the profile out"):
        answers.recommend_history(bare(), ["001"], 5, BETA)


def test_users_are_found_by_id_profile_and_chosen_titles() -> None:
    assert [name for _, name in answers.search_users(world(), "USER-07")] == ["user-07"]
    assert [name for _, name in answers.search_users(world(), "user-0", 3)] == ["user-00", "user-01", "user-02"]
    described = replace(world().profiles["user-03"], profile="User identity: Gamma-ray fan; User interests: étude")
    changed = replace(world(), profiles=world().profiles | {"user-03": described})
    assert [name for _, name in answers.search_users(changed, "ETUDE gamma")] == ["user-03"]
    holders = {name for _, name in answers.search_users(world(), "title 046", 50)}
    assert holders == set()  # cold: nobody chose it
    holders = {name for _, name in answers.search_users(world(), "title 044", 50)}
    catalog = world().model.catalog
    assert holders == {name for row, name in enumerate(catalog.user_ids) if 44 in catalog.seen(row)}
    assert answers.search_users(world(), "nobody has this") == []
    assert len(answers.search_users(world(), "")) == 20
    assert answers.search_users(world(), "user-03")[0][0] == "user-03 · 21 items · beta fan, opera singer"


def test_items_are_found_by_id_and_title_the_most_chosen_first() -> None:
    assert answers.search_items(world(), "007") == [("Title 007 · 007", "007")]
    catalog = world().model.catalog
    count = np.bincount(catalog.seen_indices, minlength=catalog.n_items)
    found = [count[int(name)] for _, name in answers.search_items(world(), "title", 50)]
    assert len(found) == 50
    assert found == sorted(found, reverse=True)


def test_twenty_visitors_at_once_get_what_each_would_get_alone() -> None:
    fresh, users = tiny_world(), [f"user-{row:02d}" for row in range(20)]

    def ask(user: str) -> list[Any]:
        return [
            asdict(answers.recommend_user(fresh, user, 5)),
            asdict(answers.recommend_profile(fresh, ALPHA, 5, user)),
        ]

    with ThreadPoolExecutor(20) as pool:
        together = list(pool.map(ask, users))
    assert together == [ask(user) for user in users]


def test_what_is_prepared_is_made_once_and_let_go_with_its_model() -> None:
    made: list[int] = []

    def make(world: World) -> int:
        time.sleep(0.02)  # long enough for all threads to ask
        made.append(len(world.texts))
        return made[-1]

    once, fresh = Once(make), tiny_world(trained=False)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(once, [fresh] * 8)) == {50}
    assert made == [50]
    answers.prepare(fresh)
    answers.recommend_user(fresh, "user-03")
    answers.place_item(fresh, "beta")
    model = weakref.ref(fresh.model)
    del fresh
    gc.collect()
    assert model() is None
