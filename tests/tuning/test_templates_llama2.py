"""The shipped template of Llama-2-chat: the same bytes as the model's own, and exactly the replies are marked."""

from __future__ import annotations

import hashlib
import random
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from transformers.models.llama.tokenization_llama import B_INST, B_SYS, E_INST, E_SYS

import reclm_hf.tuning

TEMPLATE = Path(reclm_hf.tuning.__file__).parent / "templates" / "llama-2-chat.jinja"
Dialogue = list[dict[str, str]]

# SHA-256 over the renderings of `dialogues()` by the `chat_template` of meta-llama/Llama-2-7b-chat-hf itself (each
# followed by a zero byte), made once.
OF_THE_ORIGINAL = "d175133e3572277d6d31e9d7660599e256375e15b0e4cee519ad6f9c82b7704e"


def dialogues() -> list[Dialogue]:
    """200 seeded chats, with and without system message, that end with either role; odd spaces and line breaks too."""
    draw = random.Random(7)
    words = [
        "films",
        " old",
        "User identity:",
        "\n",
        "  ",
        "é",
        "[INST]",
        "Yes",
        "{{ x }}",
        "<b>",
        "\t",
        "🎬",
        "5 %",
        "'",
    ]

    def text() -> str:
        return " ".join(draw.choices(words, k=draw.randint(0, 9)))

    found = []
    for number in range(200):
        chat = [{"role": "system", "content": text()}] if number % 2 else []
        turns = draw.randint(1, 6)
        chat += [{"role": ("user", "assistant")[turn % 2], "content": text()} for turn in range(turns)]
        found.append(chat)
    return found


def as_published(chat: Dialogue) -> str:
    """The format in Meta's words: marks of transformers, stripped contents, one space around a reply."""
    parts, turns, opening = [], chat, ""
    if chat[0]["role"] == "system":
        opening, turns = B_SYS + chat[0]["content"] + E_SYS, chat[1:]
    for number, turn in enumerate(turns):
        if turn["role"] == "user":
            whole = opening + turn["content"] if number == 0 else turn["content"]
            parts.append(f"<s>{B_INST} {whole.strip()} {E_INST}")
        else:
            parts.append(f" {turn['content'].strip()} </s>")
    return "".join(parts)


@lru_cache
def llama_like() -> Any:
    """A tokenizer that cuts as Llama-2's does: a word takes the space in front of it along."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    texts = [as_published(chat) for chat in dialogues()] + ["Yes, the user would. User identity: cinephile"] * 5
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        chat_template=TEMPLATE.read_text(encoding="utf-8"),
    )


def _render(chat: Dialogue, **options: Any) -> str:
    return str(llama_like().apply_chat_template(chat, tokenize=False, **options))


def test_it_renders_what_the_original_renders() -> None:
    digest = hashlib.sha256()
    for chat in dialogues():
        digest.update(_render(chat).encode() + b"\0")
    assert digest.hexdigest() == OF_THE_ORIGINAL


def test_it_renders_the_published_format() -> None:
    for chat in dialogues():
        assert _render(chat) == as_published(chat)


def test_a_prompt_needs_nothing_added() -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who am I?"}]
    assert _render(chat) == "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nWho am I? [/INST]"
    assert _render(chat, add_generation_prompt=True) == _render(chat)


def test_a_prompt_is_the_beginning_of_the_whole_chat() -> None:
    for chat in dialogues():
        for cut in range(2, len(chat)):
            if chat[cut]["role"] == "assistant":
                assert _render(chat).startswith(_render(chat[:cut], add_generation_prompt=True))


def test_replies_and_their_end_tokens_are_marked_and_nothing_else() -> None:
    chat = [
        {"role": "system", "content": "Write profiles."},
        {"role": "user", "content": "films"},
        {"role": "assistant", "content": "User identity: cinephile"},
        {"role": "user", "content": "Would the user like 5 % ?"},
        {"role": "assistant", "content": "Yes, the user would."},
    ]
    encoded = llama_like().apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    runs: list[list[int]] = []
    before = 0
    for token, marked in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True):
        if marked:
            runs.append([token]) if not before else runs[-1].append(token)
        before = marked
    tokenizer = llama_like()
    # The space in front belongs to the reply's first word and the one behind is a token that the model must write.
    assert ["".join(tokenizer.convert_ids_to_tokens(run)).replace("▁", " ") for run in runs] == [
        " User identity: cinephile </s>",
        " Yes, the user would. </s>",
    ]
    assert [run[-1] for run in runs] == [tokenizer.eos_token_id] * 2


@pytest.mark.parametrize(
    "roles", [("assistant",), ("user", "user"), ("user", "assistant", "assistant"), ("user", "system", "user"),
              ("system", "system", "user")]
)  # fmt: skip
def test_roles_out_of_turn_are_refused(roles: tuple[str, ...]) -> None:
    from jinja2 import TemplateError

    with pytest.raises(TemplateError, match="in turn"):
        _render([{"role": role, "content": "text"} for role in roles])


def test_it_stands_alone_in_the_marks_that_trl_looks_for() -> None:
    from trl.chat_template_utils import has_generation_markers

    assert has_generation_markers(TEMPLATE.read_text(encoding="utf-8"))
