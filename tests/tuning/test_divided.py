"""Weights that are divided between processes: the adapter comes back through files, and nothing else changes.

Here the trainer saves a model that is not divided; one that is, is gathered in `test_two_processes`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from reclm_hf.profiler.configuration_reclm_profiler import RecLMProfilerConfig
from reclm_hf.profiler.modeling_reclm_profiler import RecLMProfiler
from reclm_hf.tuning import trainers
from reclm_hf.tuning.policies.groups import refine_group
from reclm_hf.tuning.rewards.training import train_reward
from reclm_hf.tuning.sft import train_sft
from tests.profiler.models import adapted, save_base, tokenizer
from tests.tuning import group_parts, reward_parts, sft_parts


@pytest.fixture
def divided(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Whatever is trained counts as divided, also where a stage has taken the name already."""
    from reclm_hf.tuning.policies import groups

    for module in (trainers, groups):
        monkeypatch.setattr(module, "is_divided", lambda trainer: True)
    return monkeypatch


def assert_equal_weights(folder: Path, name: str) -> None:
    one, two = (load_file(folder / output / name) for output in ("whole", "divided"))
    assert one.keys() == two.keys()
    assert all(torch.equal(weight, two[at]) for at, weight in one.items())


@pytest.mark.parametrize("tuned_further", [False, True])
def test_a_profiler_is_the_same(tuned_further: bool, tmp_path: Path, divided: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {"lora_dropout": 0.1}
    if tuned_further:
        base = RecLMProfilerConfig(sft_parts.settings(tmp_path).model)
        RecLMProfiler(adapted(), tokenizer(), base).save_pretrained(tmp_path / "adapter")
        given["model"] = str(tmp_path / "adapter")
    train_sft(sft_parts.settings(tmp_path, output=str(tmp_path / "divided"), **given), progress=False)
    divided.undo()
    train_sft(sft_parts.settings(tmp_path, output=str(tmp_path / "whole"), **given), progress=False)
    assert_equal_weights(tmp_path, "model.safetensors" if tuned_further else "adapter_model.safetensors")


def test_a_reward_model_is_the_same(tmp_path: Path, divided: pytest.MonkeyPatch) -> None:
    model, rows = save_base(tmp_path / "base"), reward_parts.save_rows(tmp_path)
    first = train_reward(reward_parts.arguments(model, rows, tmp_path / "divided"), progress=False)
    divided.undo()
    second = train_reward(reward_parts.arguments(model, rows, tmp_path / "whole"), progress=False)
    assert_equal_weights(tmp_path, "model.safetensors")
    assert first["figures"] == second["figures"]


def test_weights_that_stay_divided_stop_the_run(tmp_path: Path, divided: pytest.MonkeyPatch) -> None:
    from trl import SFTTrainer

    def nothing_written(self: Any, place: str, **others: Any) -> None:
        Path(place).mkdir(parents=True, exist_ok=True)

    divided.setattr(SFTTrainer, "save_model", nothing_written)  # as with SHARDED_STATE_DICT
    with pytest.raises(ValueError, match="FULL_STATE_DICT"):
        train_sft(sft_parts.settings(tmp_path), progress=False)


def test_groups_are_not_learnt_from_with_divided_weights(tmp_path: Path, divided: pytest.MonkeyPatch) -> None:
    given = group_parts.settings(tmp_path, batch_size=4, num_generations=2, episodes=4)
    with pytest.raises(ValueError, match="without FSDP and DeepSpeed"):
        refine_group(given, group_parts.parts(), group_parts.prompts(), [group_parts.Planted()], None, tmp_path, False)
