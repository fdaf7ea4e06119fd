"""The Space in Chromium: through every tab, by mouse and by keyboard, narrow and wide, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.browser import Visitor, chromium
from tests.e2e.conftest import HOSTILE, SCRIPT

pytestmark = pytest.mark.browser

TABS = [("A user",), ("Something new", "A new person"), ("Something new", "A new item"), ("How good is it",)]
# Gradio brings a plot library that tells of its versions; nothing else may stand in the console.
ALLOWED = ("Vega", "vega")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("chromium")) as chrome:
        yield chrome


@pytest.fixture
def visitor(browser: Any, space: str) -> Iterator[Visitor]:
    """At the page; whatever was done there, the console stays empty and no title has become a script."""
    someone = Visitor(browser, space)
    someone.console()
    yield someone
    assert [line for line in someone.console() if not any(word in line for word in ALLOWED)] == []
    assert someone.run("return document.title") == "Cold-start recommendations"
    assert someone.run("return [...document.querySelectorAll('.rl :is(script, img, style)')].length") == 0


def test_a_user_is_found_by_keyboard(visitor: Visitor) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    visitor.comes()
    keys = ActionChains(visitor.chrome)
    for _ in range(12):
        keys.send_keys(Keys.TAB).perform()
        focused = visitor.run(
            "const e = document.activeElement, style = getComputedStyle(e);"
            "const seen = e == document.body || style.outlineStyle != 'none' || style.boxShadow != 'none';"
            "return [!!e.closest('#user-search'), seen, e.outerHTML]"
        )
        assert focused[1], f"the focus is not seen on {focused[2][:200]}"
        if focused[0]:
            break
    else:
        pytest.fail("Tab does not reach the search field")
    keys.send_keys("user-07", Keys.ENTER).perform()
    visitor.waits(lambda: visitor.value("#user-pick").startswith("user-07"), "user-07")
    assert "beta fan" in visitor.shows("#user-card", "beta fan")
    assert visitor.value("#user-profile").startswith("User identity: beta fan")


def test_what_if(visitor: Visitor) -> None:
    visitor.comes()
    ranking = visitor.shows("#user-ranking", "With the profile", "Without the profile", "What the scores are made of")
    visitor.types("#user-profile", "User identity: beta fan; User interests: beta stories")
    changed = visitor.shows("#user-ranking", "With the profile as you changed it", "With the profile as written")
    assert changed != ranking
    sentence = visitor.text("#user-ranking .says")
    visitor.waits(lambda: visitor.run("return document.querySelector('#said').textContent") == sentence, "the voice")
    visitor.clicks("#user-without-phrase")
    visitor.shows("#user-ranking", "Without “alpha fan”", "With the profile as written")
    visitor.clicks("#user-without-item")
    visitor.shows("#user-ranking", "Without this choice", "With the whole history")
    visitor.clicks("#user-again")
    assert visitor.shows("#user-ranking", "With the profile\n") == ranking
    assert visitor.value("#user-profile").startswith("User identity: alpha fan")


def test_picking_from_the_list(visitor: Visitor) -> None:
    visitor.comes()
    visitor.clicks("#user-pick input")
    visitor.clicks("ul[role=listbox] li:nth-child(4)")
    visitor.shows("#user-card", "beta fan")
    assert visitor.value("#user-pick") == "user-03"


def test_an_error_is_one_sentence(visitor: Visitor) -> None:
    visitor.comes(390)
    visitor.types("#user-search", "nobody has this\n")
    said = visitor.waits(visitor.toasts, "the sentence")
    assert said == ["No user was found by that; try a user id, one word of an interest, or a title."]
    assert visitor.faint() == []
    assert visitor.too_wide() == []
    visitor.opens("Something new", "A new item")
    visitor.clicks("#item-place")
    visitor.waits(lambda: any("title is empty" in toast for toast in visitor.toasts()), "the second sentence")


def test_somebody_new(visitor: Visitor) -> None:
    visitor.comes(390)
    visitor.opens("Something new", "A new person")
    visitor.clicks("#new-person .gallery-item")  # an example
    visitor.waits(lambda: visitor.value("#new-described"), "the example")
    visitor.types("#new-described", f"{SCRIPT} beta stories 😀 שלום")
    visitor.clicks("#new-recommend")
    visitor.shows("#new-ranking", "With the profile", "Score")
    visitor.types("#new-search", "Title 004\n")
    visitor.shows("#new-liked", "Title 004")
    visitor.clicks("#new-liked label")
    visitor.types("#new-search", "emoji\n")
    visitor.shows("#new-liked", "Title 004", HOSTILE[3])
    visitor.clicks("#new-write")
    visitor.waits(lambda: "alpha fan" in visitor.value("#new-described"), "the profile that is written")
    visitor.shows("#new-ranking", "like Title 004")
    assert visitor.toasts() == []
    assert visitor.too_wide() == []


def test_something_new(visitor: Visitor) -> None:
    visitor.comes()
    visitor.opens("Something new", "A new item")
    visitor.types("#item-title", f"{SCRIPT} 🎬")
    visitor.types("#item-text", "a beta story שלום")
    visitor.clicks("#item-place")
    said = visitor.shows("#item-answer", f"{SCRIPT} 🎬", "Among the 5 new items", "What it resembles", "beta fan")
    assert "Its profile" in said


def test_how_good_it_is(visitor: Visitor) -> None:
    visitor.comes()
    visitor.opens("How good is it")
    shown = visitor.shows("#results-table", "Floors", "Placebo", "0.2345 [0.1845, 0.2845]", "this one")
    assert f"mean {SCRIPT}" in shown
    assert "+0.0245 [−0.0012, +0.0523]" in visitor.text("#results-comparisons")
    visitor.clicks("#results-strata summary")
    visitor.shows("#results-strata", "By the length of the user's history", "−0.0100")
    background = visitor.text("#results-background")
    assert "no leak found" in background
    assert f"row 1: names {SCRIPT}" in background
    links = visitor.run(
        "return [...document.querySelectorAll('#results-background a')].map(a => [a.innerText, a.href])"
    )
    assert links == [["Card <of> it", "https://example.org/?a=1&b=2"]]
    visitor.clicks("#results-setting label:nth-of-type(2)")
    visitor.shows("#results-table", "Not evaluated: no user has a cold target")


def test_titles_are_shown_as_text(visitor: Visitor) -> None:
    visitor.comes(390)
    visitor.types("#user-search", "user-01\n")
    visitor.shows("#user-card", *HOSTILE)  # the history
    visitor.clicks("#user-item input")
    visitor.shows("ul[role=listbox]", *HOSTILE[:3])
    assert visitor.too_wide() == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("tabs", TABS, ids=[tabs[-1] for tabs in TABS])
def test_legible_and_narrow_enough(visitor: Visitor, tabs: tuple[str, ...], theme: str) -> None:
    visitor.comes(390, theme)
    dark = visitor.run("return document.body.classList.contains('dark')")
    assert dark == (theme == "dark")
    visitor.opens(*tabs)
    if tabs[-1] == "A new person":
        visitor.clicks("#new-person .gallery-item")
        visitor.waits(lambda: visitor.value("#new-described"), "the example")
        visitor.clicks("#new-recommend")
        visitor.shows("#new-ranking", "Score")
    if tabs[-1] == "A new item":
        visitor.clicks("#new-item .gallery-item")
        visitor.waits(lambda: visitor.value("#item-title"), "the example")
        visitor.clicks("#item-place")
        visitor.shows("#item-answer", "Who would like it")
    visitor.run("document.querySelectorAll('details').forEach(e => { e.open = true })")
    assert visitor.too_wide() == []
    assert visitor.faint() == []


def test_every_input_has_a_label_and_an_example(visitor: Visitor) -> None:
    visitor.comes()
    unnamed = (
        "return [...document.querySelectorAll('main :is(input, textarea, button)')].filter(e => e.checkVisibility())"
        ".filter(e => !(e.labels?.length || e.ariaLabel || e.innerText?.trim() || e.closest('label')))"
        ".map(e => e.outerHTML)"
    )
    empty = (
        "return [...document.querySelectorAll('main :is(textarea, input:not([type=radio], [type=checkbox]))')]"
        ".filter(e => e.checkVisibility() && !e.value && !e.placeholder).map(e => e.outerHTML)"
    )
    for tabs in TABS:
        visitor.opens(*tabs)
        assert visitor.run(unnamed) == []
        assert visitor.run(empty) == []
