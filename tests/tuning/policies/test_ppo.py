"""PPO on a tiny model: what moves and what does not, where scores are read, and runs that go on after a kill."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reclm_hf.tuning.policies import ppo, ppo_state
from reclm_hf.tuning.policies.ppo import Batches, refine_ppo
from reclm_hf.tuning.policies.ppo_checks import NEVER, Rollouts, never_drawn, require_end_tokens, require_first_kl
from reclm_hf.tuning.policies.ppo_state import trainable
from reclm_hf.tuning.rewards.model import batch_scores
from tests.profiler.models import logits
from tests.tuning.ppo_parts import LENGTH, arguments, chats, policy, reward

CHILD = """
import sys
from pathlib import Path
from tests.tuning.policies.test_ppo import Interrupted, run
run(Path(sys.argv[1]), Interrupted(4, kill=True), critic=sys.argv[2])
"""


class Interrupted:
    """A watch that ends the run at its n-th look, in front of the state of that update being written."""

    def __init__(self, look: int, kill: bool = False) -> None:
        self.left, self.kill = look, kill

    def measure(self, model: Any, tokenizer: Any) -> dict[str, float]:
        import os

        self.left -= 1
        if self.left == 0:
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt
        return {"format": 0.5, "personalisation": 0.5}


def run(folder: Path, watch: Any = None, **given: Any) -> Any:
    """Five updates of four replies, most of which end."""
    settings: dict[str, Any] = {"episodes": 20, "alarm_every": 1, "learning_rate": 5e-3, **given}
    return refine_ppo(arguments(folder, **settings), policy(end=4.0, flat=0.3), chats(), reward(), watch, folder, False)


def outcome(result: Any) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """Weights, and the log less what the clock says."""
    log = [{name: value for name, value in entry.items() if name != "eps"} for entry in result.log_history]
    return trainable(result.model), log


def assert_equal_outcomes(found: Any, wanted: Any) -> None:
    import torch

    (weights, log), (others, other_log) = outcome(found), outcome(wanted)
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert log == other_log


@pytest.fixture(scope="module", params=["lora", "full"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any]]:
    """A run from end to end with either critic."""
    return request.param, run(tmp_path_factory.mktemp(request.param), Interrupted(-1), critic=request.param)


@pytest.mark.parametrize("look", [2, 3, 6])
def test_a_run_that_was_interrupted_ends_as_one_that_was_not(whole: tuple[str, Any], tmp_path: Path, look: int) -> None:
    critic, wanted = whole
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Interrupted(look), critic=critic)
    state = ppo_state.latest_state(tmp_path / "checkpoints")
    # The first look is before the first update; the update that a look interrupts is not kept.
    assert (state.name if state else "") == (f"update-{look - 2}" if look > 2 else "")
    assert_equal_outcomes(run(tmp_path, Interrupted(-1), critic=critic), wanted)


def test_a_run_that_was_killed_ends_as_one_that_was_not(whole: tuple[str, Any], tmp_path: Path) -> None:
    critic, wanted = whole
    if critic == "full":
        pytest.skip("interrupted in this process by the test above")
    child = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path), critic], capture_output=True, text=True)
    assert child.returncode == -signal.SIGKILL, child.stderr[-2000:]
    assert [path.name for path in (tmp_path / "checkpoints").glob("update-*")] == ["update-2"]
    assert_equal_outcomes(run(tmp_path, Interrupted(-1), critic=critic), wanted)


def test_a_finished_run_trains_no_more(whole: tuple[str, Any], tmp_path: Path) -> None:
    critic, wanted = whole
    run(tmp_path, Interrupted(-1), critic=critic)
    assert_equal_outcomes(run(tmp_path, Interrupted(1), critic=critic), wanted)


@pytest.mark.parametrize("critic", ["lora", "full"])
def test_everything_trained_moves_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, critic: str
) -> None:
    import torch

    parts, rewards = policy(end=4.0, flat=0.3), reward()
    before = {name: weight.clone() for name, weight in parts.model.state_dict().items()}
    scored = {name: weight.clone() for name, weight in rewards.model.state_dict().items()}
    reference = logits(parts.model)
    critics: list[Any] = []
    make = ppo.critic_from

    def kept(*given: Any) -> Any:
        made = make(*given)
        critics.append((made, {name: weight.detach().clone() for name, weight in made.named_parameters()}))
        return made

    monkeypatch.setattr(ppo, "critic_from", kept)
    args = arguments(tmp_path, critic=critic, learning_rate=5e-3)
    result = refine_ppo(args, parts, chats(), rewards, None, tmp_path, progress=False)

    value, began = critics[0]
    moved = {name for name, weight in value.named_parameters() if not torch.equal(weight, began[name])}
    trained = set(trainable(value))
    assert moved == trained
    assert "score.weight" in trained
    if critic == "lora":
        assert all("lora_" in name for name in trained - {"score.weight"})
        assert len(trained) == 9
    else:
        assert trained == set(began)
    for name, weight in trainable(result.model).items():
        assert "lora_" in name
        assert bool(weight.abs().sum() > 0), name  # the B parts begin at 0
    base = result.model.get_base_model().state_dict()
    for name, weight in before.items():
        module, kind = name.rsplit(".", 1)
        now = base[name] if name in base else base[f"{module}.base_layer.{kind}"]
        assert torch.equal(now, weight), name
    assert all(torch.equal(rewards.model.state_dict()[name], weight) for name, weight in scored.items())
    with result.model.disable_adapter():
        assert torch.equal(logits(result.model), reference)
    assert not torch.equal(logits(result.model), reference)


def test_the_first_update_begins_at_the_reference(tmp_path: Path) -> None:
    # One pass over the rollout: every ratio is read before the only step.
    result = refine_ppo(
        arguments(tmp_path, ppo_epochs=1, max_steps=1, gradient_accumulation=2), policy(end=4.0), chats(), reward(),
        None, tmp_path, progress=False,
    )  # fmt: skip
    (first,) = result.log_history
    assert abs(first["objective/kl"]) < 1e-4
    assert first["val/ratio"] == pytest.approx(1, abs=1e-4)
    assert first["policy/clipfrac_avg"] == 0
    assert first["episode"] == 8


@pytest.mark.parametrize("penalty", [0.5, 2.0])
def test_scores_are_read_at_end_tokens_and_less_the_penalty_without(tmp_path: Path, penalty: float) -> None:
    parts, rewards = policy(end=3.0, flat=0.3), reward()
    seen: list[tuple[Any, Any]] = []

    def look(module: Any, given: Any, named: Any) -> None:
        seen.append((named["input_ids"], named["attention_mask"]))

    hook = rewards.model.model.register_forward_pre_hook(look, with_kwargs=True)
    args = arguments(tmp_path, batch_size=8, rollout_batch_size=4, max_steps=1, missing_eos_penalty=penalty)
    (first,) = refine_ppo(args, parts, chats(), rewards, None, tmp_path, progress=False).log_history
    hook.remove()
    # The critic is a copy with the same hook: its calls see whole draws, those of the reward model see replies cut
    # behind their end token. In each of the two parts of the rollout: critic, reward model.
    end, scored = parts.tokenizer.eos_token_id, []
    for ids, mask in (seen[1], seen[3]):
        scored += [row[kept.bool()].tolist() for row, kept in zip(ids, mask, strict=True)]
    ended = [chat[-1] == end for chat in scored]
    assert 0 < sum(ended) < 8, "replies that end before the limit, and others"
    assert len({len(chat) for chat in scored}) > 2
    wanted = batch_scores(rewards.model, scored, parts.tokenizer.pad_token_id) - penalty * ~np.array(ended)
    assert first["objective/scores"] == pytest.approx(wanted.mean(), abs=1e-5)
    assert first["val/num_eos_tokens"] == sum(ended)
    assert first["completions/clipped_ratio"] == 1 - sum(ended) / 8
    assert 1 <= first["completions/mean_length"] < LENGTH


def test_chats_that_would_be_scored_elsewhere_are_refused() -> None:
    import torch

    pad, end, text = 0, 9, 5

    def look(*reply: int) -> Any:
        ids = torch.tensor([[pad, text, end, text, *reply]])  # an end token in the prompt is no reply's
        return require_end_tokens(ids, ids != pad, 4, end)

    assert look(text, end, pad) == ([2], [False])
    assert look(text, text, text) == ([3], [True])
    assert look(text, text, end) == ([3], [False])
    for wrong in ([end, text, pad], [end, end, pad], [text, pad, end], [text, pad, pad], [pad, pad, pad]):
        with pytest.raises(ValueError, match="not be scored at its end token"):
            look(*wrong)


def test_parts_of_a_rollout_are_steps_of_their_own(tmp_path: Path) -> None:
    def steps(parts: int) -> float:
        folder = tmp_path / str(parts)
        args = arguments(folder, batch_size=2, gradient_accumulation=2, mini_batches=parts, max_steps=1)
        refine_ppo(args, policy(end=4.0), chats(), reward(), None, folder, progress=False)
        state = ppo_state.read_weights(folder / "checkpoints" / "update-1" / "optimizer.safetensors")
        return {float(value) for name, value in state.items() if name.endswith("|step")}.pop()

    assert [steps(1), steps(2)] == [2, 4]


def test_gradient_checkpointing_changes_memory_alone(tmp_path: Path) -> None:
    plain, other = (
        run(tmp_path / str(given), max_steps=2, gradient_checkpointing=given).log_history for given in (False, True)
    )
    for update, (one, two) in enumerate(zip(plain, other, strict=True)):
        for name in ("objective/kl", "objective/scores", "val/ratio", "loss/value_avg"):
            assert two[name] == pytest.approx(one[name], abs=1e-4), (update, name)


def test_in_bfloat16_drawing_reading_and_learning_agree(tmp_path: Path) -> None:
    plain, half = (
        run(tmp_path / str(given), max_steps=1, ppo_epochs=1, autocast=given).log_history[0] for given in (False, True)
    )
    assert abs(half["objective/kl"]) < 0.2
    assert half["val/ratio"] == pytest.approx(1, abs=0.05)
    assert half["objective/entropy"] != plain["objective/entropy"], "it is another precision"


def test_the_models_own_sampling_has_no_say_and_is_put_back(tmp_path: Path) -> None:
    parts = policy(end=4.0, flat=0.3)
    parts.model.generation_config.update(repetition_penalty=1.9, top_k=2, do_sample=True)
    before = parts.model.generation_config.to_dict()
    result = refine_ppo(arguments(tmp_path, max_steps=1), parts, chats(), reward(), None, tmp_path, progress=False)
    assert abs(result.log_history[0]["objective/kl"]) < 1e-4
    assert parts.model.generation_config.to_dict() == before


def test_padding_is_never_drawn(tmp_path: Path) -> None:
    parts = policy({}, end=4.0, flat=0.3)
    pad = parts.tokenizer.pad_token_id
    parts.model.lm_head.register_forward_hook(
        lambda module, given, found: found.index_fill(-1, found.new_tensor([pad], dtype=int), 9.0)
    )
    with never_drawn(parts.model, parts.tokenizer):
        restricted = logits(parts.model)
    assert bool((restricted[..., pad] == NEVER).all())
    assert bool((restricted[..., len(parts.tokenizer) :] == NEVER).all())
    assert bool((logits(parts.model)[..., pad] == 9).all()), "only inside"
    result = refine_ppo(arguments(tmp_path, max_steps=2), parts, chats(), reward(), None, tmp_path, progress=False)
    assert abs(result.log_history[0]["objective/kl"]) < 1e-4
    assert result.log_history[0]["completions/mean_length"] >= 1


def test_a_policy_that_is_drawn_otherwise_than_it_is_read_is_refused(tmp_path: Path) -> None:
    parts = policy(end=4.0, flat=0.3)
    # As if drawn at another temperature: only steps from the cache have one place.
    parts.model.lm_head.register_forward_hook(lambda module, given, found: found * 3 if found.shape[1] == 1 else found)
    with pytest.raises(ValueError, match="KL at the first update"):
        refine_ppo(arguments(tmp_path), parts, chats(), reward(), None, tmp_path, progress=False)
    for kl, half in ((2e-3, False), (-2e-3, False), (5.0, True), (float("nan"), True)):
        with pytest.raises(ValueError, match="not within"):
            require_first_kl(kl, half)
    require_first_kl(1e-5, False)


def test_a_policy_with_an_adapter_that_is_not_fresh_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from peft import LoraConfig

    used = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    monkeypatch.setattr(ppo, "lora_config", lambda args: used)
    with pytest.raises(ValueError, match="not fresh"):
        run(tmp_path, critic="full")


def test_settings_that_would_go_wrong_are_refused(tmp_path: Path) -> None:
    def refused(match: str, parts: Any, rewards: Any, **given: Any) -> None:
        with pytest.raises(ValueError, match=match):
            refine_ppo(arguments(tmp_path, **given), parts, chats(), rewards, None, tmp_path, progress=False)

    ends = policy()
    ends.tokenizer.pad_token = ends.tokenizer.eos_token
    refused("must not be the end token", ends, reward())
    stranger = reward()
    stranger.tokenizer.add_tokens(["zebra"])
    refused("another vocabulary", policy(), stranger)
    other = reward()
    other.tokenizer.chat_template = "{{ messages[0]['content'] }}"
    refused("trained on prompts that read 'One, two", policy(), other)
    refused("mini_batches=3 must divide", policy(), reward(), mini_batches=3, gradient_accumulation=2)
    refused("user 'u0' has .* does not fit", policy(), reward(), response_length=2048)


def test_batches_are_a_function_of_the_update() -> None:
    prompts = [[1, 2], [3], [4, 5, 6], [7]]
    rollouts = Rollouts(pad=0, end=9)
    batches = Batches(prompts, 3, 0, 7, rollouts)
    drawn = [row for update in range(4) for row in batches.rows(update)]
    assert [sorted(drawn[start : start + 4]) for start in (0, 4, 8)] == [[0, 1, 2, 3]] * 3
    assert len({tuple(drawn[start : start + 4]) for start in (0, 4, 8)}) > 1, "each epoch in its own order"
    later = Batches(prompts, 3, 0, 7, rollouts)
    later.done = 2
    found = next(iter(later))["input_ids"]
    assert found.tolist() == batches.batch(2)["input_ids"].tolist()
    assert rollouts.width == found.shape[1]
    assert [[token for token in row if token] for row in found.tolist()] == [prompts[row] for row in drawn[6:9]]
    assert all(row[-1] for row in found.tolist()), "padded on the left"
    assert Batches(prompts, 3, 0, 8, rollouts).rows(0) != batches.rows(0)
    assert len(Batches(prompts, 10, 0, 7, rollouts).rows(0)) == 10, "more replies than prompts"


def test_random_numbers_go_on_where_they_stood() -> None:
    import torch

    def draw() -> list[float]:
        return [random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), float(torch.rand(()))]

    draw()  # leaves half of a pair of normal numbers behind, in python and numpy
    state = ppo_state.random_state()
    wanted = draw()
    ppo_state.restore_random_state(state)
    assert draw() == wanted
    ppo_state.restore_random_state(state)
    with ppo_state.keeping_random_state():
        draw()
    assert draw() == wanted


def test_states_are_whole_or_absent(tmp_path: Path) -> None:
    import torch

    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 10)
    model(torch.ones(2)).sum().backward()
    optimizer.step()
    schedule.step()
    assert ppo_state.latest_state(tmp_path / "none") is None
    (tmp_path / "update-9").mkdir()  # without its state.json
    for update in (2, 10):
        ppo_state.save_state(tmp_path, ppo_state.Progress(update, 8, [{"a": 0.1}]), model, optimizer, schedule)
    found = ppo_state.latest_state(tmp_path)
    assert found is not None
    assert found.name == "update-10"
    assert not (tmp_path / "update-2").exists()
    assert not list(tmp_path.glob(".update-*"))
    assert {path.suffix for path in found.iterdir()} == {".json", ".safetensors"}

    twin = torch.nn.Linear(2, 2)
    adam = torch.optim.AdamW(twin.parameters())
    rates = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 1 - step / 10)
    stand = ppo_state.load_state(found, twin, adam, rates)
    assert stand == ppo_state.Progress(10, 8, [{"a": 0.1}])
    assert adam.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    for one, its_optimizer, its_schedule in ((model, optimizer, schedule), (twin, adam, rates)):
        its_optimizer.zero_grad()
        one(torch.ones(2)).sum().backward()
        its_optimizer.step()
        its_schedule.step()
    assert torch.equal(model.weight, twin.weight)
    assert rates.get_last_lr() == schedule.get_last_lr()

    with pytest.raises(ValueError, match=r"weights\.safetensors was written for a model with other trained weights"):
        ppo_state.load_state(found, torch.nn.Linear(3, 2), adam, rates)
    (found / "optimizer.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"optimizer\.safetensors is not readable"):
        ppo_state.load_state(found, twin, adam, rates)
    (found / "state.json").write_text("{")
    with pytest.raises(ValueError, match=r"state\.json is not readable"):
        ppo_state.load_state(found, twin, adam, rates)
