from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reclm_hf.profiles.profile import (
    ITEM_ITEMS,
    Profile,
    clean_item,
    content_words,
    format_score,
    parse,
    render,
    split_items,
    well_formed,
)

WHOLE = Profile(("sci-fi fan", "night owl", "film lover"), ("space opera", "heist stories", "old maps"))
WHOLE_TEXT = "User identity: sci-fi fan, night owl, film lover; User interests: space opera, heist stories, old maps"


def test_render_and_parse_are_inverse():
    assert render(WHOLE) == WHOLE_TEXT
    assert parse(WHOLE_TEXT) == WHOLE


@pytest.mark.parametrize(
    "text",
    [
        "Sure! Here it is: " + WHOLE_TEXT,
        WHOLE_TEXT.replace("User identity", "user identities").replace("; ", "\n"),
        "USER IDENTITY:\n- sci-fi fan,\n- night owl,\n- film lover\nInterests: space opera, heist stories, old maps.",
        WHOLE_TEXT + "; User identity: somebody else",
        WHOLE_TEXT.replace("night owl", "night owl, Night Owl, ,"),
    ],
)
def test_parse_reads_profiles_that_models_write_loosely(text):
    assert parse(text) == WHOLE
    assert 0.4 < format_score(text) < 1.0


@pytest.mark.parametrize("text", ["", "I cannot help with that.", "identity", "User identity", None])
def test_no_profile_scores_zero(text):
    assert parse(text) == Profile((), ())
    assert format_score(text) == 0.0


def test_an_incomplete_profile_scores_the_share_that_is_there():
    half = render(Profile(WHOLE.identities, ()))
    assert format_score(half) == pytest.approx(0.5 * 3 / 6 + 0.5)
    assert not well_formed(half)


def test_a_surplus_counts_like_a_lack():
    long = render(Profile((*WHOLE.identities, "one more"), WHOLE.interests))
    short = render(Profile(WHOLE.identities[:2], WHOLE.interests))
    assert format_score(long) == format_score(short) < 1.0


def test_size_of_item_profiles():
    five = Profile(tuple(f"kind {letter}" for letter in "fghij"), tuple(f"theme {letter}" for letter in "fghij"))
    assert well_formed(render(five), ITEM_ITEMS)
    assert not well_formed(render(five))
    assert parse(render(five), 3).interests == ("theme f", "theme g", "theme h")


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("  1. 'space opera'. ", "space opera"),
        ("and old maps", "old maps"),
        ("tales of the", "tales"),
        ("one two three four five six seven eight", "one two three four five six"),
        ("...", ""),
        ("1984", ""),
        ("sci-fi", "sci-fi"),
    ],
)
def test_clean_item(raw, cleaned):
    assert clean_item(raw) == cleaned


def test_split_items_drops_repeats_in_any_case():
    assert split_items("Old Maps, old maps, heists,, ") == ["Old Maps", "heists"]


def test_content_words_of_a_hyphenated_word_are_one():
    assert content_words("the sci-fi - of a fan") == ["sci-fi", "fan"]


@given(st.text(max_size=200))
def test_any_text_gets_a_score_between_zero_and_one(text):
    assert 0.0 <= format_score(text) <= 1.0
    assert render(parse(render(parse(text)))) == render(parse(text))
