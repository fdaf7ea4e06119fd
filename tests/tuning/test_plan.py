"""Plans without weights: parameters as published, memory as autograd and the operating system see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reclm_hf.tuning.architectures import KNOWN, find_config
from reclm_hf.tuning.arguments import RefineArguments, RewardArguments, SftArguments
from reclm_hf.tuning.memory import OVERHEAD, Precision, Shape, kept_of_layer
from reclm_hf.tuning.plan import GIB, lines, plan
from tests.profiler.models import base_model, profiler, save_base
from tests.tuning.sft_parts import write_chats
from tests.tuning.training_step import LENGTH, ROWS, SIZES

LLAMA_2 = "meta-llama/Llama-2-7b-chat-hf"
BASE_135M = "HuggingFaceTB/SmolLM2-135M-Instruct"

# Of the model cards and of the `total` of their safetensors index.
PUBLISHED = {
    LLAMA_2: 6_738_415_616,
    "meta-llama/Llama-2-13b-chat-hf": 13_015_864_320,
    "meta-llama/Meta-Llama-3-8B-Instruct": 8_030_261_248,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "Qwen/Qwen2.5-1.5B-Instruct": 1_543_714_304,
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": 1_711_376_384,
    "HuggingFaceTB/SmolLM2-360M-Instruct": 361_821_120,
    "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
}


@pytest.fixture(autouse=True)
def _without_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "no-cache"))
    for name in ("WORLD_SIZE", "ACCELERATE_USE_FSDP"):
        monkeypatch.delenv(name, raising=False)


def _sft(model: str = LLAMA_2, **changes: Any) -> SftArguments:
    return SftArguments(model=model, output="out", instructions="table", **changes)


def _of_7b(**changes: Any) -> SftArguments:
    return _sft(dtype="bfloat16", gradient_checkpointing=True, **changes)


@pytest.mark.parametrize(("model", "parameters"), PUBLISHED.items())
def test_parameters_are_those_published(model: str, parameters: int) -> None:
    found = plan(_sft(model))
    assert found.counts.total == parameters
    assert "ship with this package" in found.source


def test_every_known_model_can_be_configured() -> None:
    for model in KNOWN:
        assert Shape.of(find_config(model)[0]).vocabulary > 30_000


def test_trained_parameters_are_those_of_the_adapter() -> None:
    found = plan(_sft())
    assert found.counts.trained == 32 * 2 * 8 * (4096 + 4096)
    assert found.counts.targets == {"q_proj": 4096, "v_proj": 4096}
    assert plan(_sft(lora_rank=16)).counts.trained == 2 * found.counts.trained


def test_a_reward_model_has_a_trained_score_and_no_logits() -> None:
    found = plan(RewardArguments(model=LLAMA_2, output="out", preferences="pairs", dtype="bfloat16"))
    assert found.counts.trained == 32 * 2 * 8 * 8192 + 4096
    assert found.memory["logits"] == 0


def test_no_weight_is_made() -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plan(_sft("meta-llama/Llama-2-13b-chat-hf"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # KiB; the weights are 52 GB


def test_seven_billion_parameters_fit_on_one_gpu_and_their_float32_critic_does_not() -> None:
    one = plan(_of_7b(max_tokens=2048))
    assert one.fits
    assert one.memory["weights"] == pytest.approx(2 * PUBLISHED[LLAMA_2])
    full = RefineArguments(model=LLAMA_2, output="out", preferences="pairs", critic="full")
    assert not plan(full).fits
    assert "fits in 80 GB: no" in lines(plan(full))[-1]


def test_sharding_divides_what_is_held_but_not_what_is_computed() -> None:
    one = plan(_of_7b(), processes=1)
    four = plan(_of_7b(trainer={"fsdp": True}), processes=4)
    copied = plan(_of_7b(), processes=4)
    for part in ("weights", "gradients", "Adam's moments"):
        assert four.memory[part] == pytest.approx(one.memory[part] / 4)
        assert copied.memory[part] == one.memory[part]
    assert four.memory["activations"] == one.memory["activations"]
    assert four.memory["gathered layers"] == pytest.approx(2 * (2 * 202_383_360 + 262_148_096))
    assert set(four.beside) == {2, 4, 8}
    assert four.beside[4] == four.total
    assert four.tokens_per_step == copied.tokens_per_step == 4 * one.tokens_per_step


def test_four_bits_hold_the_linear_layers_in_a_quarter() -> None:
    found = plan(_of_7b(load_in_4bit=True))
    linear = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    assert found.counts.linear == linear
    assert found.memory["weights"] == pytest.approx(linear * 4.127 / 8 + (PUBLISHED[LLAMA_2] - linear) * 2)


def test_steps_follow_from_rows_processes_and_the_limit() -> None:
    assert plan(_sft(BASE_135M)).steps is None
    assert plan(_sft(BASE_135M, batch_size=4, gradient_accumulation=2), rows=100, processes=2).steps == 7
    assert plan(_sft(BASE_135M, batch_size=4, epochs=2.0), rows=100).steps == 50
    assert plan(_sft(BASE_135M, max_steps=5), rows=100).steps == 5
    assert plan(_sft(BASE_135M, max_steps=500), rows=100).steps == 500, "the rows are gone through again"
    refined = RefineArguments(model=BASE_135M, output="out", preferences="pairs", episodes=256, batch_size=8)
    assert plan(refined).steps == 32
    assert plan(replace(refined, max_steps=100)).steps == 32, "PPO ends with its episodes"
    assert plan(replace(refined, max_steps=100, algorithm="rloo", reward="verifiable", data="d")).steps == 100


def test_rows_are_counted_where_the_table_is(tmp_path: Path) -> None:
    table = str(write_chats(tmp_path / "chats.parquet", 8))
    args = SftArguments(model=BASE_135M, output="out", instructions=table, holdout=0.0, batch_size=4)
    assert (plan(args).rows, plan(args).steps) == (16, 4)
    assert plan(replace(args, max_rows=6)).rows == 6
    (tmp_path / "left_out").write_text("u0\n", encoding="utf-8")
    assert plan(replace(args, without_users=str(tmp_path / "left_out"))).rows == 14


def test_folders_are_planned_from_their_files(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base")
    whole = plan(_sft(str(base)))
    assert whole.counts.total == sum(weight.numel() for weight in base_model().parameters())
    profiler(str(base)).save_pretrained(tmp_path / "adapter")
    assert plan(_sft(str(tmp_path / "adapter"))).counts == whole.counts
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"holds none of config\.json"):
        plan(_sft(str(tmp_path / "empty")))


def test_unknown_models_and_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="its sizes do not ship"):
        plan(_sft("somebody/unknown"))
    with pytest.raises(ValueError, match="Hub id"):
        plan(_sft("not a name"))
    with pytest.raises(ValueError, match="nowhere_proj"):
        plan(_sft(BASE_135M, lora_targets="nowhere_proj"))


def test_lines_say_all_that_is_planned() -> None:
    found = plan(_of_7b(trainer={"fsdp": True}), rows=1000, processes=4)
    text = "\n".join(lines(found))
    for part in (LLAMA_2, "6,738,415,616", "4,194,304 (0.06%)", "FSDP", "1,000", "gathered layers", "of 8 processes"):
        assert part in text
    assert lines(found)[-1] == f"fits in 80 GB: yes ({found.total / GIB:.1f} GiB)"
    assert json.loads(json.dumps(found.to_dict()))["fits"] is True


@pytest.mark.parametrize(
    ("dtype", "autocast", "full"),
    [("float32", False, False), ("float32", True, False), ("bfloat16", True, False), ("float32", False, True)],
)
def test_activations_are_those_that_autograd_keeps(dtype: str, autocast: bool, full: bool) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"vocab_size": 320, "hidden_size": 96, "intermediate_size": 208, "num_attention_heads": 6}
    config = LlamaConfig(**sizes, num_key_value_heads=2, num_hidden_layers=3)
    model: Any = LlamaForCausalLM(config).to(getattr(torch, dtype))
    body = model.model
    if not full:
        model = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and tensor.shape[0] in (2, 2 * 64):  # of the rows, not copies of weights
            kept[storage.data_ptr()] = storage
        return tensor

    ids, mask = torch.randint(0, 300, (2, 64)), torch.ones(2, 64, dtype=torch.long)
    mask[0, 40:] = 0
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        end = body(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    assert end.requires_grad
    found = sum(storage.nbytes() for storage in kept.values()) / (2 * 64)
    targets = {} if full else {"q_proj": 96, "v_proj": 96}
    expected = 3 * kept_of_layer(Shape.of(config), Precision.of(dtype, autocast), targets, 4, 64, full=full)
    assert found == pytest.approx(expected, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("checkpointing", "dtype"), [(True, "float32"), (False, "bfloat16")])
def test_memory_is_what_a_real_step_holds(checkpointing: bool, dtype: str) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of one process is read from /proc")
    from transformers import LlamaConfig

    # Freed blocks go back at once, as in a GPU's allocator they can be used again.
    keeps_nothing = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    step = [sys.executable, "-m", "tests.tuning.training_step", "checkpointing" if checkpointing else "none", dtype]
    ran = subprocess.run(
        step, env=os.environ | keeps_nothing, capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    held = json.loads(ran.stdout.splitlines()[-1])["held"]
    shape = {"batch_size": ROWS, "max_tokens": LENGTH, "autocast": False}
    expected = plan(_sft(dtype=dtype, gradient_checkpointing=checkpointing, **shape), LlamaConfig(**SIZES))
    assert 1 / 1.35 < held / (expected.total - OVERHEAD) < 1.35


def test_four_bits_without_a_gpu_are_refused_with_the_way_out() -> None:
    from reclm_hf.tuning.quantisation import quantisation_config

    with pytest.raises(ValueError, match=r"needs a GPU.*dtype: bfloat16"):
        quantisation_config(_sft(load_in_4bit=True, use_cpu=True))


def test_four_bits_do_not_go_with_shards_or_without_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from reclm_hf.tuning.quantisation import quantisation_config

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ValueError, match="fsdp"):
        quantisation_config(_sft(load_in_4bit=True, trainer={"fsdp": True}))
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ImportError, match="pip install bitsandbytes"):
        quantisation_config(_sft(load_in_4bit=True))
