"""When a refinement stops, and what it goes back to."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reclm_hf.tuning.policies.alarms import HackingRule, KlRule, LengthRule, alarms
from reclm_hf.tuning.policies.ppo import refine_ppo
from reclm_hf.tuning.policies.ppo_state import trainable
from tests.tuning.ppo_parts import arguments, chats, planted, policy, reward


def logged(name: str, *values: float) -> list[dict[str, Any]]:
    return [{name: value, "step": step} for step, value in enumerate(values, 1)]


@pytest.mark.parametrize("name", ["objective/kl", "kl"])
def test_kl_stops_after_two_updates_in_a_row_above_the_limit(name: str) -> None:
    rule = KlRule(5.0)
    assert rule.reason(logged(name, 6.0)) is None
    assert rule.reason(logged(name, 6.0, 4.0, 6.0)) is None
    assert rule.reason(logged(name, 1.0, 5.0, 5.0)) is None
    reason = rule.reason([*logged(name, 1.0, 6.0), {"train_runtime": 3.0}, *logged(name, 7.5)])
    assert reason
    assert reason.startswith("kl: 7.5 nats")
    assert "kl_limit=5" in reason


def test_a_kl_that_is_no_number_is_above_the_limit() -> None:
    assert KlRule(5.0).reason(logged("kl", float("nan"), float("nan"))) is not None


@pytest.mark.parametrize(
    ("name", "good", "bad"), [("completions/clipped_ratio", 0.9, 0.95), ("completions/mean_length", 19.0, 20.0)]
)
def test_replies_without_end_first_warn_and_then_stop(name: str, good: float, bad: float) -> None:
    rule = LengthRule(limit=20, window=2, grace=3)

    def said(*values: float) -> tuple[bool, bool]:
        return rule.warning(logged(name, *values)) is not None, rule.reason(logged(name, *values)) is not None

    assert said(bad, bad, bad, bad) == (False, False), "within the grace"
    assert said(bad, bad, bad, bad, bad) == (True, False)
    assert said(bad, bad, bad, bad, good, bad, bad) == (True, False)
    assert said(good, good, good, bad, bad, bad, bad) == (True, True)
    assert said(*[good] * 10) == (False, False)


def measured(rewards: list[float], **values: tuple[float, float]) -> list[dict[str, Any]]:
    names = [f"watch/{name}" for name in values]
    ends = list(zip(*values.values(), strict=True))
    first, last = ({**dict(zip(names, end, strict=True)), "step": 0} for end in ends)
    return [first, *logged("reward", *rewards), last]


def test_hacking_is_a_reward_that_rises_while_profiles_get_worse() -> None:
    rule = HackingRule({"format": 0.1, "personalisation": 0.05}, window=2)
    rising, falling = [0.0, 0.1, 0.4, 0.5], [0.5, 0.4, 0.1, 0.0]
    assert rule.reason(measured(rising, format=(0.9, 0.85), personalisation=(0.4, 0.4))) is None
    assert rule.reason(measured(falling, format=(0.9, 0.2), personalisation=(0.4, 0.1))) is None
    assert rule.reason(measured(rising[:2], format=(0.9, 0.2), personalisation=(0.4, 0.4))) is None, "no time to rise"
    reason = rule.reason(measured(rising, format=(0.9, 0.9), personalisation=(0.4, 0.3)))
    assert reason
    assert "rose from 0.050 to 0.450" in reason
    assert "personalisation fell from 0.400 to 0.300" in reason
    assert "format fell" not in reason
    nan = rule.reason(measured(rising, format=(0.9, float("nan")), personalisation=(0.4, 0.4)))
    assert nan
    assert "format fell" in nan


class Falling:
    """Looks at the policy: the first of its adapter weights, and a format that falls from the third look on."""

    def __init__(self, tolerances: dict[str, float] | None = None) -> None:
        self.seen: list[dict[str, Any]] = []
        self.modes: list[bool] = []
        if tolerances is not None:
            self.tolerances = tolerances

    def measure(self, model: Any, tokenizer: Any) -> dict[str, float]:
        import torch

        torch.rand(7)  # as decoding by draws would
        self.modes.append(model.training)
        self.seen.append({name: weight.detach().clone() for name, weight in trainable(model).items()})
        return {"format": 0.9 if len(self.seen) < 3 else 0.5, "personalisation": 0.3}


def rising(token: int = 5) -> Any:
    """A policy and a reward that it learns to raise within a few updates."""
    parts = policy({token: 7.0}, end=4.8, flat=0.3)
    return parts, planted(token)


def test_a_gamed_reward_ends_ppo_with_the_adapter_of_the_last_good_look(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    parts, rewards = rising()
    args = arguments(
        tmp_path, batch_size=16, rollout_batch_size=16, episodes=160, learning_rate=6e-3, lora_rank=8, kl_limit=100.0,
        lora_targets="q_proj,v_proj,o_proj,down_proj", schedule="constant", ppo_epochs=4,
    )  # fmt: skip
    watch = Falling()
    with caplog.at_level(logging.WARNING):
        result = refine_ppo(args, parts, chats(), rewards, watch, tmp_path, progress=False)
    assert result.stopped_by
    assert result.stopped_by.startswith("hacking: the reward rose")
    assert "format fell from 0.900 to 0.500" in caplog.text
    assert result.stopped_by.endswith("What is kept is as of update 2.")
    steps = [entry["step"] for entry in result.log_history if "watch/format" in entry]
    assert steps[:3] == [0, 2, 4]
    assert steps[-1] < 10
    assert len(watch.seen) == len(steps)
    weights = trainable(result.model)
    good, gamed = watch.seen[1], watch.seen[-1]
    assert all(torch.equal(weights[name], good[name]) for name in weights)
    assert any(not torch.equal(weights[name], gamed[name]) for name in weights)
    assert not any(watch.modes), "measured in evaluation mode"


def test_looking_changes_no_draw_and_a_given_tolerance_lets_a_fall_pass(tmp_path: Path) -> None:
    import torch

    results = [
        refine_ppo(
            arguments(tmp_path / name, episodes=16), policy(end=4.0), chats(), reward(), watch, tmp_path / name, False
        )
        for name, watch in (("bare", None), ("watched", Falling({"format": 0.5})))
    ]
    assert results[1].stopped_by is None
    bare, watched = (trainable(result.model) for result in results)
    assert all(torch.equal(bare[name], watched[name]) for name in bare)
    assert sum("watch/format" in entry for entry in results[1].log_history) == 3


def test_a_kl_above_the_limit_ends_ppo(tmp_path: Path) -> None:
    # The KL of a policy that learns fast passes any limit that is this small.
    parts, rewards = rising()
    args = arguments(tmp_path, batch_size=16, episodes=320, learning_rate=2e-2, kl_limit=0.02)
    result = refine_ppo(args, parts, chats(), rewards, None, tmp_path, progress=False)
    assert result.stopped_by
    assert result.stopped_by.startswith("kl:")
    kls = [entry["objective/kl"] for entry in result.log_history]
    assert len(kls) < 20
    assert min(kls[-2:]) > 0.02
    assert not any(a > 0.02 and b > 0.02 for a, b in itertools.pairwise(kls[:-1])), "at the first chance"


def test_replies_that_never_end_end_ppo(tmp_path: Path) -> None:
    args = arguments(tmp_path, episodes=80)
    result = refine_ppo(args, policy(end=-30.0), chats(), reward(), None, tmp_path, progress=False)
    assert result.stopped_by
    assert "100% of the replies have no end token" in result.stopped_by
    assert result.log_history[-1]["step"] == 11  # 5 of grace and 6 bad ones


def test_another_trainer_is_told_to_stop_by_its_control(tmp_path: Path) -> None:
    """transformers' Trainer, which the critic-free algorithms are built on, asks `should_training_stop`."""
    args, own = arguments(tmp_path, kl_limit=1.0), policy().tokenizer
    callback: Any = alarms(args, None, own, tmp_path)
    state = SimpleNamespace(log_history=logged("kl", 2.0), global_step=1, is_world_process_zero=True)
    control = SimpleNamespace(should_training_stop=False, should_save=True)
    callback.on_log(None, state, control)
    assert not control.should_training_stop
    state.log_history += logged("kl", 2.0)
    callback.on_log(None, state, control)
    assert control.should_training_stop
    assert not control.should_save, "a run that goes on would take a step more"
    assert callback.stopped_by.startswith("kl")
