"""A tiny policy whose replies end, tiny reward models, and one that rewards replies by their first token."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from reclm_hf.profiler.configuration_reclm_profiler import RecLMProfilerConfig
from reclm_hf.tuning.arguments import RefineArguments
from reclm_hf.tuning.models import TrainingParts, with_score_head
from tests.profiler.models import base_model, tokenizer

LENGTH = 6
HEADER = 4  # tokens of "<|im_start|>assistant\n" behind its first, counted by `header_length`


@dataclass
class Chats:
    """What `refine.Prompts` is: users and their chats."""

    users: list[str]
    messages: list[list[Any]]

    def token_ids(self, tokenizer: Any) -> list[list[int]]:
        texts = [
            tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in self.messages
        ]
        return [tokenizer.encode(text, add_special_tokens=False) for text in texts]


def chats(n: int = 10) -> Chats:
    """Prompts of several lengths."""
    asked = [f"{'old maps, ' * (k % 3)}user {k}?" for k in range(n)]
    return Chats([f"u{k}" for k in range(n)], [[{"role": "user", "content": text}] for text in asked])


def arguments(folder: Path, **given: Any) -> RefineArguments:
    """Settings of a run of seconds."""
    settings: dict[str, Any] = {
        "output": str(folder), "preferences": "planted", "reward_model": "planted", "autocast": False, "use_cpu": True,
        "batch_size": 4, "rollout_batch_size": 4, "episodes": 12, "response_length": LENGTH, "learning_rate": 1e-3,
        "temperature": 1.0, "ppo_epochs": 2, "lora_rank": 4, "save_steps": 1, "alarm_every": 2,
    }  # fmt: skip
    return RefineArguments(**{**settings, **given})


def policy(first: dict[int, float] | None = None, end: float = 0.0, seed: int = 0, flat: float = 1.0) -> TrainingParts:
    """A random Llama that leans towards tokens and towards ending.

    Args:
        first: token -> what is added to its logit; end: the same for the end token. flat: its own logits times this.
    """
    import torch

    model, own = base_model(seed), tokenizer()
    lean = torch.zeros(model.config.vocab_size)
    for token, more in (first or {}).items():
        lean[token] = more
    lean[own.eos_token_id] = end
    model.lm_head.register_forward_hook(lambda module, given, logits: flat * logits + lean)
    model.config.pad_token_id = own.pad_token_id
    return TrainingParts(model, own, RecLMProfilerConfig("somebody/tiny"), "tiny", False)


def reward(seed: int = 5) -> Any:
    """A reward model with a random head: module and tokenizer."""
    own = tokenizer()
    model = with_score_head(base_model(seed), seed).eval()
    model.config.pad_token_id = own.pad_token_id
    return SimpleNamespace(model=model, tokenizer=own)


def planted(token: int, shuffled: bool = False, seed: int = 5) -> Any:
    """A reward model that gives 1 to replies that begin with a token, else 0.

    With `shuffled` each reply gets what another of its batch earned: as many rewards, for nothing.
    """
    import torch
    from torch import nn

    found = reward(seed)
    end = found.tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False)

    class Body(nn.Module):
        """A Llama whose last hidden state says in its first channel how the reply began, from there on."""

        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, input_ids: Any, **given: Any) -> Any:
            output = self.inner(input_ids=input_ids, **given)
            places = torch.arange(input_ids.shape[1]).expand_as(input_ids)
            opened = torch.where(input_ids == end[0], places, -1).amax(1, keepdim=True)
            at = (opened + len(end)).clamp_max(input_ids.shape[1] - 1)
            begins = (input_ids.gather(1, at) == token).float()
            if shuffled:
                begins = begins.roll(1, 0)
            hidden = output.hidden_states[-1].clone()
            hidden[..., 0] = torch.where(places >= at, begins, 0.0)
            output.hidden_states = (*output.hidden_states[:-1], hidden)
            return output

    found.model.model = Body(found.model.model)
    with torch.no_grad():
        found.model.score.weight.zero_()
        found.model.score.weight[0, 0] = 1.0
    return found


def shares(parts: TrainingParts, model: Any, token: int, n: int = 200) -> tuple[float, float]:
    """Of n drawn replies: how many begin with a token, and how many end before the limit."""
    import torch

    ids = torch.tensor([chats(1).token_ids(parts.tokenizer)[0]] * n)
    torch.manual_seed(99)
    with torch.no_grad():
        drawn = model.eval().generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
            max_new_tokens=LENGTH, eos_token_id=parts.tokenizer.eos_token_id, pad_token_id=parts.tokenizer.pad_token_id,
        )  # fmt: skip
    replies = drawn[:, ids.shape[1] :]
    ended = (replies == parts.tokenizer.eos_token_id).any(1)
    return float((replies[:, 0] == token).float().mean()), float(ended.float().mean())
