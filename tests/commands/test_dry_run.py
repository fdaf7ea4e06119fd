"""`--dry-run` of the stages: a plan of a 7B model without weights, without tables and without network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reclm_hf.commands.main import main

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
LLAMA = "meta-llama/Llama-2-7b-chat-hf"


@pytest.mark.parametrize(
    ("stage", "recipe", "table"),
    [
        ("sft", "sft-llama-2-7b-fsdp.yaml", "--instructions"),
        ("reward", "reward.yaml", "--preferences"),
        ("refine", "refine-rloo.yaml", "--preferences"),
    ],
)
def test_plan_and_memory_are_printed(
    stage: str, recipe: str, table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [table, str(tmp_path / "none"), "--output", str(tmp_path / "out")]
    argv = [stage, "--config", str(CONFIGS / recipe), "--model", LLAMA, "--dtype", "bfloat16", *places, "--dry-run"]
    assert main([*argv, "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert alone["stage"] == stage
    assert 12 < alone["memory"]["weights"] / 2**30 < 13
    assert main([*argv, "--processes", "4", "--json"]) == 0
    together = json.loads(capsys.readouterr().out)
    assert together["processes"] == 4
    assert together["tokens_per_step"] == 4 * alone["tokens_per_step"]
    assert (together["total"] < alone["total"]) == alone["sharded"] == (stage == "sft")
    assert not (tmp_path / "out").exists()


def test_a_count_of_processes_is_a_count(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sft", "--instructions", "none", "--output", "none", "--dry-run", "--processes", "0"])
    assert "'0': give a whole number from 1" in capsys.readouterr().err
