"""How likely one of two answers is, read from a model's logits instead of from what it writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

    from ..profiles.prompts import Message
    from .processing_reclm_profiler import RecLMProfilerProcessor


def first_answer_probabilities(
    model: Any,
    processor: RecLMProfilerProcessor,
    chats: Sequence[Sequence[Message]],
    answers: tuple[str, str],
    *,
    batch_size: int = 8,
    progress: bool = False,
) -> np.ndarray:
    """float64 [n]: the probability of the first of two answers to each chat, the two together making 1.

    The softmax is over the logits of the two answers' first tokens. Where these are the same token (" Yes" and " No"
    may both begin with a blank of its own), it is over the log-probabilities of the whole answers, end marks included.

    Args:
        chats: messages that end with the user's question.

    Raises:
        ValueError: the two answers are the same, or a chat is longer than the model can read.
    """
    from tqdm.auto import tqdm

    if answers[0] == answers[1]:
        raise ValueError(f"the two answers are the same ({answers[0]!r})")
    pairs = [AnswerPair.of(processor, chat, answers) for chat in chats]
    limit = getattr(model.config, "max_position_embeddings", None)
    for number, pair in enumerate(pairs):
        if limit is not None and pair.length > limit:
            raise ValueError(f"chat {number} has {pair.length} tokens, the model reads {limit}: show fewer items")
    found = np.empty(len(pairs))
    with tqdm(total=len(pairs), desc="answers", unit="answer", disable=not progress) as bar:
        for same_start, score in ((False, _first_tokens), (True, _whole_answers)):
            rows = [number for number, pair in enumerate(pairs) if pair.same_start == same_start]
            # Chats of one length together: little is padded.
            rows.sort(key=lambda number: (pairs[number].length, number))
            for start in range(0, len(rows), batch_size):
                batch = rows[start : start + batch_size]
                scores = score(model, [pairs[row] for row in batch])
                found[batch] = scores.double().softmax(1)[:, 0].cpu().numpy()
                bar.update(len(batch))
    return found


class AnswerPair:
    """A chat up to where two answers part, and what each goes on with.

    Attributes:
        shared: tokens of the chat, and of the beginning that the answers have in common.
        rests: the remaining tokens of each answer, end marks included.
        same_start: whether the answers begin with the same token.
    """

    def __init__(self, shared: list[int], rests: tuple[list[int], list[int]], same_start: bool) -> None:
        self.shared = shared
        self.rests = rests
        self.same_start = same_start
        self.length = len(shared) + max(map(len, rests))

    @classmethod
    def of(cls, processor: RecLMProfilerProcessor, chat: Sequence[Message], answers: tuple[str, str]) -> AnswerPair:
        first, second = (
            processor.encode([*chat, {"role": "assistant", "content": answer}], reply=False) for answer in answers
        )
        both = min(len(first), len(second))
        part = next((place for place in range(both) if first[place] != second[place]), both)
        if part == both:
            raise ValueError(f"the answers {answers[0]!r} and {answers[1]!r} cannot be told apart by their tokens")
        asked = len(processor.encode(chat))
        return cls(first[:part], (first[part:], second[part:]), part > asked)


def _first_tokens(model: Any, batch: Sequence[AnswerPair]) -> torch.Tensor:
    """[B, 2] logits of the two tokens by which the answers part."""
    import torch

    logits = _logits(model, [pair.shared for pair in batch], keep=1)[:, -1]
    tokens = torch.tensor([[rest[0] for rest in pair.rests] for pair in batch], device=logits.device)
    return logits.gather(1, tokens)


def _whole_answers(model: Any, batch: Sequence[AnswerPair]) -> torch.Tensor:
    """[B, 2] log-probabilities of the two answers from where they part to their ends."""
    import torch

    rests = [rest for pair in batch for rest in pair.rests]
    texts = [pair.shared + rest for pair in batch for rest in pair.rests]
    width = max(map(len, rests))
    logits = _logits(model, texts, keep=width + 1)[:, :-1].log_softmax(-1)  # of the last `width` tokens
    sums = [
        logits[row, width - len(rest) :].gather(1, torch.tensor(rest, device=logits.device)[:, None]).sum()
        for row, rest in enumerate(rests)
    ]
    return torch.stack(sums).reshape(-1, 2)


def _logits(model: Any, texts: Sequence[Sequence[int]], keep: int) -> torch.Tensor:
    """float32 [B, keep, V] logits after the last `keep` tokens of texts that are padded on the left."""
    import torch

    width = max(map(len, texts))
    ids = torch.zeros((len(texts), width), dtype=torch.long)
    mask = torch.zeros((len(texts), width), dtype=torch.long)
    for row, text in enumerate(texts):
        ids[row, width - len(text) :] = torch.tensor(list(text))
        mask[row, width - len(text) :] = 1
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    with torch.inference_mode():
        out = model(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            position_ids=positions.to(model.device),
            use_cache=False,
            logits_to_keep=keep,
        )
    logits: torch.Tensor = out.logits.float()
    return logits
