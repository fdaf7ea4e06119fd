"""What the stages that run on transformers' `Trainer` share: options, checkpoints, going on after an interruption."""

from __future__ import annotations

import inspect
import logging
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..profiler.files import ADAPTER_WEIGHTS
from .arguments import StageArguments
from .models import autocast, on_cpu
from .outputs import CHECKPOINTS, Stopwatch, claim, last_checkpoint

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
        "ddp_find_unused_parameters": False,  # all of an adapter is used; to look for what is not costs time
        "disable_tqdm": True,  # `show_progress` shows less
    }


def made_config(kind: type, options: Mapping[str, Any]) -> Any:
    """The configuration of a trainer of TRL.

    Raises:
        ValueError: an option that it does not know, which can only be one of `trainer:` in a recipe.
    """
    unknown = sorted(set(options) - set(inspect.signature(kind).parameters))
    if unknown:
        raise ValueError(
            f"trainer: {kind.__name__} of TRL has no option {', '.join(unknown)}; remove it, or move it to the left "
            "where it is a setting of the stage."
        )
    return kind(**options)


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


def wait_for_all(args: StageArguments) -> bool:
    """Wait until every process is here; whether this is the one that writes."""
    from accelerate import PartialState

    state = PartialState(cpu=on_cpu(args))
    state.wait_for_everyone()
    return bool(state.is_main_process)


def for_main(args: StageArguments, manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest for the main process, an empty one for others; none goes on with what is not written yet."""
    return manifest if wait_for_all(args) else {}


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


def train_to_end(trainer: Any, folder: Path, stopwatch: Stopwatch | None = None) -> None:
    """Train, from the last checkpoint where there is one; `stopwatch` notes the cost with each new one."""
    from transformers.trainer_callback import TrainerState

    if stopwatch is not None:
        trainer.add_callback(_cost_keeper(stopwatch))

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


def _cost_keeper(stopwatch: Stopwatch) -> Any:
    from transformers import TrainerCallback

    class CostKeeper(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.is_world_process_zero:
                stopwatch.keep()

    return CostKeeper()


def is_divided(trainer: Any) -> bool:
    """Whether the weights are divided between processes, so that none of them holds a tensor as a whole."""
    return bool(trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)


def whole_model(trainer: Any, load: Callable[[], Any]) -> Any:
    """The trained model, without what processes are coordinated by. All processes ask for it; it is the main one's.

    Of divided weights (FSDP, DeepSpeed) the trainer gathers the adapter and writes it, and the main process puts it on
    a model that is loaded anew. This was run with torch's FSDP2 on two CPU processes, on GPUs and with DeepSpeed not.

    Args:
        load: the model as it was handed to the trainer.

    Raises:
        ValueError: the trainer was told to save divided weights only.
    """
    from peft import get_peft_model

    model = trainer.accelerator.unwrap_model(trainer.model)
    if not is_divided(trainer):
        return model
    place = Path(trainer.args.output_dir) / "whole"
    trainer.save_model(str(place))
    trainer.accelerator.wait_for_everyone()
    if not trainer.is_world_process_zero():
        return model
    if not (place / ADAPTER_WEIGHTS).is_file():
        raise ValueError(
            "the weights stayed divided: set `state_dict_type: FULL_STATE_DICT` (FSDP) or "
            "`stage3_gather_16bit_weights_on_model_save: true` (DeepSpeed). The checkpoints are kept."
        )
    fresh = get_peft_model(load(), model.peft_config[model.active_adapter], model.active_adapter)
    fresh.load_adapter(str(place), model.active_adapter)
    return fresh


def without_hub_lookups(model: Any) -> None:
    """Keep PEFT from asking the Hub, at every checkpoint, whether embeddings must be saved: they were not touched."""
    model.save_pretrained = partial(model.save_pretrained, save_embedding_layers=False)
