"""What the stages that run on transformers' `Trainer` share: options, checkpoints, going on after an interruption."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from .arguments import StageArguments
from .models import autocast, on_cpu
from .outputs import CHECKPOINTS, claim, last_checkpoint

logger = logging.getLogger(__name__)


def shared_options(args: StageArguments) -> dict[str, Any]:
    """Options of `TrainingArguments` that all stages set alike; those of `args.trainer` go over them."""
    return {
        "output_dir": str(Path(args.output) / CHECKPOINTS),
        "num_train_epochs": args.epochs,
        "max_steps": args.max_steps,
        "per_device_train_batch_size": args.batch_size,
        "per_device_eval_batch_size": args.batch_size,
        "gradient_accumulation_steps": args.gradient_accumulation,
        "learning_rate": args.learning_rate,
        "warmup_steps": args.warmup_steps,
        "lr_scheduler_type": args.schedule,
        "logging_steps": args.logging_steps,
        "save_steps": args.save_steps,
        "save_total_limit": 2,
        "seed": args.seed,
        "data_seed": args.seed,
        "use_cpu": on_cpu(args),
        "bf16": autocast(args),
        "gradient_checkpointing": args.gradient_checkpointing,
        "report_to": [],
        "disable_tqdm": True,  # `show_progress` shows less
    }


def claim_on_main(folder: Path, stage: str, args: StageArguments, inputs: Mapping[str, str]) -> bool:
    """Make the folder this run's (see `claim`) and clear it of torn checkpoints; one process does, the others wait.

    Returns:
        Whether this is the process that writes.
    """
    from accelerate import PartialState

    state = PartialState(cpu=on_cpu(args))
    if state.is_main_process:
        claim(folder, stage, args, inputs)
        _drop_torn_checkpoints(folder)
    state.wait_for_everyone()
    return bool(state.is_main_process)


def _drop_torn_checkpoints(folder: Path) -> None:
    """Remove checkpoints that were being written when the run was killed: the trainer's state comes last."""
    from transformers.trainer_callback import TrainerState
    from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

    for place in (folder / CHECKPOINTS).glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        try:
            TrainerState.load_from_json(str(place / "trainer_state.json"))
        except (OSError, ValueError, TypeError):
            logger.warning("%s was not finished; it is removed", place.name)
            shutil.rmtree(place)


def train_to_end(trainer: Any, folder: Path) -> None:
    """Train, from the last checkpoint where there is one."""
    from transformers.trainer_callback import TrainerState

    checkpoint = last_checkpoint(folder)
    if checkpoint is not None:
        logger.info("going on from %s", Path(checkpoint).name)
        state = TrainerState.load_from_json(str(Path(checkpoint) / "trainer_state.json"))
        if state.global_step >= state.max_steps:
            # It was stopped behind its last step; the trainer would take one more.
            trainer.model.load_adapter(checkpoint, trainer.model.active_adapter, is_trainable=True)
            trainer.state = state
            return
    trainer.train(resume_from_checkpoint=checkpoint)


def without_hub_lookups(model: Any) -> None:
    """Keep PEFT from asking the Hub, at every checkpoint, whether embeddings must be saved: they were not touched."""
    model.save_pretrained = partial(model.save_pretrained, save_embedding_layers=False)
