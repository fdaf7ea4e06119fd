"""Settings of the stages: every field is a flag of the command and a key of the YAML recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..profiles.engines import DEFAULT_MODEL

DTYPES = ("float32", "bfloat16")
VARIANTS = ("mask", "naive", "distill")
ALGORITHMS = ("ppo", "rloo", "grpo")
REWARDS = ("model", "verifiable", "mix")
CRITICS = ("lora", "full")


def _option(default: Any, text: str, **more: Any) -> Any:
    return field(default=default, metadata={"help": text, **more})


@dataclass(frozen=True)
class ModelArguments:
    """What is tuned, and how much of it (LoRA).

    Raises:
        ValueError: a field without meaning; the message begins with its name.
    """

    model: str = _option(DEFAULT_MODEL, "Hub id or folder of a chat model or of a profiler")
    revision: str | None = _option(None, "of the model on the Hub")
    dtype: str = _option("float32", "of the weights", choices=DTYPES)
    autocast: bool | None = _option(None, "multiply float32 weights in bfloat16; default: where that is faster")
    lora_rank: int = _option(8, "rank of the adapter")
    lora_alpha: int = _option(16, "its scale is alpha / rank")
    lora_dropout: float = _option(0.0, "dropped in front of the adapter while it is trained")
    lora_targets: str = _option("q_proj,v_proj", "layers that get one")
    load_in_4bit: bool = _option(False, "hold the frozen weights in 4 bits (GPU with bitsandbytes)")
    gradient_checkpointing: bool = _option(False, "compute activations twice, to hold fewer")
    use_cpu: bool | None = _option(None, "leave a GPU alone; default: where there is none")

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model is empty: name a chat model by Hub id or folder.")
        _require_one_of("dtype", self.dtype, DTYPES)
        _require_positive(self, "lora_rank", "lora_alpha")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"lora_dropout={self.lora_dropout!r}: give a share from 0 to below 1.")
        if not self.targets:
            raise ValueError("lora_targets is empty: name layers, q_proj,v_proj for instance.")

    @property
    def targets(self) -> list[str]:
        """The layers that get an adapter, by name."""
        return [name.strip() for name in self.lora_targets.split(",") if name.strip()]


@dataclass(frozen=True)
class StageArguments(ModelArguments):
    """What all stages share: where to write, how long and how fast to learn."""

    output: str = _option("", "folder to write", required=True)
    epochs: float = _option(1.0, "times through the rows")
    max_steps: int = _option(-1, "so many steps, whatever the epochs; -1: as many as the epochs take")
    batch_size: int = _option(4, "rows of a step on one device")
    gradient_accumulation: int = _option(1, "batches added up to one step")
    learning_rate: float = _option(2e-4, "at its highest")
    warmup_steps: int = _option(0, "steps that the learning rate rises over")
    schedule: str = _option("linear", "of the learning rate, by its name in transformers")
    logging_steps: int = _option(1, "steps between two lines of the log")
    save_steps: int = _option(25, "steps between two points that an interrupted run goes on from")
    seed: int = _option(0, "of the order of rows, the new weights and every draw")
    without_users: str | None = _option(None, "file with a user id a line: their rows are left out altogether")
    trainer: Mapping[str, Any] = field(
        default_factory=dict, metadata={"help": "further options of TRL, by their names"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.output:
            raise ValueError("output is empty: name a folder to write.")
        _require_positive(self, "batch_size", "gradient_accumulation", "logging_steps", "save_steps")
        if not self.learning_rate > 0 or not self.epochs > 0:
            raise ValueError(f"learning_rate={self.learning_rate!r}, epochs={self.epochs!r}: both must be above 0.")
        if self.max_steps == 0 or self.max_steps < -1:
            raise ValueError(f"max_steps={self.max_steps!r}: give 1 or more, or -1 for no limit.")
        if not isinstance(self.trainer, Mapping):
            raise ValueError(f"trainer={self.trainer!r}: give names and values.")


@dataclass(frozen=True)
class SftArguments(StageArguments):
    """Two-turn collaborative instruction tuning (RecLM eq. 3-4) and its variants (section 6.4)."""

    instructions: str = _option(
        "", "table of `reclm instructions build`: a file, its folder, or a Hub id", required=True
    )
    variant: str | None = _option(
        None, "mask: loss on both replies; naive: on the last only; distill: one turn; default: what the table says",
        choices=VARIANTS,
    )  # fmt: skip
    max_tokens: int = _option(1024, "of a whole chat; longer ones are refused, not cut")
    max_rows: int | None = _option(None, "train on a seeded draw of so many rows")
    holdout: float = _option(0.05, "share of users kept to see the loss on")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.instructions:
            raise ValueError("instructions is empty: name a table of `reclm instructions build`.")
        if self.variant is not None:
            _require_one_of("variant", self.variant, VARIANTS)
        _require_positive(self, "max_tokens")
        _require_share(self, "holdout")


@dataclass(frozen=True)
class RewardArguments(StageArguments):
    """The reward model (RecLM eq. 6)."""

    preferences: str = _option("", "table of `reclm preferences build`: a file, its folder, or a Hub id", required=True)
    max_tokens: int = _option(1024, "of a prompt with a reply; longer pairs are left out")
    max_rows: int | None = _option(None, "train on a seeded draw of so many pairs")
    holdout: float = _option(0.1, "share of users kept for the accuracy")
    learning_rate: float = _option(1e-4, "at its highest")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.preferences:
            raise ValueError("preferences is empty: name a table of `reclm preferences build`.")
        _require_positive(self, "max_tokens")
        _require_share(self, "holdout")


@dataclass(frozen=True)
class RefineArguments(StageArguments):
    """Refinement by a policy gradient under a KL penalty (RecLM eq. 7-8), or without a critic."""

    preferences: str = _option("", "table whose prompts are answered: preferences, or instructions of one turn",
                               required=True)  # fmt: skip
    algorithm: str = _option("ppo", "ppo, or without a critic rloo, grpo", choices=ALGORITHMS)
    reward_model: str | None = _option(None, "folder or Hub id of `reclm reward`")
    reward: str = _option("model", "what is rewarded: by the model, by what can be verified, or both", choices=REWARDS)
    reward_weights: str = _option("1,1", "of model and verifiable reward where both count")
    data: str | None = _option(None, "data with the histories: for the verifiable reward and the alarm")
    cut: str = _option("validation", "as of which cut", choices=("validation", "test"))
    profiles: str | None = _option(None, "user profiles as of that cut; default: those shipped with bundled data")
    kl_coef: float = _option(0.05, "weight of the KL penalty")
    response_length: int = _option(64, "tokens of a reply at most")
    temperature: float = _option(0.9, "of the draws")
    missing_eos_penalty: float = _option(1.0, "taken off the reward of a reply that does not end")
    episodes: int = _option(256, "replies to draw in all")
    ppo_epochs: int = _option(2, "times through each rollout (ppo)")
    mini_batches: int = _option(1, "parts of a rollout (ppo)")
    rollout_batch_size: int = _option(8, "replies drawn together (ppo)")
    num_generations: int = _option(4, "replies to a prompt (rloo, grpo)")
    critic: str = _option("lora", "of the value model, what is trained (ppo)", choices=CRITICS)
    reward_floor: float = _option(0.65, "refuse a reward model whose accuracy on held-out users is lower")
    accept_weak_reward: bool = _option(False, "use it all the same")
    kl_limit: float = _option(10.0, "stop when the policy is so far from where it began (nats a reply)")
    alarm_every: int = _option(8, "updates between two looks at validation profiles")
    alarm_users: int = _option(32, "users who are looked at")
    max_prompt_tokens: int = _option(768, "prompts that are longer are left out")
    learning_rate: float = _option(1e-5, "at its highest")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.preferences:
            raise ValueError("preferences is empty: name a table of `reclm preferences build`.")
        _require_one_of("algorithm", self.algorithm, ALGORITHMS)
        _require_one_of("reward", self.reward, REWARDS)
        _require_one_of("critic", self.critic, CRITICS)
        _require_one_of("cut", self.cut, ("validation", "test"))
        counts = ("response_length", "episodes", "ppo_epochs", "mini_batches", "rollout_batch_size", "num_generations")
        _require_positive(self, *counts, "alarm_every", "alarm_users", "max_prompt_tokens", "temperature", "kl_limit")
        if len(self.weights) != 2 or min(self.weights) < 0:
            raise ValueError(f"reward_weights={self.reward_weights!r}: give two weights, of model and verifiable: 1,1.")

    @property
    def weights(self) -> tuple[float, ...]:
        """Of the reward model and of the verifiable reward."""
        try:
            return tuple(float(weight) for weight in self.reward_weights.split(","))
        except ValueError:
            raise ValueError(f"reward_weights={self.reward_weights!r}: give two numbers, 1,1 for instance.") from None


def _require_one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name}={value!r} is not known; choose one of {', '.join(known)}.")


def _require_positive(args: Any, *names: str) -> None:
    for name in names:
        value = getattr(args, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise ValueError(f"{name}={value!r}: give a number above 0.")


def _require_share(args: Any, name: str) -> None:
    value = getattr(args, name)
    if not 0 <= value < 1:
        raise ValueError(f"{name}={value!r}: give a share from 0 to below 1.")
