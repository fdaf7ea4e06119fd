"""What a tokenizer is padded with while a model is trained."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from reclm_hf.tuning.models import set_padding


def named(end: str, *others: str, pad: str | None = None) -> Any:
    vocabulary = {token: number for number, token in enumerate((end, *others))}
    known = {"pad_token": pad, "pad_token_id": None if pad is None else vocabulary[pad]}
    return SimpleNamespace(get_vocab=lambda: vocabulary, eos_token_id=0, name_or_path="", **known)


@pytest.mark.parametrize(
    ("tokenizer", "pad"),
    [
        (named("<|im_end|>", "<|endoftext|>", pad="<|im_end|>"), "<|endoftext|>"),  # SmolLM2
        (named("</s>", "<unk>"), "<unk>"),  # Llama 2
        (named("<|eot_id|>", "<|end_of_text|>", "<|reserved_special_token_0|>"), "<|reserved_special_token_0|>"),
        (named("<|eot_id|>", "<|reserved_special_token_0|>", "<|finetune_right_pad_id|>"), "<|finetune_right_pad_id|>"),
        (named("<|im_end|>", "other", "<|endoftext|>", pad="other"), "other"),
    ],
)
def test_padding_is_a_token_that_ends_nothing(tokenizer: Any, pad: str) -> None:
    set_padding(tokenizer)
    assert tokenizer.pad_token == pad


def test_nothing_to_pad_with_is_said() -> None:
    with pytest.raises(ValueError, match="nothing to pad with but its end token"):
        set_padding(named("</s>", "a", pad="</s>"))
