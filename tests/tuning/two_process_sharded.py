"""What each process of a launch runs: a model is divided by torch's FSDP2, and `whole_model` puts it together again.

On a CPU accelerate leaves FSDP out in silence, so the model is divided here, and the trainer told that it is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from reclm_hf.tuning.trainers import whole_model, without_hub_lookups
from tests.profiler.models import adapted, base_model, logits, tokenizer


def main(folder: Path) -> None:
    """The main process writes what it found to `sharded.json`."""
    import datasets
    from accelerate import Accelerator
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from trl import SFTConfig, SFTTrainer

    model = adapted()
    wanted = logits(model)
    row = {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "You."}]}
    trainer: Any = SFTTrainer(
        model=model,
        args=SFTConfig(output_dir=str(folder / "checkpoints"), use_cpu=True, bf16=False, report_to=[]),
        processing_class=tokenizer(),
        train_dataset=datasets.Dataset.from_list([row] * 4),
    )
    without_hub_lookups(trainer.model)
    mesh = init_device_mesh("cpu", (2,))
    for layer in trainer.model.base_model.model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(trainer.model, mesh=mesh)
    trainer.is_fsdp_enabled = True
    trainer.accelerator.state.fsdp_plugin = SimpleNamespace(state_dict_type="FULL_STATE_DICT")
    Accelerator.is_fsdp2 = property(lambda self: True)
    divided = {type(weight).__name__ for weight in trainer.model.parameters()}
    whole = whole_model(trainer, base_model)
    if trainer.is_world_process_zero():
        kinds = {type(weight).__name__ for weight in whole.parameters()}
        found = {
            "divided": sorted(divided),
            "whole": sorted(kinds),
            "equal": bool(torch.equal(logits(whole.eval()), wanted)),
            "changed": not torch.equal(logits(base_model()), wanted),
        }
        (folder / "sharded.json").write_text(json.dumps(found), encoding="utf-8")
    trainer.accelerator.wait_for_everyone()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
