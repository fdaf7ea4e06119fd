"""The reward model (RecLM section 2.4, eq. 6): which of two profiles of a user is the better, by TRL's `RewardTrainer`.

The loss is -log sigmoid(r(x, chosen) - r(x, rejected)); r is read at the reply's end token, as PPO will read it.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...profiler.files import read_json
from ..arguments import RewardArguments
from ..chat_templates import training_template, without_trailing_newline
from ..inputs import excluded_users, held_out, read_preferences
from ..models import TrainingParts, load_for_training, lora_config
from ..outputs import CHECKPOINTS, Stopwatch, finished, stage_inputs, stage_manifest, training_log
from ..progress import quiet_libraries, show_progress
from ..recipes import write_recipe
from ..trainers import (
    claim_on_main,
    for_main,
    made_config,
    shared_options,
    train_to_end,
    whole_model,
    without_hub_lookups,
)
from .configuration import RewardModelConfig
from .files import AdapterParts, merge
from .model import RewardModel, assert_score_position
from .pairs import Pairs, accuracy_figures, encode_pairs, without_rejected

if TYPE_CHECKING:
    from trl import RewardTrainer

logger = logging.getLogger(__name__)

STAGE = "reward"


def train_reward(args: RewardArguments, progress: bool = True) -> dict[str, Any]:
    """Train a reward model on preference pairs, and write it to `args.output` (see `RewardModel`).

    Before the first step every pair is looked at as token ids, and where scores are read is checked. An interrupted
    run goes on from its last checkpoint when the same call is made again; a finished one returns at once.

    An adapter is written where the model has a name on the Hub; where the model is a folder, or an adapter that was
    merged in memory, a whole model is: no other place could name what the adapter belongs on.

    Returns:
        The manifest: `figures` holds the accuracy on held-out users with its interval, over all and by kind
        (`accuracy_by_kind`), pairs, steps and losses.

    Raises:
        TableError: pairs that cannot be scored as they are; names the row.
        ValueError, OSError: settings, models and folders that cannot be used.
    """
    folder = Path(args.output)
    inputs = stage_inputs(args, preferences=args.preferences)
    done = finished(folder, STAGE, args, inputs)
    if done is not None:
        logger.info("%s is finished already", folder)
        return for_main(args, done)
    if args.load_in_4bit:
        raise ValueError("load_in_4bit: a reward model is trained on bfloat16 or float32 weights; use dtype=bfloat16.")
    with quiet_libraries():
        return for_main(args, _train(args, inputs, folder, progress))


def _train(args: RewardArguments, inputs: dict[str, str], folder: Path, progress: bool) -> dict[str, Any]:
    watch = Stopwatch(folder)
    table, left_out = without_rejected(read_preferences(args.preferences), excluded_users(args))
    parts = load_for_training(args, head="score")
    parts.tokenizer.chat_template = without_trailing_newline(training_template(parts.tokenizer))
    assert_score_position(parts.model, parts.tokenizer)
    pairs, unfit = encode_pairs(table, parts.tokenizer, args.max_tokens, args.preferences)
    train, judged = _divide(pairs, args)
    inputs = {**inputs, "model": parts.label}
    claim_on_main(folder, STAGE, args, inputs)
    trainer = _trainer(args, parts, train)
    show_progress(trainer, "reward model", progress)
    train_to_end(trainer, folder, watch)
    model = whole_model(trainer, lambda: load_for_training(args, head="score").model)
    if not trainer.is_world_process_zero():
        return {}
    reward, measured = _measure(model, parts, args, judged)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    figures = {
        **measured,
        "rows": len(train),
        "rows_left_out": left_out | unfit,
        "steps": int(trainer.state.global_step),
        "loss_first": losses[0] if losses else None,
        "loss_last": losses[-1] if losses else None,
    }
    reward.save_pretrained(folder)
    training_log(folder, trainer.state.log_history)
    write_recipe(args, folder)
    manifest = stage_manifest(folder, STAGE, args, inputs, figures, watch.cost())
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return manifest


def _divide(pairs: Pairs, args: RewardArguments) -> tuple[Pairs, Pairs]:
    """Pairs to train on, and those of held-out users."""
    judged = held_out(pairs.users, args.holdout, args.seed)
    rows = np.flatnonzero(~judged)
    if not len(rows):
        raise ValueError(
            f"{args.preferences}: no pair is left to train on ({len(pairs)} can be read, {int(judged.sum())} of them "
            f"are held out); raise max_tokens or lower holdout."
        )
    if args.max_rows is not None and args.max_rows < len(rows):
        rows = np.sort(np.random.default_rng(args.seed).permutation(rows)[: args.max_rows])
    if not judged.any():
        logger.warning("no user is held out: the accuracy of the reward model will not be known")
    return pairs.rows(rows), pairs.rows(np.flatnonzero(judged))


def _trainer(args: RewardArguments, parts: TrainingParts, train: Pairs) -> RewardTrainer:
    from transformers import set_seed
    from trl import RewardConfig, RewardTrainer

    set_seed(args.seed)  # the trainer draws the adapter's weights before it sets the seed itself
    options = {**shared_options(args), "max_length": args.max_tokens, **args.trainer}
    trainer = RewardTrainer(
        model=parts.model,
        args=made_config(RewardConfig, options),
        processing_class=parts.tokenizer,
        train_dataset=train.dataset(),
        peft_config=lora_config(args, "SEQ_CLS"),
    )
    without_hub_lookups(trainer.model)
    kept = len(trainer.train_dataset)  # type: ignore[arg-type]
    if kept != len(train):
        raise ValueError(
            f"the trainer leaves out {len(train) - kept} of {len(train)} pairs: `trainer: max_length` must not be "
            "below max_tokens"
        )
    return trainer


def _measure(
    adapted: Any, parts: TrainingParts, args: RewardArguments, judged: Pairs
) -> tuple[RewardModel, dict[str, Any]]:
    """What was trained, as it will be loaded, and its figures on held-out pairs."""
    named = not parts.was_adapter and not Path(args.model).expanduser().is_dir()
    adapter = AdapterParts.of(adapted) if named else None
    model = merge(adapted, args.dtype)
    model.config.pad_token_id = parts.tokenizer.pad_token_id
    assert_score_position(model, parts.tokenizer)
    config = RewardModelConfig(
        base_model=_name(args.model),
        base_revision=parts.config.base_revision if named else None,
        base_label=parts.label,
        layout="adapter" if named else "merged",
        prompt=_prompt_version(args.preferences),
    )
    reward = RewardModel(model, parts.tokenizer, config, adapter)
    scores = (reward.score_ids(side, args.batch_size) for side in (judged.chosen, judged.rejected))
    figures = accuracy_figures(judged, *scores)
    known = {name: figures[name] for name in ("accuracy", "accuracy_by_kind", "pairs")}
    reward.config = replace(config, **known)
    return reward, figures


def _name(model: str) -> str:
    """A Hub id as it is, of a folder its last part: where it lies on this machine is nobody's business."""
    path = Path(model).expanduser()
    return path.resolve().name if path.is_dir() else model


def _prompt_version(source: str) -> str | None:
    """With which prompts the pairs were written, where the file beside the table says so in one word."""
    path = Path(source).expanduser()
    beside = (path if path.is_dir() else path.parent) / "preferences.json"
    said = read_json(beside).get("prompt_version") if beside.is_file() else None
    return str(said[0]) if isinstance(said, list) and len(said) == 1 else None
