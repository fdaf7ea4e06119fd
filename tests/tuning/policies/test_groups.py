"""RLOO and GRPO as they are set up here: what is rewarded, what is learnt, what is held fast, and going on."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import get_peft_model

from reclm_hf.tuning.models import TrainingParts, lora_config
from reclm_hf.tuning.policies import groups
from reclm_hf.tuning.policies.alarms import PolicyResult
from reclm_hf.tuning.policies.groups import MissingEnd, ModelReward, refine_group, require_end_token, require_reference
from tests.profiler.models import tokenizer
from tests.tuning.group_parts import Planted, parts, prompts, reward_model, settings

ALGORITHMS = ["rloo", "grpo"]
SHORT: dict[str, Any] = {"batch_size": 4, "num_generations": 2, "episodes": 24, "save_steps": 2, "learning_rate": 1e-3}


def run(
    folder: Path, rewards: Sequence[Any] | None = None, model: TrainingParts | None = None, **changes: Any
) -> PolicyResult:
    args = settings(folder, **{**SHORT, **changes})
    return refine_group(args, model or parts(), prompts(), rewards or [Planted()], None, folder, False)


def updates(result: PolicyResult) -> list[dict[str, Any]]:
    return [entry for entry in result.log_history if "reward" in entry]


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def test_a_reward_model_scores_as_it_does_by_itself() -> None:
    model = reward_model()
    chats, replies = prompts(6).messages, ["jazz", "", "User identity: a, b, c", "jazz fan " * 20, "Yes", "jazz"]
    completions = [[{"role": "assistant", "content": reply}] for reply in replies]
    found = ModelReward(model, 4)(prompts=chats, completions=completions, user_id=list("abcdef"), trainer_state=None)
    np.testing.assert_allclose(found, model.score(chats, replies, batch_size=1), atol=1e-5)
    assert len(set(found)) > 3


def test_a_reply_that_does_not_end_costs_the_penalty() -> None:
    assert MissingEnd(0.7, [2])(completion_ids=[[5, 2], [2], [5, 6, 7], []], prompts=None) == [0.0, 0.0, -0.7, -0.7]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_all_of_the_adapter_moves_and_nothing_else(algorithm: str, tmp_path: Path) -> None:
    model = parts()
    start = weights(get_peft_model(copy.deepcopy(model.model), lora_config(settings(tmp_path))))
    result = run(tmp_path, model=model, algorithm=algorithm)
    now = weights(result.model)
    trainable = {name for name, weight in result.model.named_parameters() if weight.requires_grad}
    assert trainable == {name for name in now if "lora_" in name}
    still = [name for name in trainable if "lora_B" in name and not now[name].any()]
    assert not still
    assert all(torch.equal(now[name], start[name]) for name in set(now) - trainable)
    # In the first step only the B half of the adapter moves; from then on the A half does too.
    begun = weights(run(tmp_path / "one", algorithm=algorithm, max_steps=1).model)
    assert not [name for name in trainable if "lora_A" in name and torch.equal(begun[name], now[name])]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_reference_is_the_model_at_the_start_and_kl_is_of_replies(algorithm: str, tmp_path: Path) -> None:
    log = updates(run(tmp_path, algorithm=algorithm, learning_rate=1e-2))
    assert abs(log[0]["kl"]) < 1e-6
    assert log[-1]["kl"] > 1e-3
    for entry in log:
        assert entry["kl"] == pytest.approx(entry["kl_per_token"] * entry["completions/mean_length"])


def test_another_reference_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def random_from_the_start(args: Any) -> Any:
        found = lora_config(args)
        found.init_lora_weights = False
        return found

    monkeypatch.setattr(groups, "lora_config", random_from_the_start)
    with pytest.raises(ValueError, match="another model than it began as"):
        run(tmp_path)
    with pytest.raises(ValueError, match="nan nats"):
        require_reference(float("nan"))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_run_that_was_killed_ends_as_one_that_was_not(algorithm: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"algorithm": algorithm, "learning_rate": 1e-2, "schedule": "linear"}
    whole = run(tmp_path / "whole", **options)

    class Killed(Planted):
        calls = 0

        def __call__(self, completion_ids: Sequence[Sequence[int]], **others: Any) -> list[float]:
            self.calls += 1
            if self.calls == 4:  # the second checkpoint is not written yet
                raise KeyboardInterrupt
            return super().__call__(completion_ids, **others)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", [Killed()], **options)
    assert (tmp_path / "killed" / "checkpoints" / "checkpoint-2").is_dir()
    torch.manual_seed(12345)
    counted = Planted()
    again = run(tmp_path / "killed", [counted], **options)
    assert len(counted.shares) == 4, "two of six updates were done"
    for name, weight in weights(whole.model).items():
        assert torch.equal(weight, weights(again.model)[name]), name
    names = ("reward", "kl", "completions/mean_length", "learning_rate", "grad_norm")
    assert [[entry[name] for name in names] for entry in updates(again)] == [
        [entry[name] for name in names] for entry in updates(whole)
    ]


def test_the_same_seed_draws_the_same_whatever_was_drawn_before(tmp_path: Path) -> None:
    one = run(tmp_path / "one", max_steps=2)
    torch.rand(7)
    two = run(tmp_path / "two", max_steps=2)
    three = run(tmp_path / "three", max_steps=2, seed=1)
    same = [torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True)]
    assert all(same)
    assert not all(torch.equal(a, b) for a, b in zip(one.model.parameters(), three.model.parameters(), strict=True))


@pytest.mark.parametrize(("end", "unfinished"), [(-25.0, 1.0), (2.0, 0.0)], ids=["never", "soon"])
def test_replies_are_cut_at_the_limit_or_end_with_their_end_token(
    end: float, unfinished: float, tmp_path: Path
) -> None:
    seen: list[list[int]] = []

    def nothing(completion_ids: Sequence[Sequence[int]], **others: Any) -> list[float]:
        seen.extend(map(list, completion_ids))
        return [0.5] * len(completion_ids)

    log = updates(run(tmp_path, [nothing], parts(end), missing_eos_penalty=0.75, max_steps=2))
    assert [entry["completions/clipped_ratio"] for entry in log] == [unfinished] * 2
    assert [entry["reward"] for entry in log] == [0.5 - 0.75 * unfinished] * 2
    stop = tokenizer().eos_token_id
    if unfinished:
        assert {len(ids) for ids in seen} == {12}
        assert not any(stop in ids for ids in seen)
    else:
        assert all(ids.index(stop) == len(ids) - 1 < 11 for ids in seen), "nothing stands behind the end token"
        assert len({len(ids) for ids in seen}) > 1, "shorter ones are padded to the longest"


def test_two_rewards_count_by_their_weights(tmp_path: Path) -> None:
    def constant(completions: Sequence[Any], user_id: Sequence[str], **others: Any) -> list[float]:
        assert {user[0] for user in user_id} == {"u"}
        return [0.25] * len(completions)

    log = updates(run(tmp_path, [reward_model(), constant], reward_weights="2,4", max_steps=1))[0]
    wanted = 2 * log["rewards/reward_model/mean"] + 4 * 0.25 + log["rewards/missing_end/mean"]
    assert log["reward"] == pytest.approx(wanted, abs=1e-5)


def test_as_many_prompts_as_are_drawn_pass_by_pass(tmp_path: Path) -> None:
    users: list[str] = []

    def note(user_id: Sequence[str], **others: Any) -> list[float]:
        users.extend(user_id)
        return [0.0] * len(user_id)

    result = run(tmp_path, [note], episodes=49)
    assert max(entry["step"] for entry in result.log_history) == 13, "49 replies are 13 steps of 4"
    drawn = users[::2]
    assert users[1::2] == drawn, "two replies to each prompt"
    assert sorted(drawn[:12]) == sorted(drawn[12:24]) == sorted(prompts().users)
    assert drawn[:12] != drawn[12:24]


def test_a_policy_too_far_away_is_stopped(tmp_path: Path) -> None:
    result = run(tmp_path, kl_limit=1e-9, learning_rate=1e-2, episodes=40)
    assert str(result.stopped_by).startswith("kl:")
    assert max(entry["step"] for entry in result.log_history) < 10


@pytest.mark.parametrize("changes", [{"batch_size": 3}, {"num_generations": 1}])
def test_steps_hold_whole_groups(changes: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="whole groups of two replies or more"):
        run(tmp_path, **changes)


def test_a_template_that_never_ends_a_reply_is_refused() -> None:
    require_end_token(tokenizer())
    strange = tokenizer()
    strange.eos_token = "<|endoftext|>"
    with pytest.raises(ValueError, match="does not end replies"):
        require_end_token(strange)
