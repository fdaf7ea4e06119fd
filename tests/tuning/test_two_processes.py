"""Two CPU processes under `accelerate launch` train what one process trains on batches of twice the size.

Draws are another matter: each process has random numbers of its own, so RLOO is only held to what must be the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reclm_hf.tuning.rewards.training import train_reward
from tests.profiler.models import save_base
from tests.tuning.reward_parts import save_rows
from tests.tuning.sft_parts import write_chats
from tests.tuning.two_process_stages import UPDATES, reward_settings

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "training" / "sft.py"
STEPS = 4

# `--cpu --num_processes 2` would start one process: accelerate leaves several on a CPU to MPI. `--multi_gpu` starts
# them whether there are GPUs or not, and the stage's own `use_cpu` leaves those alone.
LAUNCH = (
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
)


def _flags(folder: Path, output: str, batch_size: int) -> list[str]:
    given: dict[str, Any] = {
        "--model": folder / "base",
        "--instructions": folder / "chats.parquet",
        "--output": folder / output,
        "--batch-size": batch_size,
        "--max-steps": STEPS,
        "--learning-rate": 1e-2,
        "--holdout": 0.25,
    }
    flags = [str(part) for pair in given.items() for part in pair]
    return [*flags, "--no-autocast", "--use-cpu", "--json"]


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ACCELERATE_", "FSDP_"))}
    ran = subprocess.run(command, cwd=ROOT, env=clean | own, capture_output=True, text=True, timeout=400)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`one` (a process, batches of 4) and `two` (two processes, batches of 2 each) of one table and one seed."""
    folder = tmp_path_factory.mktemp("runs")
    save_base(folder / "base")
    write_chats(folder / "chats.parquet", 16)
    _run(sys.executable, str(SCRIPT), *_flags(folder, "one", 4))
    ran = _run(*LAUNCH, str(SCRIPT), *_flags(folder, "two", 2))
    (folder / "stdout").write_text(ran.stdout, encoding="utf-8")
    (folder / "stderr").write_text(ran.stderr, encoding="utf-8")
    return folder


def _losses(folder: Path) -> list[float]:
    import pandas as pd

    log = pd.read_parquet(folder / "training_log.parquet")
    return [float(value) for value in log[log["name"] == "loss"].sort_values("step")["value"]]


@pytest.mark.slow
def test_one_process_writes_and_speaks(runs: Path) -> None:
    text = (runs / "stdout").read_text(encoding="utf-8")
    said = [line for line in text.splitlines() if line == "{"]
    assert len(said) == 1, "one process prints the result"
    assert json.loads(text[text.index("{\n") :])["figures"]["steps"] == STEPS
    names = {path.name for path in (runs / "two").iterdir()}
    assert names == {path.name for path in (runs / "one").iterdir()}
    assert "adapter_model.safetensors" in names
    assert "checkpoints" not in names


@pytest.mark.slow
def test_both_runs_see_the_same_rows_and_losses(runs: Path) -> None:
    one, two = (json.loads((runs / name / "manifest.json").read_text())["figures"] for name in ("one", "two"))
    for name in ("rows", "rows_held_out", "tokens_learnt", "steps"):
        assert one[name] == two[name]
    assert two["held_out_loss_before"] == pytest.approx(one["held_out_loss_before"], rel=0.02)
    assert _losses(runs / "two") == pytest.approx(_losses(runs / "one"), abs=1e-4)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(runs: Path) -> None:
    import torch
    from safetensors.torch import load_file

    one, two = (load_file(runs / name / "adapter_model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    moved = [name for name in one if "lora_B" in name]
    assert moved
    assert all(one[name].abs().max() > 1e-3 for name in moved)
    for name, weight in one.items():
        assert torch.allclose(weight, two[name], atol=1e-5, rtol=1e-3), name


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages in one launch, and the reward model by one process."""
    folder = tmp_path_factory.mktemp("stages")
    save_base(folder / "base")
    save_rows(folder)
    write_chats(folder / "mask.parquet", 16)
    train_reward(reward_settings(folder, "reward-one", 4), progress=False)
    _run(*LAUNCH, str(ROOT / "tests" / "tuning" / "two_process_stages.py"), str(folder))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "reward", "rloo"])
def test_processes_end_with_one_adapter_and_leave_together(stage: str, stages: Path) -> None:
    main, other = (json.loads((stages / f"{stage}-{rank}.json").read_text()) for rank in (0, 1))
    assert main["adapter"] == other["adapter"]
    for seen in (main, other):
        assert (seen["wrapped"], seen["processes"]) == ("DistributedDataParallel", 2)
        assert seen["written"], "back before the main process had written"
    assert (main["manifest"], main["again"]) == (True, True)
    assert (other["manifest"], other["again"]) == (False, False), "one process speaks"
    assert not (stages / f"{stage}-two" / "checkpoints").exists()


@pytest.mark.slow
def test_two_processes_score_as_one_does(stages: Path) -> None:
    import torch
    from safetensors.torch import load_file

    assert _losses(stages / "reward-two") == pytest.approx(_losses(stages / "reward-one"), abs=1e-4)
    one, two = (load_file(stages / f"reward-{name}" / "model.safetensors") for name in ("one", "two"))
    base = load_file(stages / "base" / "model.safetensors")
    assert not torch.allclose(
        one["model.layers.0.self_attn.q_proj.weight"], base["model.layers.0.self_attn.q_proj.weight"], atol=1e-3
    )
    assert one.keys() == two.keys()
    assert all(torch.allclose(weight, two[name], atol=1e-5) for name, weight in one.items())


@pytest.mark.slow
def test_replies_of_both_processes_are_learnt_from(stages: Path) -> None:
    figures = json.loads((stages / "rloo-two" / "manifest.json").read_text())["figures"]
    assert figures["updates"] == UPDATES  # of four replies in each process
    assert abs(figures["kl_first"]) < 1e-5
    assert figures["kl_last"] > 1e-3


@pytest.mark.slow
def test_divided_weights_are_put_together_again(tmp_path: Path) -> None:
    _run(*LAUNCH, str(ROOT / "tests" / "tuning" / "two_process_sharded.py"), str(tmp_path))
    found = json.loads((tmp_path / "sharded.json").read_text())
    assert found["divided"] == ["DTensor"]
    assert found["whole"] == ["Parameter"]
    assert found["changed"]
    assert found["equal"]
