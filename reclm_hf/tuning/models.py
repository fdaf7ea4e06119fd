"""A chat model to train: whole, padded by a token that ends nothing, with the settings of its adapter."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..profiler.configuration_reclm_profiler import RecLMProfilerConfig, current_prompts
from ..profiler.files import fetch
from ..profiler.loading import load_parts
from ..profiler.weights import is_adapted
from .arguments import ModelArguments
from .quantisation import quantisation_config

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

PAD_CANDIDATES = (
    "<|endoftext|>",
    "<pad>",
    "[PAD]",
    "<|finetune_right_pad_id|>",
    "<|pad|>",
    "<unk>",
    "<|reserved_special_token_0|>",
)
"""Tokens to pad with where a tokenizer names none but its end token, the first that it has."""


@dataclass(frozen=True)
class TrainingParts:
    """What a stage trains.

    Attributes:
        model: a whole model without adapter. tokenizer: with the chat template that it came with.
        config: names the model as the base of the adapter to come. label: model and origin, for people.
        was_adapter: an adapter was merged into the weights, in memory only: no adapter can name them as its base.
    """

    model: Any
    tokenizer: PreTrainedTokenizerBase
    config: RecLMProfilerConfig
    label: str
    was_adapter: bool


def load_for_training(args: ModelArguments, *, head: Literal["causal", "score"] = "causal") -> TrainingParts:
    """Load a chat model, a merged profiler, or an adapter profiler (merged in memory).

    Args:
        head: "score" puts a fresh scalar head on the same weights, drawn by `args.seed`.

    Raises:
        OSError, ValueError: as `RecLMProfiler.from_pretrained`; ValueError for a tokenizer with nothing to pad with.
    """
    if args.load_in_4bit:
        quantisation_config(args)  # refused before anything is loaded
    parts = load_parts(args.model, args.revision, args.dtype, None, trainable=False)
    model, was_adapter = parts.model, is_adapted(parts.model)
    if was_adapter:
        model = model.merge_and_unload()
    if args.load_in_4bit:
        model = _in_4bit(args, was_adapter)
    set_padding(parts.tokenizer)
    if head == "score":
        model = with_score_head(model, getattr(args, "seed", 0))
    for settings in (model.config, getattr(model, "generation_config", None)):
        if settings is not None:
            settings.pad_token_id = parts.tokenizer.pad_token_id
    from_hub = parts.found.revision if parts.found.bundle is None else None
    name = str(Path(args.model).expanduser().resolve()) if Path(args.model).expanduser().is_dir() else args.model
    label = parts.found.label if parts.found.revision is not None else Path(parts.found.path).resolve().name
    config = replace(
        parts.config,
        base_model=name,
        base_revision=from_hub,
        base_label=label,
        prompts=current_prompts(),
        layout="merged",
    )
    return TrainingParts(model, parts.tokenizer, config, label, was_adapter)


def _in_4bit(args: ModelArguments, was_adapter: bool) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    if was_adapter:
        raise ValueError(f"load_in_4bit: {args.model} is an adapter; save it merged first, then tune the merged model.")
    path = fetch(args.model, args.revision).path
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        path, quantization_config=quantisation_config(args), use_safetensors=True, trust_remote_code=False
    )
    return model


def set_padding(tokenizer: PreTrainedTokenizerBase) -> None:
    """Give a tokenizer a padding token that is not its end token: trainers take `ids != pad` for what is text.

    Raises:
        ValueError: it has no such token.
    """
    known = tokenizer.get_vocab()
    if tokenizer.pad_token is not None and tokenizer.pad_token_id != tokenizer.eos_token_id:
        return
    for token in PAD_CANDIDATES:
        if token in known and known[token] != tokenizer.eos_token_id:
            tokenizer.pad_token = token
            return
    raise ValueError(
        f"the tokenizer of {tokenizer.name_or_path or 'this model'} has nothing to pad with but its end token: set "
        "tokenizer.pad_token to another one of its tokens and save it"
    )


def with_score_head(model: Any, seed: int) -> PreTrainedModel:
    """The body of a causal model under a scalar head (`score`, no bias) with weights drawn by the seed."""
    import torch
    from transformers import AutoModelForSequenceClassification

    settings = type(model.config).from_dict(model.config.to_dict())
    settings.num_labels = 1
    scored: Any = AutoModelForSequenceClassification.from_config(settings, dtype=model.dtype)
    prefix = model.base_model_prefix
    getattr(scored, scored.base_model_prefix).load_state_dict(getattr(model, prefix).state_dict())
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        weight = scored.score.weight
        fresh = torch.empty(weight.shape).normal_(0.0, weight.shape[1] ** -0.5, generator=drawn)
        weight.copy_(fresh)
    scored.name_or_path = model.name_or_path
    found: PreTrainedModel = scored
    return found


def lora_config(args: ModelArguments, task_type: str = "CAUSAL_LM") -> LoraConfig:
    """The adapter to train."""
    from peft import LoraConfig

    return LoraConfig(
        r=args.lora_rank,
        lora_alpha=args.lora_alpha,
        lora_dropout=args.lora_dropout,
        target_modules=args.targets,
        task_type=task_type,
        bias="none",
    )


def on_cpu(args: ModelArguments) -> bool:
    """Whether to leave a GPU alone, or there is none."""
    import torch

    return not torch.cuda.is_available() if args.use_cpu is None else args.use_cpu


def autocast(args: ModelArguments) -> bool:
    """Whether float32 weights are multiplied in bfloat16."""
    from ..profiles.engine_transformers import fast_dtype

    if args.dtype == "bfloat16":
        return True
    return (not on_cpu(args) or fast_dtype() == "bfloat16") if args.autocast is None else args.autocast
