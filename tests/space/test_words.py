"""What visitors type: understood, cleaned or refused in one sentence."""

from __future__ import annotations

import math
import unicodedata

import pytest

from reclm_hf.space.shapes import Sentence
from reclm_hf.space.words import check_count, check_text, clean_text, counted, folded, joined, shown


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("  a  fan\tof\nrobots ", "a fan of robots"),
        ("caf\u0065\u0301", "café"),
        ("ro\x00bo\x07ts\x1b[31m", "robots[31m"),
        ("half \ud83d surrogate", "half surrogate"),
        ("left \u202eright\u202c \u2066isolated\u2069", "left right isolated"),
        ("אוהב סרטים", "אוהב סרטים"),
        ("a film \U0001f468\u200d\U0001f680 fan", "a film \U0001f468\u200d\U0001f680 fan"),
        ("<b>bold</b> & <script>alert(1)</script>", "<b>bold</b> & <script>alert(1)</script>"),
    ],
)
def test_a_text_is_kept_without_what_nobody_means_to_write(typed: str, kept: str) -> None:
    assert check_text(typed, "profile", 100) == unicodedata.normalize("NFC", kept)


@pytest.mark.parametrize(
    "typed", ["", "   ", "\x00\x01", "\u202e", "\u200d\u200b", "!?…", "\U0001f3ac", 7, [], {}, True]
)
def test_what_holds_no_words_is_refused_in_a_sentence(typed: object) -> None:
    with pytest.raises(Sentence, match=r"^The profile .*\.$|^The profile .*: .*\.$") as refused:
        check_text(typed, "profile", 100)
    assert "\n" not in str(refused.value)


def test_a_text_of_100_kilobytes_is_refused_with_both_lengths() -> None:
    with pytest.raises(Sentence, match="102,400 characters and 2,000 is the most: shorten it"):
        check_text("x" * 102_400, "profile", 2_000)


def test_a_text_that_may_be_left_out_may_be_nothing() -> None:
    assert [clean_text(text, "text", 10) for text in (None, "", " \t", "\u200b")] == ["", "", "", ""]


@pytest.mark.parametrize(("given", "k"), [(1, 1), (50, 50), ("7", 7), (" 12 ", 12), (10.0, 10)])
def test_a_count_may_be_written_in_several_ways(given: object, k: int) -> None:
    found = check_count(given)
    assert found == k
    assert type(found) is int


@pytest.mark.parametrize(
    "given",
    [
        0,
        -1,
        51,
        10**9,
        10**500,
        2.5,
        math.nan,
        math.inf,
        -math.inf,
        "ten",
        "",
        "1" * 5000,
        "٣x",
        "²",
        None,
        [],
        True,
        {},
    ],
)
def test_no_other_count_is_accepted(given: object) -> None:
    with pytest.raises(Sentence, match="must be a whole number from 1 to 50") as refused:
        check_count(given)
    assert len(str(refused.value)) < 150


def test_what_a_visitor_gave_is_repeated_briefly_and_without_what_could_disturb_the_page() -> None:
    assert shown("user-1") == "“user-1”"
    assert shown("a\x1b\u202eb\nc") == "“ab c”"
    assert len(shown("x" * 10**5)) < 50
    assert [shown(value) for value in (None, 7, 2.5, [1], {"a": 1}, 10**500)] == [
        "nothing",
        "7",
        "2.5",
        "a list",
        "a table",
        "a number",
    ]


def test_words_are_compared_without_case_and_accents() -> None:
    assert folded("Amélie") == folded("AMÉLIE") == "amelie"
    assert folded("STRASSE") == folded("straße")


def test_numbers_and_lists_are_written_as_people_write_them() -> None:
    assert [counted(number, "item") for number in (0, 1, 1200)] == ["0 items", "1 item", "1,200 items"]
    assert [joined(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
