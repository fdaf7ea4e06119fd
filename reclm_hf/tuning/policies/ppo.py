"""Refinement by PPO (RecLM eq. 7-8): the reward model's score less a KL penalty to the SFT model.

TRL's experimental PPOTrainer does the learning; it is in TRL up to 1.12 only. What it lacks is put around it: batches
that are a function of the update, states to go on from, stopping, and checks of what it takes for granted.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..models import TrainingParts, autocast, lora_config, on_cpu
from ..outputs import CHECKPOINTS, Stopwatch
from ..progress import show_progress
from ..trainers import made_config
from . import ppo_state
from .alarms import KL, REWARD, PolicyResult, Watch, alarms, policy_of
from .ppo_checks import Rollouts, never_drawn, require_first_kl, require_same_start, require_tokens

if TYPE_CHECKING:
    import torch
    from transformers import TrainerCallback
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    from ..arguments import RefineArguments
    from ..rewards.model import RewardModel
    from .refine import Prompts

logger = logging.getLogger(__name__)


class _StoppedError(Exception):
    """Leaves PPOTrainer.train, which does not ask whether it should stop."""


class Batches:
    """Prompts for every update from one on, without end: a function of seed and update, so that a run can go on.

    Args:
        prompts: token ids. size: replies an update. pad: token id; padding stands on the left.
        rollouts: is told how wide each batch is.
    """

    def __init__(self, prompts: Sequence[Sequence[int]], size: int, pad: int, seed: int, rollouts: Rollouts) -> None:
        self.prompts, self.size, self.pad, self.seed = prompts, size, pad, seed
        self.rollouts = rollouts
        self.done = 0
        """Updates that lie behind."""

    def rows(self, update: int) -> list[int]:
        """Prompts of an update, counted from 0; every epoch has its own order, and updates run across epochs."""
        n = len(self.prompts)
        drawn = range(update * self.size, (update + 1) * self.size)
        orders = {epoch: np.random.default_rng([self.seed, epoch]).permutation(n) for epoch in {k // n for k in drawn}}
        return [int(orders[k // n][k % n]) for k in drawn]

    def batch(self, update: int) -> dict[str, torch.Tensor]:
        """int64 [size, L] `input_ids`."""
        import torch

        chosen = [list(self.prompts[row]) for row in self.rows(update)]
        width = max(map(len, chosen))
        return {"input_ids": torch.tensor([[self.pad] * (width - len(row)) + row for row in chosen])}

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        while True:
            batch = self.batch(self.done)
            self.done += 1
            self.rollouts.width = batch["input_ids"].shape[1]
            yield batch


def refine_ppo(
    args: RefineArguments,
    parts: TrainingParts,
    prompts: Prompts,
    reward: RewardModel,
    watch: Watch | None,
    folder: Path,
    progress: bool = True,
    stopwatch: Stopwatch | None = None,
) -> PolicyResult:
    """Refine a whole model by PPO; a run that was killed goes on from `folder`/checkpoints and ends the same.

    The policy is the model with a fresh adapter; the reference is the same model with the adapter off.

    Args:
        parts: the merged SFT model. prompts: what is answered. reward: scores replies. watch: for the hacking alarm.
        stopwatch: notes the cost with each state that is written.

    Raises:
        ValueError: settings, tokens or prompts that PPO would go wrong with; a KL that does not begin at 0.
    """
    from accelerate import PartialState
    from transformers import GenerationConfig, set_seed

    if PartialState().num_processes > 1:
        raise ValueError("algorithm='ppo' runs in one process (TRL's trainer does); rloo and grpo run in several.")
    tokenizer, model, states = parts.tokenizer, parts.model, folder / CHECKPOINTS
    require_tokens(tokenizer, reward)
    ids = _prompt_ids(args, parts, prompts)
    set_seed(args.seed)
    tokenizer.padding_side = "left"
    sampling = model.generation_config
    # Nothing but the temperature shapes the draws: with a top-p or repetition penalty of the model's own, the
    # probabilities of what was drawn would not be the policy's.
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    rollouts = Rollouts(int(tokenizer.pad_token_id), int(tokenizer.eos_token_id))
    batches = Batches(ids, args.batch_size * args.gradient_accumulation, rollouts.pad, args.seed, rollouts)
    watching: Any = alarms(args, watch, tokenizer, states)
    trainer = _trainer(args, parts, ids, reward, folder, watching)
    try:
        with never_drawn(model, tokenizer), rollouts.watching(reward.model):
            trainer.add_callback(_back(trainer, watching, states, args.save_steps, stopwatch))
            log = _train(trainer, args, batches, states, progress)
        policy = trainer.policy_model
        watching.finish(policy)
    finally:
        model.generation_config = sampling
    return PolicyResult(policy, log, watching.stopped_by)


def critic_from(reward_model: Any, args: RefineArguments) -> Any:
    """A value model that begins as the reward model: trained in full, or its head and an adapter in its layers.

    The adapter is put inside, not around: PPOTrainer reads body and head of the model by their names.
    """
    from peft import inject_adapter_in_model

    critic = copy.deepcopy(reward_model)
    if args.critic == "full":
        return critic.requires_grad_(True).float()
    critic.requires_grad_(False)
    # No task type: that would wrap the head (`modules_to_save`) and hide it.
    settings = lora_config(args)
    settings.task_type = None
    critic = inject_adapter_in_model(settings, critic)
    critic.score.requires_grad_(True)
    for weight in critic.parameters():
        if weight.requires_grad:  # as PEFT holds the policy's: steps are too small for bfloat16
            weight.data = weight.data.float()
    return critic


def _prompt_ids(args: RefineArguments, parts: TrainingParts, prompts: Prompts) -> list[list[int]]:
    ids = prompts.token_ids(parts.tokenizer)
    if not ids:
        raise ValueError(f"preferences={args.preferences!r} has no prompts to answer.")
    limit = getattr(parts.model.config, "max_position_embeddings", None)
    for user, row in zip(prompts.users, ids, strict=True):
        if limit is not None and len(row) + args.response_length > limit:
            raise ValueError(
                f"the prompt of user {user!r} has {len(row)} tokens; with response_length={args.response_length} it "
                f"does not fit into the {limit} of the model: lower max_prompt_tokens or response_length."
            )
    return ids


def _trainer(
    args: RefineArguments,
    parts: TrainingParts,
    ids: Sequence[Sequence[int]],
    reward: RewardModel,
    folder: Path,
    watching: TrainerCallback,
) -> PPOTrainer:
    from datasets import Dataset
    from trl.experimental.ppo import PPOTrainer

    reward.model.requires_grad_(False)
    critic = critic_from(reward.model, args)
    if args.gradient_checkpointing:  # PPOTrainer only turns it off and on again around the draws
        for trained in (parts.model, critic):
            trained.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    trainer = PPOTrainer(
        args=_settings(args, folder),
        processing_class=parts.tokenizer,
        model=parts.model,
        ref_model=None,
        reward_model=reward.model,
        value_model=critic,
        train_dataset=Dataset.from_dict({"input_ids": [list(row) for row in ids]}),
        peft_config=lora_config(args),
        callbacks=[watching],
    )
    # TRL adds up gradients over all micro batches of a rollout, however many parts it is divided into; the parts
    # would make no difference.
    trainer.accelerator.gradient_accumulation_steps = args.gradient_accumulation // args.mini_batches
    return trainer


def _settings(args: RefineArguments, folder: Path) -> PPOConfig:
    from trl.experimental.ppo import PPOConfig

    if args.gradient_accumulation % args.mini_batches:
        raise ValueError(
            f"mini_batches={args.mini_batches} must divide gradient_accumulation={args.gradient_accumulation}: a part "
            "is made of whole batches."
        )
    size = args.batch_size * args.gradient_accumulation
    given: dict[str, Any] = {
        "output_dir": str(folder / CHECKPOINTS),
        "use_cpu": on_cpu(args),
        "bf16": False,  # has no effect on PPOTrainer; see `_precision`
        "gradient_checkpointing": args.gradient_checkpointing,
        "per_device_train_batch_size": args.batch_size,
        "gradient_accumulation_steps": args.gradient_accumulation,
        "num_mini_batches": args.mini_batches,
        "num_ppo_epochs": args.ppo_epochs,
        "total_episodes": args.episodes if args.max_steps < 0 else min(args.episodes, args.max_steps * size),
        "local_rollout_forward_batch_size": min(args.rollout_batch_size, size),
        "response_length": args.response_length,
        "stop_token": "eos",
        "missing_eos_penalty": args.missing_eos_penalty,
        "temperature": args.temperature,
        "kl_coef": args.kl_coef,
        "learning_rate": args.learning_rate,
        "warmup_steps": args.warmup_steps,
        "lr_scheduler_type": args.schedule,
        "seed": args.seed,
        "num_sample_generations": 0,
        "report_to": [],
        "save_strategy": "no",
        "logging_steps": 1,
    }
    config: PPOConfig = made_config(PPOConfig, {**given, **args.trainer})
    return config


def _train(trainer: Any, args: RefineArguments, batches: Batches, states: Path, progress: bool) -> list[dict[str, Any]]:
    """Run the trainer from where `states` stands; the log, which holds that of earlier runs too."""
    total = trainer.args.num_total_batches
    found = ppo_state.latest_state(states)
    # The loop counts to this number from 1; the learning rate was laid out for the whole run before.
    trainer.args.num_total_batches = total - (int(found.name.split("-")[1]) if found else 0)
    trainer.dataloader = batches
    front = _front(trainer, batches, found, total, autocast(args))
    trainer.callback_handler.callbacks.insert(0, front)  # before the alarms: they read the log
    show_progress(trainer, "ppo", progress, (REWARD[0], KL[0]))
    with contextlib.redirect_stdout(sys.stderr), _precision(args, trainer.accelerator.device.type):
        gc.freeze()  # TRL collects garbage several times an update: not among all that is loaded
        try:
            trainer.train()
        except _StoppedError:
            trainer.callback_handler.on_train_end(trainer.args, trainer.state, trainer.control)
        finally:
            gc.unfreeze()
    log: list[dict[str, Any]] = trainer.state.log_history
    return log


def _precision(args: RefineArguments, device: str) -> contextlib.AbstractContextManager[Any]:
    """One precision for drawing, reading, scoring and learning: ratios and KL compare what each of them computes.

    Without a cache of converted weights: it would be emptied only at the end, and hold weights that have since moved.
    """
    import torch

    return torch.autocast(device, dtype=torch.bfloat16, enabled=autocast(args), cache_enabled=False)


def _front(trainer: Any, batches: Batches, found: Path | None, total: int, half: bool) -> TrainerCallback:
    """Puts back the state that PPOTrainer has set to nothing; checks a policy that begins; logs lengths of replies."""
    from transformers import TrainerCallback

    class Front(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            model = kwargs["model"]
            state.max_steps = total
            if found is None:
                start = batches.batch(0)["input_ids"].to(trainer.accelerator.device)
                require_same_start(policy_of(model), start, batches.pad)
                return
            stand = ppo_state.load_state(found, model, trainer.optimizer, trainer.lr_scheduler)
            state.global_step, state.episode = stand.update, stand.episodes
            state.log_history = list(stand.log_history)
            batches.done = stand.update

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            figures = batches.rollouts.figures()
            kwargs["logs"].update(figures)
            state.log_history[-1].update(figures)
            if state.global_step == 1:
                require_first_kl(float(kwargs["logs"][KL[0]]), half, args.response_length)

    return Front()


def _back(trainer: Any, watching: Any, states: Path, every: int, stopwatch: Stopwatch | None) -> TrainerCallback:
    """Ends the run when an alarm has asked for it; else writes the state after so many updates and after the last.

    A run that is stopped leaves no state from behind the alarm that a later one would go on from.
    """
    from transformers import TrainerCallback

    class Back(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if watching.stopped_by is not None:
                raise _StoppedError
            if state.global_step % every == 0 or state.global_step == state.max_steps:
                stand = ppo_state.Progress(state.global_step, state.episode, state.log_history)
                ppo_state.save_state(states, stand, kwargs["model"], trainer.optimizer, trainer.lr_scheduler)
                if stopwatch is not None:
                    stopwatch.keep()

    return Back()
