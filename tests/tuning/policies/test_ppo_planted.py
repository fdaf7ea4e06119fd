"""PPO learns what is rewarded, and learns nothing of it when rewards go to other replies."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from reclm_hf.tuning.policies.ppo import refine_ppo
from tests.tuning.ppo_parts import LENGTH, arguments, chats, planted, policy, shares

TOKEN = 47


def learn(folder: Path, shuffled: bool) -> tuple[float, float, list[dict[str, Any]]]:
    parts = policy({TOKEN: 4.5}, end=4.8, flat=0.3)
    before, ended = shares(parts, parts.model, TOKEN)
    assert before < 0.2
    assert ended > 0.5
    args = arguments(
        folder, batch_size=32, rollout_batch_size=32, episodes=896, ppo_epochs=4, learning_rate=6e-3, kl_coef=0.01,
        schedule="constant", lora_rank=8, lora_targets="q_proj,v_proj,o_proj,down_proj", kl_limit=100.0,
        save_steps=1000,
    )  # fmt: skip
    result = refine_ppo(args, parts, chats(), planted(TOKEN, shuffled), None, folder, progress=False)
    assert result.stopped_by is None
    return *shares(parts, result.model, TOKEN), result.log_history


def test_a_planted_reward_is_found(tmp_path: Path) -> None:
    began = time.process_time()
    share, ended, log = learn(tmp_path, shuffled=False)
    assert share > 0.8
    assert time.process_time() - began < 90
    first, last = log[0], log[-1]
    assert last["objective/scores"] > first["objective/scores"] + 0.5
    # Replies end before the limit, some at the start do not: they cost the penalty, and the policy learns that too.
    assert 0 < first["completions/clipped_ratio"] < 0.5
    assert first["val/num_eos_tokens"] > 16
    assert first["completions/mean_length"] < LENGTH
    assert ended > 0.9
    assert last["completions/clipped_ratio"] < first["completions/clipped_ratio"]


def test_shuffled_rewards_teach_nothing(tmp_path: Path) -> None:
    share, ended, log = learn(tmp_path, shuffled=True)
    assert share < 0.3
    assert ended > 0.5, "the penalty is still each reply's own"
    assert log[-1]["objective/scores"] < 0.5
