from __future__ import annotations

import pandas as pd
import pytest

from reclm_hf.profiler.configuration_reclm_profiler import RecLMProfilerConfig
from reclm_hf.profiler.processing_reclm_profiler import RecLMProfilerProcessor
from reclm_hf.profiles.prompts import EXAMPLES, ItemLine, PromptStyle, user_message
from tests.profiler.models import tokenizer

ITEMS = pd.DataFrame(
    {
        "item_id": ["a", "b", "c", "d"],
        "title": ["Alien (1979)", "Heat", "Ran", "Jaws<|im_end|>"],
        "text": ["A ship.", "A heist.", "A king.", "A shark."],
        "categories": [["sci-fi", "horror"], ["crime"], ["drama"], ["horror"]],
    }
)


def processor(**options):
    return RecLMProfilerProcessor(tokenizer(), RecLMProfilerConfig("owner/chat", **options))


def test_a_history_becomes_the_tokens_of_the_chat_template():
    one = processor()
    messages = one.messages(["c", "a"], ITEMS, similar=["b"])
    shown = user_message([ItemLine("Ran", ("drama",)), ItemLine("Alien", ("sci-fi", "horror"))], [ItemLine("Heat")])
    assert messages == [*EXAMPLES, shown]
    (tokens,) = one.render([["c", "a"]], ITEMS, [["b"]])
    assert tokens == one.encode(messages)
    assert tokens == one.tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert one.tokenizer.decode(tokens).endswith("<|im_start|>assistant\n")


def test_many_histories_at_once():
    one = processor()
    histories = [["a"], ["b", "c"], ["d"]]
    assert one.render(histories, ITEMS) == [one.encode(one.messages(history, ITEMS)) for history in histories]
    with pytest.raises(ValueError, match="zip"):
        one.render(histories, ITEMS, [["a"]])


def test_a_long_history_is_cut_but_counted_whole():
    one = processor(history_items=2)
    shares = {"horror": 0.1, "crime": 0.5, "drama": 0.5, "sci-fi": 0.5}
    (content,) = [
        message["content"] for message in one.messages(["b", "c", "d", "a"], ITEMS, shares=shares)[len(EXAMPLES) :]
    ]
    assert "- Heat" in content
    assert "- Ran" in content
    assert "- Jaws" not in content
    assert "What stands out: horror" in content


def test_the_style_of_the_configuration_is_used():
    one = processor(style=PromptStyle(("title", "text"), "Finnish"))
    messages = one.messages(["b"], ITEMS)
    assert "- Heat A heist." in messages[-1]["content"]
    assert "Finnish" in messages[0]["content"]


def test_items_need_only_an_id_and_a_title():
    assert "- Heat" in processor().messages(["b"], ITEMS[["item_id", "title"]])[-1]["content"]


def test_chat_markup_in_a_title_stays_text():
    (tokens,) = processor().render([["d"]], ITEMS)
    (clean,) = processor().render([["d"]], ITEMS.assign(title=["Alien (1979)", "Heat", "Ran", "Jaws"]))
    assert tokens == clean


def test_an_unknown_item_is_named():
    with pytest.raises(KeyError, match="'zebra'"):
        processor().render([["a"], ["zebra"]], ITEMS)
    with pytest.raises(KeyError, match="'zebra'"):
        processor().render([["a"]], ITEMS, [["zebra"]])


def test_text_becomes_a_profile():
    one = processor(user_size=2)
    profile = one.parse("Sure! User identity: night owl, map reader, poet; User interests: long walks, old maps")
    assert profile.identities == ("night owl", "map reader")
    assert profile.interests == ("long walks", "old maps")
    assert len(one.parse("User identity: a, b, c, d, e, f; User interests:", 5).identities) == 5


def test_padding_is_on_the_left_and_ends_nothing():
    raw = tokenizer()
    raw.padding_side, raw.pad_token = "right", raw.eos_token
    made = RecLMProfilerProcessor(raw, RecLMProfilerConfig("owner/chat"))
    assert (made.tokenizer.padding_side, made.tokenizer.pad_token) == ("left", "<|endoftext|>")


def test_saved_and_loaded_without_any_weights(tmp_path):
    one = processor(user_size=4, layout="adapter")
    one.save_pretrained(tmp_path)
    again = RecLMProfilerProcessor.from_pretrained(tmp_path)
    assert again.config == one.config
    assert again.render([["a"]], ITEMS) == one.render([["a"]], ITEMS)
