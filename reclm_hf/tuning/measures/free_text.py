"""What a model writes when nothing forces the format: greedy decoding of whole replies.

Forced slots make any model's profile well-formed. Whether a model has learned the format shows only without them, and
this is also how a refined policy writes while it is rewarded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from ...profiles.dialogues import persons_part
from ...profiles.engines import ProfileRequest
from ...profiles.prompts import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Request: TypeAlias = "ProfileRequest | Sequence[Message]"
MAX_NEW_TOKENS = 80
"""A profile of 3+3 takes 30 to 60 tokens; what needs more runs on."""


def request_messages(request: Request) -> list[Message]:
    """The chat of a request, which ends with the user's turn."""
    whole = [*request.examples, *request.messages] if isinstance(request, ProfileRequest) else request
    return [{"role": message["role"], "content": message["content"]} for message in whole]


def write_free(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    batch_size: int = 8,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> list[str]:
    """The reply to every request, decoded greedily up to the model's end token; edges stripped.

    Nothing is put into the model's mouth. Of the reply to a dialogue's first turn, which a model may begin with "The
    person:" and go on with similar people, the part about the person is taken (`persons_part`).

    The model's own sampling settings (temperature, repetition penalty) are not used: they would hide what is compared.
    A model in training is put back into training afterwards, with its gradient checkpointing untouched.

    Args:
        model: a causal language model, plain or with an adapter. tokenizer: its tokenizer; neither its padding side nor
            its padding token matters, since padding is masked by place.
        requests: chats, or profile requests in any form.
        max_new_tokens: what is longer is cut.
    """
    import torch

    ends = _end_tokens(model, tokenizer)
    prompts = [_prompt(tokenizer, request) for request in requests]
    # Long ones first, prompts of one length together: little is padded, and too much memory shows at once.
    order = sorted(range(len(prompts)), key=lambda row: (-len(prompts[row]), row))
    texts = [""] * len(prompts)
    training = model.training
    model.eval()
    try:
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            width = len(prompts[rows[0]])
            ids = torch.tensor([[ends[0]] * (width - len(prompts[row])) + prompts[row] for row in rows])
            mask = torch.tensor([[0] * (width - len(prompts[row])) + [1] * len(prompts[row]) for row in rows])
            with torch.no_grad():  # no inference mode: a model in training may keep tensors that are made here
                out = model.generate(
                    input_ids=ids.to(model.device),
                    attention_mask=mask.to(model.device),
                    generation_config=_greedy(max_new_tokens, ends),
                )
            for row, tokens in zip(rows, out[:, width:].tolist(), strict=True):
                text = _until_end(tokenizer, tokens, ends)
                texts[row] = persons_part(text) if _may_name_people(requests[row]) else text
    finally:
        model.train(training)
    return texts


def _greedy(max_new_tokens: int, ends: list[int]) -> Any:
    from transformers import GenerationConfig

    # What a configuration leaves open is filled from the model's own, so everything that changes a reply is named.
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        temperature=1.0,
        top_p=1.0,
        top_k=50,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        eos_token_id=ends,
        pad_token_id=ends[0],
        use_cache=True,
    )


def _may_name_people(request: Request) -> bool:
    return bool(request.begin) if isinstance(request, ProfileRequest) else True


def _end_tokens(model: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids that end a reply: the tokenizer's end token and those that the model's settings name."""
    named = getattr(model.generation_config, "eos_token_id", None)
    ids = {tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])} - {None}
    if not ids:
        raise ValueError("neither the tokenizer nor the model names an end token: set tokenizer.eos_token.")
    return sorted(int(token) for token in ids)


def _prompt(tokenizer: PreTrainedTokenizerBase, request: Request) -> list[int]:
    text = tokenizer.apply_chat_template(request_messages(request), tokenize=False, add_generation_prompt=True)  # type: ignore[arg-type]
    return list(tokenizer.encode(str(text), add_special_tokens=False))


def _until_end(tokenizer: PreTrainedTokenizerBase, tokens: list[int], ends: list[int]) -> str:
    stop = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
    return str(tokenizer.decode(tokens[:stop], skip_special_tokens=True)).strip()
