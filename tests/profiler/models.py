"""A chat model of a few thousand random weights, a LoRA adapter that changes it, and both on disk."""

from __future__ import annotations

import copy
from functools import lru_cache
from pathlib import Path
from typing import Any

from reclm_hf.profiler.configuration_reclm_profiler import RecLMProfilerConfig
from reclm_hf.profiler.modeling_reclm_profiler import RecLMProfiler
from tests.profiles.tiny import tiny_model, tiny_tokenizer

BASE = "somebody/tiny-chat"
COMMIT = "c" * 40


@lru_cache
def _random_llama(seed: int, extra_rows: int, hidden: int) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    settings = tiny_model().config.to_dict()
    settings |= {"vocab_size": settings["vocab_size"] + extra_rows, "hidden_size": hidden, "head_dim": hidden // 4}
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**settings)).eval()


def base_model(seed: int = 0, *, extra_rows: int = 0, hidden: int = 32) -> Any:
    """A fresh random Llama like `tiny_model`, but with nothing hooked on: it is what its files say."""
    return copy.deepcopy(_random_llama(seed, extra_rows, hidden))


def tokenizer() -> Any:
    """A tokenizer of the test's own, so that nobody else's is changed."""
    return copy.deepcopy(tiny_tokenizer())


def adapted(seed: int = 1, adapter: str = "default", **options: Any) -> Any:
    """The base model with a LoRA adapter whose weights are all random, large enough to matter."""
    import torch
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(base_model(**options), lora, adapter_name=adapter)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.1)
    return model.eval()


def save_base(folder: Path, **options: Any) -> Path:
    """The base model and its tokenizer as an ordinary model folder."""
    base_model(**options).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def profiler(base: str = BASE, **options: Any) -> RecLMProfiler:
    """A profiler with an adapter, in memory."""
    return RecLMProfiler(adapted(**options), tokenizer(), RecLMProfilerConfig(base))


def lean_towards_words(model: Any) -> None:
    """Let a random Llama end words and items now and then, as `tiny_model` does: its profiles come out well-formed."""
    import torch

    lean = torch.zeros(model.config.vocab_size)
    for token in range(len(tiny_tokenizer())):
        piece = tiny_tokenizer().decode([token])
        lean[token] = 6.0 if piece == "," else 4.0 if piece[:1] == " " and len(piece) > 3 else 0.0
    model.lm_head.register_forward_hook(lambda module, args, logits: logits + lean)


def logits(model: Any) -> Any:
    """float32 [2, 12, V] of a model on fixed token ids."""
    import torch

    ids = torch.arange(24).reshape(2, 12) * 17 % 400 + 3
    with torch.inference_mode():
        return model(input_ids=ids).logits.float()
