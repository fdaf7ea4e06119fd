"""A tiny chat model that speaks in nine tokens, prompts for it, and a reward that is planted in the first of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reclm_hf.profiler.configuration_reclm_profiler import RecLMProfilerConfig
from reclm_hf.tuning.arguments import RefineArguments
from reclm_hf.tuning.chat_templates import training_template, without_trailing_newline
from reclm_hf.tuning.models import TrainingParts, with_score_head
from reclm_hf.tuning.policies.refine import Prompts
from reclm_hf.tuning.rewards.configuration import RewardModelConfig
from reclm_hf.tuning.rewards.model import RewardModel
from tests.profiler.models import base_model, tokenizer

WORDS = 8


def word_ids() -> list[int]:
    """Tokens that begin a word; the first is the one that is rewarded."""
    own = tokenizer()
    pieces = {token: own.decode([token]) for token in range(len(own))}
    return [token for token, piece in pieces.items() if piece[:1] == " " and piece[1:].isalpha()][:WORDS]


def parts(end: float = 1.0, target: float = -0.5, seed: int = 0) -> TrainingParts:
    """A model whose head is biased to eight tokens and the end token, all else being out of reach.

    Args:
        end, target: the bias of the end token and of the rewarded token beside the others' 0.
    """
    import torch

    model, own = base_model(seed), tokenizer()
    lean = torch.full((model.config.vocab_size,), -30.0)
    lean[word_ids()] = 0.0
    lean[word_ids()[0]] = target
    lean[own.eos_token_id] = end
    model.lm_head.register_forward_hook(lambda module, args, logits: 0.5 * logits + lean)
    model.config.pad_token_id = own.pad_token_id
    return TrainingParts(model, own, RecLMProfilerConfig("somebody/tiny-chat"), "somebody/tiny-chat", False)


def prompts(count: int = 12) -> Prompts:
    """Short chats of different lengths."""
    chats = [[{"role": "user", "content": "What" + " live jazz" * (1 + number % 4) + "?"}] for number in range(count)]
    return Prompts([f"u{number}" for number in range(count)], chats)  # type: ignore[arg-type]


def settings(folder: Path, **changes: Any) -> RefineArguments:
    """RLOO on the CPU, in float32 throughout."""
    usual: dict[str, Any] = {
        "model": "somebody/tiny-chat",
        "output": str(folder),
        "preferences": "planted",
        "algorithm": "rloo",
        "reward": "verifiable",
        "autocast": False,
        "use_cpu": True,
        "lora_rank": 8,
        "lora_targets": "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj",
        "learning_rate": 1e-2,
        "schedule": "constant",
        "response_length": 12,
        "temperature": 1.0,
        "kl_coef": 0.1,
        "kl_limit": 100.0,
        "batch_size": 32,
        "num_generations": 8,
        "episodes": 32 * 24,
        "save_steps": 1000,
    }
    return RefineArguments(**{**usual, **changes})


class Planted:
    """1 for replies that begin with the rewarded token, else 0; shuffled across the rows of a batch if asked."""

    def __init__(self, shuffled: bool = False) -> None:
        self.target = word_ids()[0]
        self.shuffled = shuffled
        self.rng = np.random.default_rng(0)
        self.shares: list[float] = []
        self.lengths: list[int] = []

    def __call__(self, completion_ids: Sequence[Sequence[int]], **others: Any) -> list[float]:
        found = np.array([float(ids[0] == self.target) for ids in completion_ids])
        self.shares.append(found.mean())
        self.lengths += map(len, completion_ids)
        return list(self.rng.permutation(found) if self.shuffled else found)


def share(model: Any) -> float:
    """The probability that a reply begins with the rewarded token, over all prompts."""
    import torch

    own, found = tokenizer(), []
    for ids in prompts().token_ids(own):
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
        found.append(float(logits.softmax(-1)[word_ids()[0]]))
    return float(np.mean(found))


def reward_model(seed: int = 5, accuracy: float = 0.9) -> RewardModel:
    """A reward model with a random head."""
    own, model = tokenizer(), with_score_head(base_model(seed), seed)
    own.chat_template = without_trailing_newline(training_template(own))
    model.config.pad_token_id = own.pad_token_id
    config = RewardModelConfig("somebody/tiny-chat", layout="merged", accuracy=accuracy, pairs=10)
    return RewardModel(model, own, config)
