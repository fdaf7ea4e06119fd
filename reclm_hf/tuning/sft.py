"""Supervised tuning on instructions (RecLM section 2.3, eq. 3-4; variants of section 6.4), by TRL's `SFTTrainer`."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..profiler.modeling_reclm_profiler import RecLMProfiler
from ..profiles.dialogues import persons_part
from .arguments import SftArguments
from .chat_templates import reply_frame, training_template
from .inputs import draw_rows, excluded_users, held_out, read_instructions, resolve_variant
from .labels import check_labels, replies_to_learn, require_fitting
from .models import TrainingParts, load_for_training, lora_config
from .outputs import CHECKPOINTS, Stopwatch, finished, stage_inputs, stage_manifest, training_log
from .progress import quiet_libraries, show_progress
from .recipes import write_recipe
from .trainers import (
    claim_on_main,
    for_main,
    made_config,
    shared_options,
    train_to_end,
    whole_model,
    without_hub_lookups,
)

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
    inputs = stage_inputs(args, instructions=args.instructions)
    done = finished(folder, STAGE, args, inputs)
    if done is not None:
        logger.info("%s is finished already", folder)
        return for_main(args, done)
    with quiet_libraries():
        return for_main(args, _train(args, inputs, folder, progress))


def _train(args: SftArguments, inputs: dict[str, str], folder: Path, progress: bool) -> dict[str, Any]:
    watch = Stopwatch(folder)
    table = read_instructions(args.instructions, args.variant)
    variant = resolve_variant(table, args.variant, args.instructions)
    train, judged, left_out = _rows(table, args)
    parts = load_for_training(args)
    inputs = {**inputs, "model": parts.label}
    template = training_template(parts.tokenizer)
    for rows in (train, judged):
        require_fitting(rows, parts.tokenizer, template, args.max_tokens, args.instructions)
    claim_on_main(folder, STAGE, args, inputs)
    trainer, learnt = _trainer(args, parts, train, judged, variant, template, progress)
    train_to_end(trainer, folder, watch)
    after = _loss(trainer)
    seen = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    model = whole_model(trainer, lambda: load_for_training(args).model)
    if not trainer.is_world_process_zero():
        return {}
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    figures = {
        "variant": variant,
        "rows": len(train),
        "rows_held_out": len(judged),
        # Their own chats are not learnt, but chats of similar people may tell their profiles: that flatters the loss.
        "held_out_profiles": len(_profiles(judged)),
        "held_out_profiles_told": len(_profiles(judged) & set().union(*_told(train))),
        "rows_left_out": left_out,
        "tokens_learnt": learnt,
        "tokens_read": int(trainer.state.num_input_tokens_seen),
        "steps": int(trainer.state.global_step),
        "loss_first": logged[0]["loss"] if logged else None,
        "loss_last": logged[-1]["loss"] if logged else None,
        "held_out_loss_before": seen[0] if seen else None,
        "held_out_loss_after": after,
    }
    _save(model, parts, args, variant, folder)
    training_log(folder, trainer.state.log_history)
    write_recipe(args, folder)
    manifest = stage_manifest(folder, STAGE, args, inputs, figures, watch.cost())
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return manifest


def _rows(table: pd.DataFrame, args: SftArguments) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Rows to train on, rows of held-out users, and how many were left out because of their users."""
    excluded = excluded_users(args)
    kept = table[~table["user_id"].astype(str).isin(excluded)].reset_index(drop=True)
    _warn_of_profiles(table, kept, args)
    if not len(kept):
        raise ValueError(f"{args.instructions}: without_users leaves no row.")
    judged = held_out(kept["user_id"].tolist(), args.holdout, args.seed)
    if judged.all():
        raise ValueError(
            f"holdout={args.holdout}: every user of {args.instructions} is held out; give a smaller share."
        )
    train = draw_rows(kept[~judged].reset_index(drop=True), args.max_rows, args.seed)
    return train, kept[judged].reset_index(drop=True), len(table) - len(kept)


def _warn_of_profiles(table: pd.DataFrame, kept: pd.DataFrame, args: SftArguments) -> None:
    """Say so when rows teach the profile of somebody who is left out, who is similar to the person of the row."""
    left_out = _profiles(table[~table["user_id"].isin(set(kept["user_id"]))])
    told = sum(not left_out.isdisjoint(profiles) for profiles in _told(kept))
    if told:
        logger.warning(
            "%s: %d of %d chats tell the profile of a user of without_users as that of a similar person. Build the "
            "table with --without-users too, and it is learnt nowhere.",
            args.instructions,
            told,
            len(kept),
        )


def _profiles(table: pd.DataFrame) -> set[str]:
    """The profiles of the persons whom rows are about."""
    return {persons_part(replies_to_learn(chat, "mask")[0]) for chat in table["messages"]}


def _told(table: pd.DataFrame) -> list[set[str]]:
    """The profiles that each row tells of similar people."""
    lines = (replies_to_learn(chat, "mask")[0].splitlines()[1:] for chat in table["messages"])
    return [{line.partition(": ")[2] for line in chat} for chat in lines]


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
    options = {
        **shared_options(args),
        "max_length": args.max_tokens,
        "assistant_only_loss": True,
        "completion_only_loss": variant != "mask",
        "include_num_input_tokens_seen": True,
        # By the trainer itself: looked at before, the model would not be shared between processes.
        "eval_on_start": len(judged) > 0,
        **args.trainer,
    }
    trainer = SFTTrainer(
        model=parts.model,
        args=made_config(SFTConfig, options),
        processing_class=tokenizer,
        train_dataset=_as_dataset(train, variant),
        eval_dataset=_as_dataset(judged, variant) if len(judged) else None,
        peft_config=lora_config(args),
    )
    without_hub_lookups(trainer.model)
    show_progress(trainer, "tuning", progress)
    tokenizer.chat_template = own_template  # what is saved is what the model came with
    frame = reply_frame(tokenizer, template)
    learnt = 0
    made: Any
    for rows, made in ((train, trainer.train_dataset), (judged, trainer.eval_dataset)):
        if made is not None:
            batches: Any = [trainer.data_collator([row]) for row in made]
            count = check_labels(rows, batches, tokenizer, variant, frame, args.instructions)
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


def _save(model: Any, parts: TrainingParts, args: SftArguments, variant: str, folder: Path) -> None:
    config = replace(parts.config, form=FORMS[variant], max_tokens=args.max_tokens)
    profiler = RecLMProfiler(model, parts.tokenizer, config)
    profiler.save_pretrained(folder, merge=parts.was_adapter)
