"""A few real steps of LoRA on a random Llama in a process of its own, and what they held; see `test_plan.py`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SIZES = {
    "vocab_size": 8192,
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "tie_word_embeddings": True,
}
ROWS, LENGTH = 4, 384


def main() -> None:
    """Print the bytes held at the peak, less those before the model was made."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    checkpointing, dtype = sys.argv[1] == "checkpointing", getattr(torch, sys.argv[2])
    torch.set_num_threads(1)

    def made(**changes: int) -> Any:
        torch.set_default_dtype(dtype)
        plain: Any = LlamaForCausalLM(LlamaConfig(**SIZES | changes))
        torch.set_default_dtype(torch.float32)
        lora = LoraConfig(r=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
        model = get_peft_model(plain, lora)
        if checkpointing:
            model.gradient_checkpointing_enable()
            model.enable_input_require_grads()
        return model

    _step(made(num_hidden_layers=1, hidden_size=64, intermediate_size=64), 40)  # loads what libraries load when used
    before = _status("VmRSS")
    _step(made(), LENGTH)
    print(json.dumps({"held": _status("VmHWM") - before}))


def _step(model: Any, length: int) -> None:
    import torch

    model.train()
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-4)
    for seed in range(2):
        ids = torch.randint(0, 8000, (ROWS, length), generator=torch.Generator().manual_seed(seed))
        # As TRL's chunked loss does it: logits of the labelled tokens only, fewer than a chunk here.
        labels = ids.clone()
        labels[:, : length - 32] = -100
        body = model.get_base_model().model
        hidden = body(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)[0]
        chosen = labels[:, 1:] != -100
        logits = model.get_output_embeddings()(hidden[:, :-1][chosen]).float()
        torch.nn.functional.cross_entropy(logits, labels[:, 1:][chosen]).backward()
        optimizer.step()
        optimizer.zero_grad()


def _status(name: str) -> int:
    """A figure of /proc/self/status in bytes: of this process alone, whatever its parent held."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


if __name__ == "__main__":
    main()
