"""Refinement without a critic, by TRL's RLOO (Ahmadian et al. 2024) or GRPO (Shao et al. 2024) trainer.

Several replies are drawn to every prompt; each is held against the others of its group. Two traps of TRL are avoided.
Its prompt sampler shuffles with a state that checkpoints do not hold, so the rows are put in order here, as many as the
run draws. And its KL is a mean over tokens, while `kl_limit` is in nats a reply, as in PPO.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import RefineArguments
from ..models import TrainingParts, lora_config
from ..outputs import CHECKPOINTS, Stopwatch
from ..progress import show_progress
from ..rewards.model import RewardModel, encode_chat
from ..rewards.verifiable import Completion, reply_text
from ..trainers import is_divided, made_config, shared_options, train_to_end, without_hub_lookups
from .alarms import PolicyResult, Watch, alarms

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase, TrainerCallback

    from ...profiles.prompts import Message
    from .refine import Prompts

RewardFunction = Callable[..., list[float]]

FIRST_KL = 1e-3
"""Nats a token that the policy may be away from its reference before it has learnt anything: rounding."""


class ModelReward:
    """A reward model as TRL calls a reward function: by its own tokenizer and template, at the reply's end token."""

    __name__ = "reward_model"

    def __init__(self, scorer: RewardModel, batch_size: int = 8) -> None:
        self.scorer = scorer
        self.batch_size = batch_size

    def __call__(
        self, prompts: Sequence[list[Message]], completions: Sequence[Completion], **others: Any
    ) -> list[float]:
        """What `RewardModel.score` gives n replies to n prompts."""
        replies = [reply_text(completion) for completion in completions]
        scores = self.scorer.score(prompts, replies, batch_size=self.batch_size)
        return [float(score) for score in scores]


class MissingEnd:
    """What a reply costs that does not end: it was cut, however good its beginning reads."""

    __name__ = "missing_end"

    def __init__(self, penalty: float, ends: Collection[int]) -> None:
        self.penalty = penalty
        self.ends = frozenset(ends)

    def __call__(self, completion_ids: Sequence[Sequence[int]], **others: Any) -> list[float]:
        """0 for replies whose last token ends them, the negative penalty for others."""
        return [0.0 if len(ids) and ids[-1] in self.ends else -self.penalty for ids in completion_ids]


def refine_group(
    args: RefineArguments,
    parts: TrainingParts,
    prompts: Prompts,
    rewards: Sequence[RewardFunction | RewardModel],
    watch: Watch | None,
    folder: Path,
    progress: bool = True,
    stopwatch: Stopwatch | None = None,
) -> PolicyResult:
    """Refine a model on prompts by groups of replies (`args.algorithm`: rloo or grpo).

    The policy is the model with a fresh adapter, the reference the same with the adapter switched off: the KL penalty
    holds it to exactly the model that it began as, which is checked at the first step. An interrupted run goes on from
    the last checkpoint in `folder` as if it had not been.

    Args:
        args: `batch_size` counts replies; with `gradient_accumulation` it is a multiple of `num_generations`.
            `episodes` are replies in all, rounded up to whole steps.
        parts: the model is changed in place. rewards: reward models and TRL's reward functions, which get the column
            `user_id`; of two, `args.reward_weights` says what they count.
        watch: asked by the alarms. stopwatch: notes the cost with each checkpoint.

    Raises:
        ValueError: settings that do not fit each other, a chat template whose replies do not end with the tokenizer's
            end token, or a reference that is not the model at the start.
    """
    import trl
    from transformers import set_seed

    require_end_token(parts.tokenizer)
    config = _config(args, len(rewards), folder)
    functions: list[Any] = [
        ModelReward(_on_device(reward, config.device), args.batch_size) if isinstance(reward, RewardModel) else reward
        for reward in rewards
    ]
    set_seed(args.seed)  # TRL draws the adapter's weights before it sets the seed
    alarm: Any = alarms(args, watch, parts.tokenizer, folder / CHECKPOINTS)
    trainer = {"rloo": trl.RLOOTrainer, "grpo": trl.GRPOTrainer}[args.algorithm](
        model=parts.model,
        reward_funcs=[*functions, MissingEnd(args.missing_eos_penalty, [parts.tokenizer.eos_token_id])],
        args=config,
        train_dataset=_rows(args, prompts, config),
        processing_class=parts.tokenizer,
        peft_config=lora_config(args),
        callbacks=[_kl_of_replies(), alarm],
    )
    if is_divided(trainer):
        raise ValueError(
            f"algorithm={args.algorithm!r} holds all weights in every process: launch it without FSDP and DeepSpeed."
        )
    without_hub_lookups(trainer.model)
    show_progress(trainer, args.algorithm, progress, ("reward", "kl"))
    train_to_end(trainer, folder, stopwatch)
    model = trainer.accelerator.unwrap_model(trainer.model)
    alarm.finish(model)
    return PolicyResult(model, list(trainer.state.log_history), alarm.stopped_by)


