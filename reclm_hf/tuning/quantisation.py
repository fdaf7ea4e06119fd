"""Frozen weights in 4 bits (QLoRA, Dettmers et al. 2023): what transformers is told, and what must be there."""

from __future__ import annotations

from importlib import util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig

    from .arguments import ModelArguments

NF4_BYTES = 0.5 + 0.127 / 8
"""Bytes of a weight in NF4 with doubly quantised scales: 4 bits and 0.127 bits of scales (QLoRA, section 3)."""

_WAY_OUT = "leave load_in_4bit out; dtype: bfloat16 with gradient_checkpointing: true is the next smallest"


def quantisation_config(args: ModelArguments) -> BitsAndBytesConfig:
    """NF4 weights with doubly quantised scales, multiplied in bfloat16.

    Raises:
        ImportError: bitsandbytes is not installed. ValueError: no CUDA device, the CPU was asked for, or the weights
            are sharded over processes, which bitsandbytes' storage is not made for. Both name the way out.
    """
    import torch

    if args.use_cpu or not torch.cuda.is_available():
        reason = "use_cpu is set" if args.use_cpu else "there is no CUDA device"
        raise ValueError(f"load_in_4bit needs a GPU, and {reason}: {_WAY_OUT}.")
    trainer: Any = getattr(args, "trainer", {})
    if trainer.get("fsdp"):
        raise ValueError(f"load_in_4bit does not go with trainer: fsdp: {_WAY_OUT}, or use one GPU.")
    if util.find_spec("bitsandbytes") is None:
        raise ImportError(f"load_in_4bit needs bitsandbytes: pip install bitsandbytes, or {_WAY_OUT}.")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
