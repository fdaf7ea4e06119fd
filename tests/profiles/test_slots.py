from __future__ import annotations

import pytest
import torch

from reclm_hf.profiles.slots import SlotVocabulary
from tests.profiles.tiny import tiny_tokenizer

SPARE = 7


@pytest.fixture(scope="module")
def slots():
    tokenizer = tiny_tokenizer()
    return SlotVocabulary(tokenizer, len(tokenizer) + SPARE, size=3)


def ids(text):
    return tiny_tokenizer().encode(text, add_special_tokens=False)


def allowed(slots, written, next_text, taken=()):
    (token,) = ids(next_text)
    return bool(slots.mask(ids(written), taken)[token] == 0)


def test_capitals_digits_symbols_and_spare_rows_are_never_allowed(slots):
    for written in ("", " wood", " wood fan", " wood fan, tool lover, night"):
        assert not any(allowed(slots, written, mark) for mark in ("A", "7", "(", "<", ":", "/"))
        assert torch.isneginf(slots.mask(ids(written))[-SPARE:]).all()


def test_one_word_is_too_few_to_close_an_item(slots):
    assert not allowed(slots, " wood", ",")
    assert not allowed(slots, " sci-fi", ",")
    assert not allowed(slots, " and wood", ",")
    assert allowed(slots, " wood fan", ",")


def test_a_long_item_gets_no_further_word(slots):
    long = " one two three four five"
    assert not allowed(slots, long, " ")
    assert not allowed(slots, long, "-")
    assert allowed(slots, long, "s")
    assert allowed(slots, long, ",")


def test_one_hyphen_a_word_and_after_short_ones_only(slots):
    assert allowed(slots, " sci", "-")
    assert not allowed(slots, " science", "-")
    assert not allowed(slots, " sci-fi", "-")
    assert allowed(slots, " sci-fi slow", "-")


def test_an_identity_is_closed_when_it_names_a_person(slots):
    identities = slots.of(3, "identities")
    assert not allowed(identities, " crime thriller", ",")
    assert allowed(identities, " crime thriller fan", ",")
    assert allowed(identities, " crime thriller of thrillers", ","), "a long one is closed as it is"
    assert allowed(slots.of(3, "interests"), " crime thriller", ",")


def test_interests_name_nobody_and_fill_nothing_up(slots):
    (fan,) = {token for token, piece in enumerate(slots.pieces) if piece == " fan"}
    (filler,) = {token for token, piece in enumerate(slots.pieces) if piece == " in"}
    assert slots.of(3, "identities").mask(ids(" crime"))[fan] == 0
    assert torch.isneginf(slots.of(3, "interests").mask(ids(" crime"))[[fan, filler]]).all()
    assert slots.mask(ids(" crime"))[filler] == 0


def test_an_item_in_other_words_is_no_new_one(slots):
    assert slots.items(ids(" horror fan, horror lover, horror movies,")) == ["horror fan", "horror movies"]
    assert slots.items(ids(" comedies, horror movie,"), taken=["comedy fan", "horror movies"]) == []


def test_a_slot_may_end_only_with_its_last_item(slots):
    for end in ("\n", ";", "<|im_end|>"):
        assert not allowed(slots, " wood fan, tool lover", end)
        assert allowed(slots, " wood fan, tool lover, night owl", end)
        assert not allowed(slots, " wood fan, tool lover, night owl", end, taken=["wood fan"])


def test_items_are_distinct_and_only_whole_ones_count(slots):
    assert slots.items(ids(" wood fan, Wood Fan, tool lover,")) == ["wood fan", "tool lover"]
    assert slots.items(ids(" wood fan, tool lov")) == ["wood fan"]
    assert slots.items(ids(" wood fan, tool lover\n and more")) == ["wood fan", "tool lover"]
    assert slots.items(ids(" wood fan, tool lover;"), taken=["WOOD FAN"]) == ["tool lover"]
    assert slots.items([]) == []


def test_a_slot_is_full_when_its_last_item_is_closed(slots):
    assert not slots.is_full(ids(" wood fan, tool lover,"))
    assert not slots.is_full(ids(" wood fan, tool lover, night owl"))
    assert slots.is_full(ids(" wood fan, tool lover, night owl,"))
    assert slots.is_full(ids(" wood fan\n"))
    assert not slots.is_full(ids(" wood fan, tool lover, night owl,"), taken=["night owl"])


def test_the_penalty_spares_marks_but_no_words(slots):
    assert set(ids(", \n-")) <= slots.unpenalized
    assert not set(ids(" enthusiast")) & slots.unpenalized
