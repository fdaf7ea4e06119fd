"""Recipes read into their settings, and the scripts of the whole chain call commands with flags that exist."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from reclm_hf.tuning.arguments import RefineArguments, RewardArguments, SftArguments, StageArguments
from reclm_hf.tuning.recipes import read_recipe

TRAINING = Path(__file__).parents[2] / "training"
CONFIGS = TRAINING / "configs"
STAGES: dict[str, type[StageArguments]] = {"sft": SftArguments, "reward": RewardArguments, "refine": RefineArguments}
RECIPES = sorted(path for path in CONFIGS.glob("*.yaml") if path.stem.split("-")[0] in STAGES)
SCRIPTS = [TRAINING / "laptop.sh", TRAINING / "gpu.sh"]


def _stage(path: Path) -> type[StageArguments]:
    return STAGES[path.stem.split("-")[0]]


def _read(path: Path) -> StageArguments:
    # Where a recipe leaves inputs and output to the flags, they are given here.
    needed = {entry.name: "somewhere" for entry in fields(_stage(path)) if entry.metadata.get("required")}
    return _stage(path)(**needed | read_recipe(path, _stage(path)))


def test_recipes_are_there() -> None:
    names = {path.stem for path in RECIPES}
    assert {"sft-llama-2-7b", "sft-llama-2-7b-fsdp", "sft-llama-3-8b", "sft-qwen", "sft-smollm2-1.7b"} <= names
    assert {"sft-smollm2-135m", "sft-naive", "sft-distill"} <= names


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_reads_into_its_settings(path: Path) -> None:
    assert _read(path).batch_size > 0


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_an_unknown_key_is_refused(path: Path, tmp_path: Path) -> None:
    changed = tmp_path / path.name
    changed.write_text(path.read_text(encoding="utf-8") + "\nlearning_rat: 1\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"learning_rat is no setting"):
        read_recipe(changed, _stage(path))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("sft-*.yaml")), ids=lambda path: path.stem)
def test_further_options_are_options_of_trl(path: Path) -> None:
    from trl import SFTConfig

    assert set(_read(path).trainer) <= {entry.name for entry in fields(SFTConfig)}


def test_variants_differ_in_the_variant_alone() -> None:
    settings = {name: _read(CONFIGS / f"sft-{name}.yaml") for name in ("smollm2-135m", "naive", "distill")}
    changed = {"variant", "instructions", "output"}
    for other in ("naive", "distill"):
        pairs = [(getattr(settings[name], entry.name) for name in ("smollm2-135m", other))
                 for entry in fields(SftArguments) if entry.name not in changed]  # fmt: skip
        assert all(one == two for one, two in pairs)


@pytest.mark.parametrize(("name", "most"), [("sft-llama-2-7b", 40), ("sft-llama-3-8b", 40), ("sft-qwen", 40),
                                            ("sft-smollm2-1.7b", 16), ("sft-smollm2-135m", 10)])  # fmt: skip
def test_recipes_fit_where_they_say(name: str, most: float, monkeypatch: pytest.MonkeyPatch) -> None:
    from reclm_hf.tuning.architectures import KNOWN, _configure
    from reclm_hf.tuning.plan import plan

    settings = _read(CONFIGS / f"{name}.yaml")
    assert plan(settings, _configure(KNOWN[settings.model]), processes=1).total < most * 1e9


def test_the_sharded_recipe_has_the_rows_and_the_wrapping_of_its_launcher() -> None:
    one, many = (_read(CONFIGS / f"sft-llama-2-7b{end}.yaml") for end in ("", "-fsdp"))
    launcher = yaml.safe_load((CONFIGS / "accelerate-fsdp.yaml").read_text(encoding="utf-8"))
    rows = many.batch_size * many.gradient_accumulation * launcher["num_processes"]
    assert rows == one.batch_size * one.gradient_accumulation
    assert many.trainer["fsdp"] is True
    for name, value in many.trainer["fsdp_config"].items():
        assert launcher["fsdp_config"][f"fsdp_{name}"] == value


def test_accelerate_reads_its_file() -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    found: Any = load_config_from_file(str(CONFIGS / "accelerate-fsdp.yaml"))
    assert str(found.distributed_type.value) == "FSDP"
    assert found.fsdp_config["fsdp_version"] == 2


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash_that_stops_at_the_first_error(path: Path) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True)
    assert "set -euo pipefail" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_every_command_of_a_script_parses(path: Path) -> None:
    from reclm_hf.commands.main import build_parser

    text = path.read_text(encoding="utf-8")
    usual = dict(re.findall(r'^(\w+)="\$\{\w+:-([^}]*)\}"', text, re.M)) | {"CONFIGS": str(CONFIGS), "stage": "sft"}
    filled = re.sub(r"\$(\w+)", lambda found: usual.get(found[1], found[0]), text)
    commands = [shlex.split(line)[1:] for line in filled.splitlines() if line.strip().startswith("reclm ")]
    assert {command[0] for command in commands} >= {"instructions", "sft", "preferences", "reward", "refine", "train"}
    for command in commands:
        args = build_parser().parse_args(command)
        if getattr(args, "config", None) is not None:
            settings = STAGES[command[0]]
            names = {entry.name for entry in fields(settings)}
            flags = {name: value for name, value in vars(args).items() if name in names}
            assert settings(**read_recipe(args.config, settings) | flags).output.startswith("runs/")
