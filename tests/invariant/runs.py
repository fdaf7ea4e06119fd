"""Seeded runs of every stage on the tiny model, as curves: what a change of code or of a library would bend."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

Curves = dict[str, list[float]]

STEPS = 40
"""Of the stages that learn from given rows."""
UPDATES = 30
"""Of those that draw replies."""

FIGURES: dict[str, tuple[str, ...]] = {
    "sft": ("loss", "grad_norm", "mean_token_accuracy", "eval_loss"),
    "reward": ("loss", "grad_norm", "accuracy", "margin"),
    "ppo": ("objective/kl", "objective/scores", "objective/entropy", "loss/policy_avg", "loss/value_avg"),
    "rloo": ("reward", "kl", "grad_norm", "completions/mean_length"),
    "grpo": ("reward", "kl", "grad_norm", "completions/mean_length"),
}
"""Stage -> names in its log."""

DRAWN = frozenset({"ppo", "rloo", "grpo"})
"""Stages whose replies are drawn: where rounding turns one draw, all that follows is another run."""


def run(stage: str, folder: Path) -> Curves:
    """Run a stage in an empty folder; name -> one value a step, as far as the step has one."""
    ours = logging.getLogger("reclm_hf")
    level = ours.level
    ours.setLevel(logging.ERROR)
    try:
        log = _STAGES[stage](folder)
    finally:
        ours.setLevel(level)  # other tests of this process read what is logged
    return {name: [float(entry[name]) for entry in log if name in entry] for name in FIGURES[stage]}


def _sft(folder: Path) -> list[dict[str, Any]]:
    from reclm_hf.tuning.sft import train_sft
    from tests.tuning.sft_parts import settings

    given = settings(folder, variant="mask", n_users=16, holdout=0.2, max_steps=STEPS, lora_dropout=0.1, save_steps=999)
    train_sft(given, progress=False)
    return _written(folder / "out")


def _reward(folder: Path) -> list[dict[str, Any]]:
    from reclm_hf.tuning.rewards.training import train_reward
    from tests.profiler.models import save_base
    from tests.tuning.reward_parts import arguments, save_rows

    model, rows = save_base(folder / "base"), save_rows(folder)
    given = arguments(model, rows, folder / "out", max_steps=STEPS, learning_rate=1e-3, save_steps=999)
    train_reward(given, progress=False)
    return _written(folder / "out")


def _ppo(folder: Path) -> list[dict[str, Any]]:
    from reclm_hf.tuning.policies.ppo import refine_ppo
    from tests.tuning.ppo_parts import arguments, chats, policy, reward

    given = arguments(folder, episodes=4 * UPDATES, learning_rate=5e-3, save_steps=999)
    return list(refine_ppo(given, policy(end=4.0, flat=0.3), chats(), reward(), None, folder, False).log_history)


def _group(algorithm: str) -> Callable[[Path], list[dict[str, Any]]]:
    def made(folder: Path) -> list[dict[str, Any]]:
        from reclm_hf.tuning.policies.groups import refine_group
        from tests.tuning.group_parts import Planted, parts, prompts, settings

        given = settings(folder, algorithm=algorithm, batch_size=8, num_generations=4, episodes=8 * UPDATES)
        return list(refine_group(given, parts(), prompts(), [Planted()], None, folder, False).log_history)

    return made


def _written(folder: Path) -> list[dict[str, Any]]:
    """The training log of a stage, entry by entry."""
    import pandas as pd

    log = pd.read_parquet(folder / "training_log.parquet")
    return [{str(name): float(value)} for name, value in zip(log["name"], log["value"], strict=True)]


_STAGES: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    "sft": _sft,
    "reward": _reward,
    "ppo": _ppo,
    "rloo": _group("rloo"),
    "grpo": _group("grpo"),
}
STAGES = tuple(_STAGES)