def _config(args: RefineArguments, n_rewards: int, folder: Path) -> Any:
    import trl

    options: dict[str, Any] = {
        **shared_options(args),
        "output_dir": str(folder / CHECKPOINTS),
        "num_train_epochs": 1,
        "num_generations": args.num_generations,
        "max_completion_length": args.response_length,
        "temperature": args.temperature,
        "beta": args.kl_coef,
        "reward_weights": [*(args.weights if n_rewards > 1 else [1.0]), 1.0],
        "shuffle_dataset": False,
        "logging_first_step": True,  # where the KL must be 0
        "logging_steps": 1,  # the alarms read every update
        **args.trainer,
    }
    options.pop("per_device_eval_batch_size")  # must hold whole groups, and nothing is evaluated
    kind = {"rloo": trl.RLOOConfig, "grpo": trl.GRPOConfig}[args.algorithm]
    try:
        return made_config(kind, options)
    except ValueError as error:
        raise ValueError(
            f"{args.algorithm} with batch_size={args.batch_size} replies, "
            f"gradient_accumulation={args.gradient_accumulation} and num_generations={args.num_generations}: {error} "
            "A step must hold whole groups of two replies or more."
        ) from error


def _rows(args: RefineArguments, prompts: Prompts, config: Any) -> datasets.Dataset:
    """As many prompts as the run draws replies to, pass by pass, each pass in an order of its own."""
    import datasets

    drawn = config.generation_batch_size  # replies drawn together, over all processes
    if args.max_steps > 0:
        uses = config.steps_per_generation * config.num_iterations / config.gradient_accumulation_steps
        batches = math.ceil(args.max_steps / uses)
    else:
        batches = math.ceil(args.episodes / drawn)
    wanted = batches * drawn // args.num_generations
    rng = np.random.default_rng(args.seed)
    passes = [rng.permutation(len(prompts.users)) for _ in range(math.ceil(wanted / len(prompts.users)))]
    rows = np.concatenate(passes)[:wanted].tolist()
    return datasets.Dataset.from_dict(
        {"prompt": [prompts.messages[row] for row in rows], "user_id": [prompts.users[row] for row in rows]}
    )


def _kl_of_replies() -> TrainerCallback:
    """A callback that logs the KL of a reply (the token's becomes `kl_per_token`) and checks it at the first step."""
    from transformers import TrainerCallback

    class KlOfReplies(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            entry = state.log_history[-1]
            if "kl" not in entry:
                return
            per_token = entry["kl_per_token"] = entry["kl"]
            entry["kl"] = per_token * entry["completions/mean_length"]
            if state.global_step == 1:
                require_reference(per_token)

    return KlOfReplies()


def require_reference(kl_per_token: float) -> None:
    """Raises ValueError where the KL at the first step says that the reference is another model than the start."""
    if not abs(kl_per_token) <= FIRST_KL:  # a KL that is not a number is refused too
        raise ValueError(
            f"the KL to the reference is {kl_per_token:.3g} nats a token before anything was learnt: the penalty would "
            "hold the policy to another model than it began as. Start from a whole model (merge its adapter first)."
        )


def require_end_token(tokenizer: PreTrainedTokenizerBase) -> None:
    """Check that a reply ends, by the chat template, with the token that generation stops at.

    Raises:
        ValueError: it does not: every reply would be cut at its limit.
    """
    question: list[Message] = [{"role": "user", "content": "One, two?"}]
    before = encode_chat(tokenizer, question, reply=True)
    whole = encode_chat(tokenizer, [*question, {"role": "assistant", "content": "Three."}])
    if tokenizer.eos_token_id not in whole[len(before) :]:
        raise ValueError(
            f"the chat template does not end replies with {tokenizer.eos_token!r}, where generation stops: set the "
            "tokenizer's eos_token to the token that ends a turn and save it with the model."
        )


def _on_device(reward: RewardModel, device: Any) -> RewardModel:
    reward.model.to(device)
    return reward
