"""A chat model of a few thousand random weights with a tokenizer trained on the spot, and an engine made of words."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from reclm_hf.profiles.engines import GeneratedProfile, ProfileRequest
from reclm_hf.profiles.prompts import EXAMPLES, ItemLine, user_message

CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@lru_cache
def tiny_tokenizer() -> Any:
    """Byte-pair encoding of the example prompts, with the three control tokens of ChatML."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([message["content"] for message in EXAMPLES] * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
    )


@lru_cache
def tiny_model(seed: int = 0) -> Any:
    """A random Llama with grouped attention heads, wide enough weights for its choices to depend on the prompt."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tiny_tokenizer()) + 12,  # more rows than tokens, as padded vocabularies have
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.4,
    )
    model = LlamaForCausalLM(config).eval()
    # Random weights hardly ever end a word or an item; with this they write phrases, of random words.
    lean = torch.zeros(config.vocab_size)
    for token in range(len(tiny_tokenizer())):
        piece = tiny_tokenizer().decode([token])
        lean[token] = 6.0 if piece == "," else 4.0 if piece[:1] == " " and len(piece) > 3 else 0.0
    model.lm_head.register_forward_hook(lambda module, args, logits: logits + lean)
    return model


def request(key: str, *titles: str, similar: Sequence[str] = ()) -> ProfileRequest:
    """A request for the profile of a user with these titles."""
    message = user_message([ItemLine(title, ("drama",)) for title in titles], [ItemLine(title) for title in similar])
    return ProfileRequest(key, EXAMPLES, (message,))


class WordEngine:
    """Writes a well-formed profile that depends on the prompt alone; counts what it was asked for."""

    def __init__(self, generator: str = "words", malformed: Sequence[str] = ()) -> None:
        self.generator = generator
        self.malformed = set(malformed)
        self.asked: list[ProfileRequest] = []

    def generate(self, requests: Sequence[ProfileRequest]) -> list[GeneratedProfile]:
        self.asked += requests
        return [self._one(request) for request in requests]

    def _one(self, request: ProfileRequest) -> GeneratedProfile:
        if request.key in self.malformed:
            return GeneratedProfile("User identity: night owl; User interests:", 10, 4)
        content = request.messages[-1]["content"]
        digest = hashlib.sha256(content.encode()).hexdigest()
        word = "".join(chr(ord("a") + int(digit, 16)) for digit in digest[:8])
        fans = ["night owl", "early bird", "map reader", "tea drinker"][: request.size - 1]
        tales = ["long walks", "old maps", "late trains", "cold lakes"][: request.size - 1]
        identities, interests = ", ".join([f"{word} fan", *fans]), ", ".join([f"{word} tales", *tales])
        return GeneratedProfile(f"User identity: {identities}; User interests: {interests}", len(content), 20)
