"""What each process of a launch runs: all stages that can be divided, one after the other; and what it saw of them.

python -m accelerate.commands.launch --multi_gpu --num_processes 2 ... tests/tuning/two_process_stages.py FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reclm_hf.profiler.weights import digest
from reclm_hf.tuning import sft
from reclm_hf.tuning.arguments import RefineArguments
from reclm_hf.tuning.outputs import MANIFEST
from reclm_hf.tuning.policies import groups, refine
from reclm_hf.tuning.rewards import training
from tests.tuning import reward_parts, sft_parts

STEPS = 4
"""Few enough that all batches are full: of a last one that is not, accelerate gives processes rows twice."""
UPDATES = 6
"""Of RLOO."""


def sft_settings(folder: Path, output: str, batch_size: int) -> Any:
    """Seeded steps on rows that are there already."""
    return sft_parts.settings(
        folder, output=str(folder / output), batch_size=batch_size, max_steps=STEPS, holdout=0.25, learning_rate=1e-3
    )


def reward_settings(folder: Path, output: str, batch_size: int) -> Any:
    """The same for pairs."""
    return reward_parts.arguments(
        folder / "base", folder, folder / output, batch_size=batch_size, max_steps=STEPS, learning_rate=1e-3
    )


def refine_settings(folder: Path, output: str, batch_size: int) -> RefineArguments:
    """Replies rewarded by what the stage before has written."""
    return RefineArguments(
        model=str(folder / "base"), output=str(folder / output), preferences=str(folder), algorithm="rloo",
        reward_model=str(folder / "reward-two"), accept_weak_reward=True, autocast=False, use_cpu=True,
        batch_size=batch_size, num_generations=2, episodes=8 * UPDATES, response_length=6, learning_rate=1e-2,
        kl_limit=1000.0,
    )  # fmt: skip


def main(folder: Path) -> None:
    """Run the stages; what this process saw is in `STAGE-RANK.json`."""
    rank = int(os.environ.get("RANK", "0"))
    _seen(sft, lambda: sft.train_sft(sft_settings(folder, "sft-two", 2), False), folder, "sft", rank)
    given = reward_settings(folder, "reward-two", 2)
    _seen(training, lambda: training.train_reward(given, False), folder, "reward", rank)
    given = refine_settings(folder, "rloo-two", 4)
    _seen(groups, lambda: refine.train_refined(given, False), folder, "rloo", rank)


def _seen(module: Any, train: Callable[[], dict[str, Any]], folder: Path, stage: str, rank: int) -> None:
    """Train, look at the trainer when it is done, and at what lies there on coming back; then ask once more."""
    seen: dict[str, Any] = {}
    original = module.train_to_end

    def looked_at(trainer: Any, *given: Any) -> None:
        original(trainer, *given)
        seen["wrapped"] = type(trainer.model_wrapped).__name__
        seen["processes"] = trainer.accelerator.num_processes
        seen["adapter"] = digest(trainer.accelerator.unwrap_model(trainer.model))

    module.train_to_end = looked_at
    try:
        seen["manifest"] = bool(train())
    finally:
        module.train_to_end = original
    seen["written"] = (folder / f"{stage}-two" / MANIFEST).is_file()
    seen["again"] = bool(train())
    (folder / f"{stage}-{rank}.json").write_text(json.dumps(seen), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
