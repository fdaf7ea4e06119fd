"""Anything that JSON can hold, from anybody: an answer, or one sentence; never another error."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reclm_hf.space import answers
from reclm_hf.space.shapes import Sentence
from reclm_hf.space.world import World
from tests.space.worlds import tiny_world

HTML = "<script>alert('x')</script><img src=x onerror=alert(1)>&amp;{{7*7}}"
TEXTS = [
    "",
    "   \n\t",
    "\x00",
    "alpha\x00\x1b[31m\x7fbeta",
    "\ud83d",
    "alpha \udfff beta",
    "\u202ealpha\u202c",
    "אוהב סרטי אימה",
    "مرحبا بالعالم",
    "\U0001f3ac\U0001f37f",
    "alpha \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "e" + "\u0301" * 500,
    "\ufdfa" * 400,
    HTML,
    "'; DROP TABLE users; --",
    "../../etc/passwd",
    "user-03",
    "003",
    "x" * 100_000,
    "\u0000" * 100_000,
    "word " * 20_000,
]
THINGS: list[Any] = [None, True, 0, -1, 7, 2.5, float("nan"), float("inf"), 10**9, 10**400, [], {}, ["003"], {"a": [1]}]
LISTS: list[Any] = [
    [],
    ["003"],
    ["003"] * 1000,
    ["003"] * 100_000,
    ["003", "unknown"],
    [["003"]],
    [None],
    [3],
    [float("nan")],
    ["\ud83d"],
    ["x" * 100_000],
    ["007", {}],
    "003",
    {"003": 1},
    [True],
]

anything = st.one_of(st.sampled_from(TEXTS), st.text(max_size=40), st.sampled_from(THINGS), st.floats(), st.integers())
counts = st.one_of(st.integers(1, 50), st.sampled_from([*THINGS, "5", "all", "1" * 10_000]), st.floats())
users = st.one_of(st.sampled_from(["user-00", "user-03", "user-49"]), anything)
chosen = st.one_of(st.lists(st.sampled_from(["001", "003", "048"]), max_size=4), st.sampled_from(LISTS), anything)

Call = tuple[str, tuple[Any, ...]]
calls: st.SearchStrategy[Call] = st.one_of(
    st.tuples(st.just("recommend_user"), st.tuples(users, counts)),
    st.tuples(st.just("recommend_profile"), st.tuples(anything, counts, users)),
    st.tuples(st.just("recommend_history"), st.tuples(chosen, counts, anything)),
    st.tuples(st.just("without_interest"), st.tuples(users, anything, counts)),
    st.tuples(st.just("without_item"), st.tuples(users, anything, counts)),
    st.tuples(st.just("place_item"), st.tuples(anything, anything, counts)),
    st.tuples(st.just("search_users"), st.tuples(anything, counts)),
    st.tuples(st.just("search_items"), st.tuples(anything, counts)),
)


@cache
def worlds() -> tuple[World, World]:
    """One that reads profiles and one that does not; titles and profiles of the first are hostile as well."""
    hostile = tiny_world(titles=[TEXTS[row % 12] + HTML for row in range(50)], trained=False)
    return hostile, tiny_world("bias_mf", "standard", "none", trained=False, profiles=False, item_profiles=False)


def checked(call: Callable[..., Any], *given: Any) -> Any:
    """The answer, which must be good JSON, or the sentence that was raised, which must be short and on one line."""
    try:
        answer = call(*given)
    except Sentence as refused:
        said = str(refused)
        assert said.endswith(".")
        assert "\n" not in said
        assert len(said) < 400
        said.encode()  # no half of a surrogate pair
        return said
    shown = answer if isinstance(answer, list) else asdict(answer)
    json.dumps(shown, allow_nan=False)
    return answer


@settings(max_examples=120)
@given(calls)
@example(("recommend_history", (["003"] * 100_000, 10, "")))
@example(("place_item", ("x" * 100_000, "", 10)))
@example(("recommend_profile", ("alpha", 10**400, "")))
def test_every_call_is_answered_or_refused_in_a_sentence(call: Call) -> None:
    name, given = call
    for world in worlds():
        checked(getattr(answers, name), world, *given)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_every_text_in_every_place(text: str) -> None:
    world = worlds()[0]
    checked(answers.recommend_profile, world, text)
    checked(answers.recommend_profile, world, text, 3, "user-03")
    checked(answers.recommend_history, world, ["003"], 3, text)
    checked(answers.place_item, world, text, text)
    checked(answers.place_item, world, "a title", text)
    checked(answers.without_interest, world, "user-03", text)
    checked(answers.search_users, world, text)
    checked(answers.search_items, world, text)
    if text not in ("user-03", ""):
        assert isinstance(checked(answers.recommend_user, world, text), str)
    if text != "003":
        assert isinstance(checked(answers.without_item, world, "user-03", text), str)


@pytest.mark.parametrize("given", LISTS, ids=range(len(LISTS)))
def test_every_list_of_items(given: Any) -> None:
    answer = checked(answers.recommend_history, worlds()[0], given, 3)
    good = isinstance(given, list) and bool(given) and len(given) <= 1000 and all(item == "003" for item in given)
    assert isinstance(answer, str) is not good


@pytest.mark.parametrize("user_id", [*THINGS, "unknown", "user-3", " user-03", "x" * 100_000], ids=str)
def test_an_unknown_user_is_named_with_the_way_out(user_id: Any) -> None:
    for call in (answers.recommend_user, lambda world, user: answers.without_interest(world, user, "beta fan")):
        said = checked(call, worlds()[0], user_id)
        assert isinstance(said, str)
        assert any(way in said for way in ("search for one", "write it in quotes", "choose one"))


def test_what_is_too_long_is_refused_at_once_and_reaches_no_encoder() -> None:
    world = tiny_world(trained=False)
    long = "alpha " * 20_000
    start = time.process_time()
    for call in (
        lambda: answers.recommend_profile(world, long),
        lambda: answers.recommend_history(world, ["003"], 5, long),
        lambda: answers.place_item(world, long),
        lambda: answers.place_item(world, "alpha", long),
        lambda: answers.recommend_history(world, ["003"] * 100_000),
        lambda: answers.search_users(world, long),
    ):
        with pytest.raises(Sentence, match=r"is the most: (shorten it|leave some out)"):
            call()
    assert time.process_time() - start < 0.5
    assert world.encoder.texts == []


def test_html_in_titles_and_profiles_stays_the_text_that_it_is() -> None:
    world = worlds()[0]
    answer = answers.recommend_profile(world, HTML)
    assert answer.profile == HTML
    assert all(entry.title.endswith(HTML) for entry in answer.listed)
    assert answers.place_item(world, HTML).title == HTML


def test_control_characters_change_nothing() -> None:
    world = worlds()[0]
    plain, dirty = (answers.recommend_profile(world, text) for text in ("alpha fan", "al\x00pha\u202e \x1bfan"))
    assert asdict(plain) == asdict(dirty)
