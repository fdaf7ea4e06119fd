"""Supervised tuning on instructions (RecLM section 2.3, eq. 3-4; variants of section 6.4), by TRL's `SFTTrainer`."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..profiler.modeling_reclm_profiler import RecLMProfiler
from .arguments import SftArguments
from .chat_templates import end_token_ids, training_template
from .inputs import draw_rows, excluded_users, held_out, read_instructions, resolve_variant
from .labels import check_labels, require_fitting
from .models import TrainingParts, autocast, load_for_training, lora_config, on_cpu
from .outputs import (
    CHECKPOINTS,
    Stopwatch,
    claim,
    finished,
    input_digest,
    last_checkpoint,
    stage_manifest,
    training_log,
)
from .progress import quiet_libraries, show_progress
from .recipes import write_recipe

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    from trl import SFTTrainer

logger = logging.getLogger(__name__)

STAGE = "sft"
FORMS = {"mask": "dialogue", "naive": "dialogue", "distill": "own"}
"""In which form a profiler is asked that was tuned on a variant; see `reclm_hf.profiles.forms`."""


def train_sft(args: SftArguments, progress: bool = True) -> dict[str, Any]:
    """Tune a chat model on a table of instructions, and write a profiler (an adapter on it) to `args.output`.

    Before the first step the labels of every row are decoded and compared with its replies. An interrupted run goes on
    from its last checkpoint when the same call is made again; a finished one returns at once.

    Returns:
        The manifest: `figures` holds rows, tokens learnt, steps, the loss at the start and the end, and on held-out
        users before and after.

    Raises:
        TableError: chats that do not fit, or of which something else than the replies would be learnt; names the row.
        ValueError, OSError: settings, models and folders that cannot be used.
    """
    folder = Path(args.output)
    done = finished(folder, STAGE, args)
    if done is not None:
        logger.info("%s is finished already", folder)
        return done
    with quiet_libraries():
        return _train(args, folder, progress)


def _train(args: SftArguments, folder: Path, progress: bool) -> dict[str, Any]:
    watch = Stopwatch()
    table = read_instructions(args.instructions, args.variant)
    variant = resolve_variant(table, args.variant, args.instructions)
    train, judged, left_out = _rows(table, args)
    inputs = {"instructions": input_digest(args.instructions)}
    parts = load_for_training(args)
    inputs["model"] = parts.label
    template = training_template(parts.tokenizer)
    for rows in (train, judged):
        require_fitting(rows, parts.tokenizer, template, args.max_tokens, args.instructions)
    _claim_on_main(folder, args, inputs)
    trainer, learnt = _trainer(args, parts, train, judged, variant, template, progress)
    before = _loss(trainer)
    result = trainer.train(resume_from_checkpoint=last_checkpoint(folder))
    after = _loss(trainer)
    if not trainer.is_world_process_zero():
        return {}
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    figures = {
        "variant": variant,
        "rows": len(train),
        "rows_held_out": len(judged),
        "rows_left_out": left_out,
        "tokens_learnt": learnt,
        "tokens_read": int(trainer.state.num_input_tokens_seen),
        "steps": int(trainer.state.global_step),
        "loss_first": logged[0]["loss"] if logged else None,
        "loss_last": logged[-1]["loss"] if logged else None,
        "loss_mean": float(result.training_loss),
        "held_out_loss_before": before,
        "held_out_loss_after": after,
    }
    _save(trainer, parts, args, variant, folder)
    training_log(folder, trainer.state.log_history)
    write_recipe(args, folder)
    manifest = stage_manifest(folder, STAGE, args, inputs, figures, watch.cost())
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return manifest


def _rows(table: pd.DataFrame, args: SftArguments) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Rows to train on, rows of held-out users, and how many were left out because of their users."""
    excluded = excluded_users(args)
    kept = table[~table["user_id"].isin(excluded)].reset_index(drop=True)
    if not len(kept):
        raise ValueError(f"{args.instructions}: without_users leaves no row.")
    judged = held_out(kept["user_id"].tolist(), args.holdout, args.seed)
    if judged.all():
        raise ValueError(
            f"holdout={args.holdout}: every user of {args.instructions} is held out; give a smaller share."
        )
    train = draw_rows(kept[~judged].reset_index(drop=True), args.max_rows, args.seed)
    return train, kept[judged].reset_index(drop=True), len(table) - len(kept)


def _claim_on_main(folder: Path, args: SftArguments, inputs: dict[str, str]) -> None:
    """One process writes; the others wait until it has."""
    from accelerate import PartialState

    state = PartialState(cpu=on_cpu(args))
    if state.is_main_process:
        claim(folder, STAGE, args, inputs)
    state.wait_for_everyone()


def _trainer(
    args: SftArguments,
    parts: TrainingParts,
    train: pd.DataFrame,
    judged: pd.DataFrame,
    variant: str,
    template: str,
    progress: bool,
) -> tuple[SFTTrainer, int]:
    """The trainer, and how many tokens it learns; every row is checked before it is handed out."""
    from transformers import set_seed
    from trl import SFTConfig, SFTTrainer

    set_seed(args.seed)  # the trainer draws the adapter's weights before it sets the seed itself
    tokenizer = parts.tokenizer
    own_template = tokenizer.chat_template
    tokenizer.chat_template = template
    options: dict[str, Any] = {
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
        "max_length": args.max_tokens,
        "assistant_only_loss": True,
        "completion_only_loss": variant != "mask",
        "include_num_input_tokens_seen": True,
        "report_to": [],
        "disable_tqdm": True,
        **args.trainer,
    }
    trainer = SFTTrainer(
        model=parts.model,
        args=SFTConfig(**options),
        processing_class=tokenizer,
        train_dataset=_as_dataset(train, variant),
        eval_dataset=_as_dataset(judged, variant) if len(judged) else None,
        peft_config=lora_config(args),
    )
    show_progress(trainer, "tuning", progress)
    tokenizer.chat_template = own_template  # what is saved is what the model came with
    ends = end_token_ids(tokenizer)
    learnt = 0
    made: Any
    for rows, made in ((train, trainer.train_dataset), (judged, trainer.eval_dataset)):
        if made is not None:
            batches: Any = [trainer.data_collator([row]) for row in made]
            count = check_labels(rows, batches, tokenizer, variant, ends, args.instructions)
            learnt += count if rows is train else 0
    return trainer, learnt


def _as_dataset(table: pd.DataFrame, variant: str) -> datasets.Dataset:
    """Rows as TRL wants them: whole chats where all replies count, prompt and completion where the last one does."""
    import datasets

    chats = [[{"role": m["role"], "content": m["content"]} for m in messages] for messages in table["messages"]]
    if variant == "mask":
        return datasets.Dataset.from_dict({"messages": chats})
    return datasets.Dataset.from_dict(
        {"prompt": [chat[:-1] for chat in chats], "completion": [chat[-1:] for chat in chats]}
    )


def _loss(trainer: SFTTrainer) -> float | None:
    """The mean loss on held-out users; None where nobody is."""
    if trainer.eval_dataset is None:
        return None
    return float(trainer.evaluate()["eval_loss"])


def _save(trainer: SFTTrainer, parts: TrainingParts, args: SftArguments, variant: str, folder: Path) -> None:
    model = trainer.accelerator.unwrap_model(trainer.model)
    config = replace(parts.config, form=FORMS[variant])
    profiler = RecLMProfiler(model, parts.tokenizer, config)
    profiler.save_pretrained(folder, merge=parts.was_adapter)
