"""Templates with marks around the replies."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from reclm_hf.profiles.dialogues import first_reply, first_turn, second_reply, second_turn
from reclm_hf.tuning.chat_templates import (
    TEMPLATES,
    encode_with_marks,
    end_token_ids,
    training_template,
    without_trailing_newline,
)
from tests.profiles.tiny import tiny_tokenizer
from tests.tuning.sft_parts import line, profile

CHAT = [
    *first_turn([line(0, 1)], [[line(1, 2)]]),
    first_reply([profile("comedy"), profile("horror")]),
    second_turn(line(0, 3)),
    second_reply(True),
]


def test_a_model_without_a_template_is_refused_with_the_way_out() -> None:
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="no chat template: it is no chat model"):
        training_template(tokenizer)


def learnt(tokenizer: Any, messages: Any, template: str) -> list[str]:
    tokens, marks = encode_with_marks(tokenizer, messages, template)
    parts: list[list[int]] = []
    for place, (token, mark) in enumerate(zip(tokens, marks, strict=True)):
        if mark and place and marks[place - 1]:
            parts[-1].append(token)
        elif mark:
            parts.append([token])
    return [tokenizer.decode(part) for part in parts]


def test_chatml_is_found_and_marks_both_replies_with_their_end_tokens() -> None:
    tokenizer = tiny_tokenizer()
    template = training_template(tokenizer)
    assert "{% generation %}" in template
    assert template == (TEMPLATES / "chatml.jinja").read_text()
    assert tokenizer.apply_chat_template(CHAT, tokenize=False, chat_template=template) == (
        tokenizer.apply_chat_template(CHAT, tokenize=False)
    )
    replies = [message["content"] + "<|im_end|>" for message in CHAT if message["role"] == "assistant"]
    assert learnt(tokenizer, CHAT, template) == replies


def test_a_template_with_marks_is_taken_as_it_is() -> None:
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.chat_template = (TEMPLATES / "smollm2.jinja").read_text()
    assert training_template(tokenizer) == tokenizer.chat_template


def test_an_unknown_template_is_refused_with_the_way_out() -> None:
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.chat_template = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} {% endfor %}"
    with pytest.raises(ValueError, match=r"Put \{% generation %\} and"):
        training_template(tokenizer)


def test_replies_end_with_the_end_token() -> None:
    tokenizer = tiny_tokenizer()
    assert end_token_ids(tokenizer) == {tokenizer.convert_tokens_to_ids("<|im_end|>")}


@pytest.mark.parametrize("name", ["chatml", "smollm2"])
def test_the_reward_template_ends_with_the_end_token_and_changes_nothing_else(name: str) -> None:
    tokenizer = tiny_tokenizer()
    whole = (TEMPLATES / f"{name}.jinja").read_text()
    cut = without_trailing_newline(whole)
    for chat in (CHAT, CHAT[:3]):
        before = tokenizer.apply_chat_template(chat, tokenize=False, chat_template=whole)
        after = tokenizer.apply_chat_template(chat, tokenize=False, chat_template=cut)
        assert after + "\n" == before
        assert after.endswith("<|im_end|>")
    prompt = tokenizer.apply_chat_template(CHAT[:2], tokenize=False, chat_template=cut, add_generation_prompt=True)
    assert after.startswith(prompt)


def test_a_template_without_marks_has_no_reward_template() -> None:
    with pytest.raises(ValueError, match="where replies end"):
        without_trailing_newline("{{ messages }}")


@pytest.mark.slow
def test_the_template_of_the_bundled_model() -> None:
    from reclm_hf.bundles import resolve_model
    from reclm_hf.profiler.processing_reclm_profiler import load_tokenizer
    from reclm_hf.profiles.engines import DEFAULT_MODEL

    tokenizer = load_tokenizer(resolve_model(DEFAULT_MODEL).path)
    template = training_template(tokenizer)
    assert template == (TEMPLATES / "smollm2.jinja").read_text()
    for chat in (CHAT, CHAT[1:], CHAT[:2]):
        for reply in (False, True):
            own = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=reply)
            assert own == tokenizer.apply_chat_template(
                chat, tokenize=False, add_generation_prompt=reply, chat_template=template
            )
    assert learnt(tokenizer, CHAT, template)[1] == "Yes<|im_end|>"
