"""When a refinement should stop early: far from where it began, replies that do not end, a reward that is gamed.

The rules read the trainer's log, which is kept in its checkpoints: a run that goes on after a kill decides as one that
was not killed. They serve PPO and the critic-free algorithms alike.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from .ppo_state import copy_into, keeping_random_state, read_weights, trainable, write_weights

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, TrainerCallback

    from ..arguments import RefineArguments

logger = logging.getLogger(__name__)

Log = Sequence[Mapping[str, Any]]

KL = ("objective/kl", "kl")
REWARD = ("objective/scores", "reward")
UNFINISHED, MEAN_LENGTH = "completions/clipped_ratio", "completions/mean_length"
MEASURE = "watch/"
LAST_GOOD = "last_good.safetensors"
TOLERANCES: Mapping[str, float] = MappingProxyType({"format": 0.1, "personalisation": 0.1})


@dataclass
class PolicyResult:
    """A refined policy.

    Args:
        model: the policy, a PEFT model whose base is the model that it began as.
        log_history: one entry a logged update. stopped_by: why it ended early, else None.
    """

    model: Any
    log_history: list[dict[str, Any]]
    stopped_by: str | None = None


class Watch(Protocol):
    """Measures of freely decoded profiles of validation users; higher is better.

    A `tolerances` attribute (name -> fall that is still let pass) stands in for `TOLERANCES` where there is one.
    """

    def measure(self, model: Any, tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
        """name -> value, "format" and "personalisation" at least."""
        ...


def series(log: Log, names: Sequence[str]) -> list[float]:
    """What was logged under one of the names, in order."""
    return [float(entry[name]) for entry in log for name in names if name in entry]


@dataclass(frozen=True)
class KlRule:
    """Mean KL of a reply (nats) to the model that it began as, over the limit at `patience` updates in a row."""

    limit: float
    patience: int = 2

    def reason(self, log: Log) -> str | None:
        """Why to stop, or None."""
        last = series(log, KL)[-self.patience :]
        # Written so that a KL that is not a number counts as over the limit.
        if len(last) < self.patience or any(value <= self.limit for value in last):
            return None
        return (
            f"kl: {last[-1]:.3g} nats a reply, above kl_limit={self.limit:g} at {self.patience} updates in a row. "
            "Raise kl_coef or lower learning_rate."
        )


@dataclass(frozen=True)
class LengthRule:
    """Replies that hardly ever end before the limit: the share without end token, or their mean length.

    Nothing is said during the first `grace` updates; `window` bad ones bring a warning, twice as many stop the run.
    """

    limit: int
    share: float = 0.9
    window: int = 3
    grace: int = 5

    def warning(self, log: Log) -> str | None:
        """What to warn of, or None."""
        return self._pinned(log, self.window)

    def reason(self, log: Log) -> str | None:
        """Why to stop, or None."""
        return self._pinned(log, 2 * self.window)

    def _pinned(self, log: Log, window: int) -> str | None:
        unfinished, lengths = series(log, [UNFINISHED]), series(log, [MEAN_LENGTH])
        if max(len(unfinished), len(lengths)) < self.grace + window:
            return None
        shares, tokens = unfinished[-window:], lengths[-window:]
        if shares and min(shares) > self.share:
            said = f"{shares[-1]:.0%} of the replies have no end token"
        elif tokens and min(tokens) >= 0.98 * self.limit:
            said = f"replies have {tokens[-1]:.1f} tokens on average"
        else:
            return None
        return (
            f"length: {said} within response_length={self.limit}, {window} updates in a row. Raise response_length or "
            "missing_eos_penalty, or tune (`reclm sft`) longer first."
        )


@dataclass(frozen=True)
class HackingRule:
    """The reward is above what it was at the start while a measure of real profiles fell by more than its tolerance."""

    tolerances: Mapping[str, float] = field(default_factory=lambda: TOLERANCES)
    window: int = 4

    def reason(self, log: Log) -> str | None:
        """Why to stop, or None."""
        rewards, fallen = series(log, REWARD), self.fallen(log)
        before, now = rewards[: self.window], rewards[-self.window :]
        if not fallen or not rewards or sum(now) / len(now) <= sum(before) / len(before):
            return None
        said = ", ".join(f"{name} fell from {first:.3f} to {last:.3f}" for name, (first, last) in fallen.items())
        return (
            f"hacking: the reward rose from {sum(before) / len(before):.3f} to {sum(now) / len(now):.3f} while {said} "
            "on validation users. Raise kl_coef, or train the reward model on the kind of reply that it fell for."
        )

    def fallen(self, log: Log) -> dict[str, tuple[float, float]]:
        """Measure -> (at the start, last) of those that fell too far."""
        found = {}
        for name, tolerance in self.tolerances.items():
            values = series(log, [MEASURE + name])
            if len(values) > 1 and not values[0] - values[-1] <= tolerance:
                found[name] = (values[0], values[-1])
        return found


def alarms(
    args: RefineArguments, watch: Watch | None, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> TrainerCallback:
    """A callback that stops a trainer by the rules above; `.stopped_by` says why, `.finish(model)` puts back weights.

    `watch` is asked at the start and every `args.alarm_every` updates, with the random numbers of the run untouched.
    The adapter of the last good measurement is kept in `folder`; a run that is stopped for gaming the reward returns
    to it, one that is stopped for another reason keeps what it has.
    """
    from transformers import TrainerCallback

    every = args.alarm_every

    class Alarms(TrainerCallback):
        def __init__(self) -> None:
            self.stopped_by: str | None = None
            self.rules = (KlRule(args.kl_limit), LengthRule(args.response_length))
            tolerances = getattr(watch, "tolerances", TOLERANCES)
            self.hacking = HackingRule(tolerances, window=max(1, every // 2))
            self._warned = False
            self.last_good = "the last good measurement"

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if watch is not None and not any(name.startswith(MEASURE) for entry in state.log_history for name in entry):
                self._measure(state, kwargs["model"])

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            warning = self.rules[1].warning(state.log_history)
            if warning and not self._warned:
                logger.warning("%s", warning)
            self._warned = warning is not None
            for rule in self.rules:
                self._stop(rule.reason(state.log_history), control)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if watch is not None and state.global_step % every == 0:
                self._measure(state, kwargs["model"])
                reason = self.hacking.reason(state.log_history)
                self._stop(reason and f"{reason} What is kept is as of {self.last_good}.", control)

        def finish(self, model: Any) -> None:
            """Put the adapter of the last good measurement into a policy whose reward was gamed."""
            if self.stopped_by and self.stopped_by.startswith("hacking"):
                copy_into(model, read_weights(folder / LAST_GOOD), folder / LAST_GOOD)

        def _measure(self, state: Any, model: Any) -> None:
            policy = policy_of(model)
            with keeping_random_state():
                measured = measure_in_eval(policy, tokenizer, watch)
            state.log_history.append({**{MEASURE + k: v for k, v in measured.items()}, "step": state.global_step})
            if not self.hacking.fallen(state.log_history) and state.is_world_process_zero:
                folder.mkdir(parents=True, exist_ok=True)
                write_weights(folder / LAST_GOOD, trainable(policy))
                self.last_good = f"update {state.global_step}" if state.global_step else "the start"

        def _stop(self, reason: str | None, control: Any) -> None:
            if reason and self.stopped_by is None:
                self.stopped_by = reason
                control.should_training_stop = True
                control.should_save = False  # a run that went on from here would take a step more
                logger.warning("stopped early: %s", reason)

    return Alarms()


def policy_of(model: Any) -> Any:
    """The policy itself, out of what trainers wrap around it: several processes, PPO's policy with critic."""
    model = getattr(model, "module", model)
    return getattr(model, "policy", model)


def measure_in_eval(policy: Any, tokenizer: PreTrainedTokenizerBase, watch: Watch | None) -> dict[str, float]:
    """What `watch` finds, the policy being left in the mode that it was in."""
    import torch

    if watch is None:
        return {}
    training = policy.training
    policy.eval()
    try:
        with torch.no_grad():
            return {name: float(value) for name, value in watch.measure(policy, tokenizer).items()}
    finally:
        policy.train(training)
