"""Settings from flags and recipes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from reclm_hf.tuning.arguments import RefineArguments, RewardArguments, SftArguments
from reclm_hf.tuning.recipes import add_arguments, from_args, read_recipe, write_recipe


def parsed(settings: Any, *argv: str) -> Any:
    parser = argparse.ArgumentParser()
    add_arguments(parser, settings)
    return from_args(settings, parser.parse_args(argv))


def test_flags_win_over_the_recipe_and_the_recipe_over_the_defaults(tmp_path: Path) -> None:
    recipe = tmp_path / "a.yaml"
    recipe.write_text(
        "output: there\ninstructions: x\nlearning_rate: 2e-3\nbatch_size: 7\ntrainer: {neftune_noise_alpha: 5}\n"
    )
    found = parsed(SftArguments, "--config", str(recipe), "--batch-size", "9", "--no-autocast")
    assert (found.output, found.learning_rate, found.batch_size, found.autocast) == ("there", 2e-3, 9, False)
    assert (found.seed, found.autocast, dict(found.trainer)) == (0, False, {"neftune_noise_alpha": 5})


def test_a_flag_given_as_its_default_wins_too(tmp_path: Path) -> None:
    recipe = tmp_path / "a.yaml"
    recipe.write_text("output: there\ninstructions: x\nbatch_size: 7\n")
    assert parsed(SftArguments, "--config", str(recipe), "--batch-size", "4").batch_size == 4


@pytest.mark.parametrize("settings", [SftArguments, RewardArguments, RefineArguments])
def test_a_written_recipe_makes_the_same_settings(settings: Any, tmp_path: Path) -> None:
    source = {"instructions": "t"} if settings is SftArguments else {"preferences": "t"}
    made = settings(output="o", learning_rate=3e-5, use_cpu=True, trainer={"max_grad_norm": 0.5}, **source)
    write_recipe(made, tmp_path)
    again = settings(**read_recipe(tmp_path / "recipe.yaml", settings), output="o")
    assert again == made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "holds list"),
        ("learnig_rate: 1\n", r"learnig_rate is no setting.*learning_rate"),
        ("batch_size: many\n", r"batch_size='many' is str, not int"),
        ("batch_size: true\n", r"batch_size=True is bool"),
        ("trainer: 3\n", "trainer=3"),
        ("a: [\n", "is not YAML"),
    ],
)
def test_a_wrong_recipe_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_recipe(path, SftArguments)
    assert "wrong.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": ""}, "output is empty"),
        ({"instructions": ""}, "instructions is empty"),
        ({"variant": "both"}, "variant='both'"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"max_steps": 0}, "max_steps=0"),
        ({"holdout": 1.0}, "holdout=1.0"),
        ({"lora_targets": " , "}, "lora_targets is empty"),
        ({"dtype": "int8"}, "dtype='int8'"),
    ],
)
def test_a_setting_without_meaning_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SftArguments(**({"output": "o", "instructions": "t"} | changes))


@pytest.mark.parametrize("weights", ["1", "1,2,3", "a,b", "-1,1"])
def test_reward_weights_are_two_numbers(weights: str) -> None:
    with pytest.raises(ValueError, match="reward_weights"):
        _ = RefineArguments(output="o", preferences="t", reward_weights=weights).weights
