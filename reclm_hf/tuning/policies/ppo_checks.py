"""What is checked while PPO runs: that nothing is learned from a wrong reference, a wrong score or a wrong length."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .alarms import MEAN_LENGTH, UNFINISHED

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from ..rewards.model import RewardModel

logger = logging.getLogger(__name__)

NEVER = -1e4
"""Logit of a token that is never drawn: no share in float32 or bfloat16, and finite after every division."""
KL_AT_START = 1e-3
KL_AT_START_BFLOAT16 = 0.5
_USUAL_LENGTH = 64


def kl_bound(half: bool, length: int = _USUAL_LENGTH) -> float:
    """How far from 0 the KL of the first update may be, in nats a reply of at most `length` tokens.

    Policy and reference are the same weights then; the KL is what differs between drawing token by token from a cache
    and reading the reply at once. In float32 that is some 1e-5 (SmolLM2-135M). bfloat16 has 8 bits: logits near 20 are
    off by up to 0.06, which makes 0.15 for replies of 30 tokens there. Longer replies add up more. That the adapter
    changes nothing is checked bit by bit besides (`require_same_start`), so this bound may be wide.
    """
    return (KL_AT_START_BFLOAT16 if half else KL_AT_START) * max(1.0, length / _USUAL_LENGTH)


def require_first_kl(kl: float, half: bool, length: int = _USUAL_LENGTH) -> None:
    """Refuse a KL at the first update that is not about 0.

    Raises:
        ValueError: the reference is not the model that the policy began as.
    """
    bound = kl_bound(half, length)
    if not abs(kl) < bound:
        raise ValueError(
            f"the KL at the first update is {kl:.4g} nats a reply, not within {bound:g} of 0: the reference is not the "
            "model that the policy begins as, or the two are sampled and read differently. Pass the merged SFT model "
            "without adapter and without changes to its generation."
        )


def require_same_start(policy: Any, ids: torch.Tensor, pad: int) -> None:
    """Refuse a policy whose fresh adapter changes anything: with it and without, logits must be equal bit by bit.

    Args:
        policy: a PEFT model. ids: int64 [B, L], padded by `pad`.

    Raises:
        ValueError: they differ.
    """
    import torch

    training = policy.training
    policy.eval()
    try:
        with torch.no_grad():
            mask = (ids != pad).long()
            given = policy(input_ids=ids, attention_mask=mask).logits
            with policy.disable_adapter():
                bare = policy(input_ids=ids, attention_mask=mask).logits
    finally:
        policy.train(training)
    if not torch.equal(given, bare):
        raise ValueError("the policy is not equal to its reference before the first update: its adapter is not fresh.")


def require_tokens(tokenizer: PreTrainedTokenizerBase, reward: RewardModel) -> None:
    """Refuse a tokenizer that pads with its end token, and a reward model that reads tokens otherwise than the policy.

    Raises:
        ValueError: says which.
    """
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    if pad is None or pad == end:
        raise ValueError(
            f"the padding token ({tokenizer.pad_token!r}) must not be the end token ({tokenizer.eos_token!r}): what "
            "equals it is taken for padding everywhere. Set tokenizer.pad_token (`models.set_padding`)."
        )
    if reward.tokenizer.get_vocab() != tokenizer.get_vocab():
        raise ValueError(
            "the reward model has another vocabulary than the policy: it is given the policy's tokens. Train one on "
            "the same base model (`reclm reward --model ...`)."
        )
    chat: Any = [{"role": "user", "content": "One, two?"}]
    texts = [
        part.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        for part in (tokenizer, reward.tokenizer)
    ]
    if texts[0] != texts[1]:
        raise ValueError(
            f"the reward model was trained on prompts that read {texts[1]!r}, the policy's read {texts[0]!r}: train "
            "one on the same base model (`reclm reward --model ...`)."
        )


@contextmanager
def never_drawn(model: Any, tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
    """Let a model draw neither the padding token nor rows without a token, while it is sampled and trained alike.

    A padding token inside a reply would be taken for the reply's end. Logits become float32 by the way, so that
    sampling, reading and training take their logarithms in one precision.
    """
    first_free = max(tokenizer.get_vocab().values()) + 1
    pad = tokenizer.pad_token_id

    def restrict(module: Any, given: Any, output: Any) -> Any:
        logits = output.logits.float()
        logits[..., pad] = NEVER
        logits[..., first_free:] = NEVER
        output.logits = logits
        return output

    hook = model.register_forward_hook(restrict)
    try:
        yield
    finally:
        hook.remove()


class Rollouts:
    """What the reward model is given, looked at: TRL reads the score at the last token before the padding.

    Args:
        pad, end: token ids.
    """

    def __init__(self, pad: int, end: int) -> None:
        self.pad, self.end = pad, end
        self.width = 0
        """Tokens of the padded prompts of the current update."""
        self._lengths: list[int] = []
        self._unfinished: list[bool] = []

    @contextmanager
    def watching(self, model: Any) -> Iterator[None]:
        """Look at every call of a reward model's body."""
        body = getattr(model, model.base_model_prefix)
        hook = body.register_forward_pre_hook(self._look, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    def _look(self, module: Any, args: Any, given: Mapping[str, Any]) -> None:
        ids, mask = given["input_ids"], given["attention_mask"]
        lengths, unfinished = require_end_tokens(ids, mask, self.width, self.end)
        self._lengths += lengths
        self._unfinished += unfinished

    def figures(self) -> dict[str, float]:
        """Mean length (tokens, end token included) and share without end token since the last call."""
        if not self._lengths:
            return {}
        found = {
            MEAN_LENGTH: sum(self._lengths) / len(self._lengths),
            UNFINISHED: sum(self._unfinished) / len(self._unfinished),
        }
        self._lengths, self._unfinished = [], []
        return found


def require_end_tokens(
    ids: torch.Tensor, mask: torch.Tensor, width: int, end: int
) -> tuple[Sequence[int], Sequence[bool]]:
    """Length of each reply, and whether it has no end token; refuses a batch that would be scored elsewhere.

    Args:
        ids: int64 [B, L] prompts padded on the left to `width`, replies padded on the right. mask: bool [B, L].

    Raises:
        ValueError: padding inside a chat, a reply that goes on behind its end token, or one that ends without it.
    """
    import torch

    mask = mask.bool()
    places = torch.arange(ids.shape[1], device=ids.device)
    last = torch.where(mask, places, -1).amax(1)
    first = torch.where(mask, places, ids.shape[1]).amin(1)
    ends = mask & (ids == end) & (places >= width)
    whole = mask.sum(1) == last - first + 1
    finished = ends.any(1)
    ends_last = ends.sum(1).le(1) & ends.gather(1, last.clamp_min(0)[:, None])[:, 0]
    proper = whole & torch.where(finished, ends_last, last == ids.shape[1] - 1)
    if not bool(proper.all()):
        row = int((~proper).nonzero()[0, 0])
        raise ValueError(
            f"reply {row} of a rollout would not be scored at its end token: scored at {int(last[row])}, end tokens at "
            f"{ends[row].nonzero()[:, 0].tolist()}, its chat begins at {int(first[row])} with "
            f"{int(mask[row].sum())} tokens. The padding token must be no token of a chat."
        )
    return (last + 1 - width).tolist(), (~finished).tolist()
