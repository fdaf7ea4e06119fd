"""Decoding from a shared beginning must give what a plain run of each whole prompt gives."""

from __future__ import annotations

import pytest
import torch

from reclm_hf.profiles.decoding import SharedPrefix
from tests.profiles.tiny import tiny_model

PREFIX = [5, 9, 14, 3, 77, 21]
SUFFIXES = [[30, 31], [40, 41, 42, 43, 44, 45, 46], [50], [60, 61, 62, 63]]


def plain(tokens, steps):
    """Greedy continuation of one prompt, everything computed afresh for every token."""
    tokens, new = list(tokens), []
    with torch.inference_mode():
        for _ in range(steps):
            logits = tiny_model()(input_ids=torch.tensor([tokens + new]), use_cache=False).logits[0, -1]
            new.append(int(logits.argmax()))
    return new


def greedy(batch, steps, finished=lambda row, tokens: False):
    return batch.continue_with(lambda logits, rows: logits.argmax(-1), finished, steps)


@pytest.fixture
def batch():
    return SharedPrefix(tiny_model(), PREFIX).batch(SUFFIXES, pad=0, room=40)


def test_continuations_equal_a_plain_run_of_each_prompt(batch):
    continued = greedy(batch, 8)
    assert continued == [plain(PREFIX + suffix, 8) for suffix in SUFFIXES]
    assert len({tuple(row) for row in continued}) > 1  # a model that says the same to everything would prove nothing


def test_logits_equal_a_plain_run_of_each_prompt(batch):
    for row, suffix in enumerate(SUFFIXES):
        with torch.inference_mode():
            expected = tiny_model()(input_ids=torch.tensor([PREFIX + suffix])).logits[0, -1]
        torch.testing.assert_close(batch.logits[row], expected, rtol=1e-4, atol=1e-4)


def test_a_text_put_in_the_place_of_a_continuation(batch):
    """Holes in the cache: padding, then hidden tokens, then padding again."""
    start = batch.length
    greedy(batch, 5, finished=lambda row, tokens: len(tokens) == 2 + row)
    batch.hide_since(start)
    written = [[80, 81, 82], [83], [84, 85], [86, 87, 88, 89]]
    batch.read(written)
    expected = [plain(PREFIX + suffix + text, 6) for suffix, text in zip(SUFFIXES, written, strict=True)]
    assert greedy(batch, 6) == expected


def test_rows_that_finish_early_stop_and_do_not_disturb_the_others(batch):
    continued = greedy(batch, 8, finished=lambda row, tokens: row % 2 == 0 and len(tokens) == 3)
    expected = [plain(PREFIX + suffix, 8) for suffix in SUFFIXES]
    assert continued == [row[:3] if number % 2 == 0 else row for number, row in enumerate(expected)]


def test_one_beginning_serves_many_batches():
    prefix = SharedPrefix(tiny_model(), PREFIX)
    once = greedy(prefix.batch(SUFFIXES, pad=0, room=40), 6)
    again = [greedy(prefix.batch([suffix], pad=0, room=40), 6)[0] for suffix in SUFFIXES]
    assert once == again


def test_without_a_common_token_there_is_nothing_to_share():
    with pytest.raises(ValueError, match="at least one token in common"):
        SharedPrefix(tiny_model(), [])
