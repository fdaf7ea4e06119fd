"""Supervised tuning of a tiny model, for real."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from reclm_hf.commands.main import main
from reclm_hf.data.tables import INSTRUCTION_COLUMNS, TableError, write_parquet
from reclm_hf.profiler.modeling_reclm_profiler import RecLMProfiler
from reclm_hf.tuning.models import load_for_training
from reclm_hf.tuning.outputs import CHECKPOINTS
from reclm_hf.tuning.sft import FORMS, train_sft
from tests.profiler.models import adapted, logits, tokenizer
from tests.tuning.sft_parts import chats, settings


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(folder / "adapter_model.safetensors"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Thirty seeded steps."""
    folder = tmp_path_factory.mktemp("sft")
    return folder, train_sft(settings(folder, max_steps=30, n_users=16, holdout=0.2), progress=False)


def test_the_loss_falls_also_on_users_that_were_held_out(trained: tuple[Path, dict[str, Any]]) -> None:
    figures = trained[1]["figures"]
    log = pd.read_parquet(trained[0] / "out" / "training_log.parquet")
    losses = log[log["name"] == "loss"]["value"].to_numpy()
    assert len(losses) == figures["steps"] == 30
    assert losses[-5:].mean() < 0.8 * losses[:5].mean()
    assert figures["held_out_loss_after"] < 0.9 * figures["held_out_loss_before"]
    assert figures["rows"] + figures["rows_held_out"] == 32
    assert figures["rows_held_out"] > 0
    # Each user's profile is one of four, and told of the neighbour in other users' chats.
    assert figures["held_out_profiles_told"] == figures["held_out_profiles"] > 0


def test_every_weight_of_the_adapter_moved_and_no_other(trained: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = trained
    found = adapter(folder / "out")
    assert len(found) == 8  # two layers, two projections, A and B
    fresh = settings(folder, max_steps=1, output=str(folder / "fresh"), learning_rate=1e-30)
    train_sft(fresh, progress=False)
    start = adapter(folder / "fresh")
    assert all((found[name] - start[name]).abs().max() > 1e-4 for name in found)
    base = load_for_training(fresh).model
    profiler = RecLMProfiler.from_pretrained(folder / "out", dtype="float32")
    whole = dict(profiler.model.get_base_model().named_parameters())
    for name, weight in base.named_parameters():
        at = name if name in whole else name.replace(".weight", ".base_layer.weight")
        assert torch.equal(weight, whole[at]), name


def test_a_saved_profiler_answers_as_the_trained_one(trained: tuple[Path, dict[str, Any]]) -> None:
    folder, manifest = trained
    first = RecLMProfiler.from_pretrained(folder / "out", dtype="float32")
    again = RecLMProfiler.from_pretrained(folder / "out", dtype="float32")
    assert torch.equal(logits(first.model), logits(again.model))
    assert not torch.equal(logits(first.model), logits(load_for_training(settings(folder)).model))
    assert first.config.form == FORMS["mask"]
    assert first.tokenizer.chat_template == tokenizer().chat_template
    assert manifest["inputs"]["instructions"].startswith("sha256:")
    assert str(folder) not in json.dumps(manifest)


@pytest.mark.parametrize("variant", ["naive", "distill"])
def test_the_other_variants(variant: str, tmp_path: Path) -> None:
    kind = "distill" if variant == "distill" else "mask"
    manifest = train_sft(settings(tmp_path, variant=variant, table_variant=kind), progress=False)
    assert manifest["figures"]["variant"] == variant
    profiler = RecLMProfiler.from_pretrained(tmp_path / "out", dtype="float32")
    assert profiler.config.form == FORMS[variant]
    if variant == "naive":  # "Yes" or "No" and the end token
        assert manifest["figures"]["tokens_learnt"] <= 4 * manifest["figures"]["rows"]


def test_the_same_call_again_trains_nothing(
    trained: tuple[Path, dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    folder, manifest = trained
    with caplog.at_level(logging.INFO):
        again = train_sft(settings(folder, max_steps=30, n_users=16, holdout=0.2), progress=False)
    assert again == manifest
    assert "finished already" in caplog.text
    with pytest.raises(ValueError, match="other settings"):
        train_sft(settings(folder, max_steps=31, holdout=0.2), progress=False)


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"not empty \(thesis\.tex\)"):
        train_sft(settings(tmp_path), progress=False)


def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path, child_environment: dict[str, str]) -> None:
    whole = settings(tmp_path, max_steps=12, save_steps=3, lora_dropout=0.1)
    train_sft(whole, progress=False)
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.tuning.sft_parts import settings; from reclm_hf.tuning.sft import train_sft\n"
        "train_sft(settings(Path(sys.argv[1]), max_steps=12, save_steps=3, lora_dropout=0.1, output=sys.argv[2],"
        " trainer={'dataloader_num_workers': 0}), progress=False)\n"
    )
    out = tmp_path / "killed"
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(out)], env=child_environment)
    limit = time.monotonic() + 120
    while not (out / CHECKPOINTS / "checkpoint-6" / "trainer_state.json").is_file() and child.poll() is None:
        assert time.monotonic() < limit
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    again = settings(
        tmp_path, max_steps=12, save_steps=3, lora_dropout=0.1, output=str(out), trainer={"dataloader_num_workers": 0}
    )
    spent = json.loads((out / CHECKPOINTS / "cost.json").read_text())
    cost = train_sft(again, progress=False)["cost"]
    assert cost["wall_s"] > spent["wall_s"] > 0, "what the first part cost counts too"
    first, second = adapter(tmp_path / "out"), adapter(out)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not (out / CHECKPOINTS).exists()


def test_a_second_reply_that_would_be_cut_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"row \d+ \(user 'u\d'"):
        train_sft(settings(tmp_path, max_tokens=100), progress=False)
    assert not (tmp_path / "out").exists()


def test_some_users_are_left_alone(tmp_path: Path) -> None:
    users = tmp_path / "users.txt"
    users.write_text("u1\nu3\n")
    manifest = train_sft(settings(tmp_path, without_users=str(users), max_steps=1), progress=False)
    assert (manifest["figures"]["rows"], manifest["figures"]["rows_left_out"]) == (12, 4)


def test_profiles_of_users_left_alone_are_not_taught_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    users = tmp_path / "users.txt"
    users.write_text("u1\n")  # the similar person of u0's two chats
    train_sft(settings(tmp_path, without_users=str(users), max_steps=1, n_users=3), progress=False)
    assert "2 of 4 chats tell the profile of a user of without_users" in caplog.text


def test_other_users_left_alone_or_another_table_are_another_run(tmp_path: Path) -> None:
    users = tmp_path / "users.txt"
    users.write_text("u1\n")
    given = settings(tmp_path, without_users=str(users), max_steps=1)
    first = train_sft(given, progress=False)
    assert {"instructions", "without_users", "weights", "model"} == set(first["inputs"])
    assert str(tmp_path) not in json.dumps(first)
    assert train_sft(given, progress=False) == first
    users.write_text("u2\n")
    with pytest.raises(ValueError, match="other settings or inputs"):
        train_sft(given, progress=False)
    users.write_text("\n")
    with pytest.raises(TableError, match=r"names nobody"):
        train_sft(given, progress=False)


def test_an_unknown_option_of_the_trainer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="SFTConfig of TRL has no option lerning_rate"):
        train_sft(settings(tmp_path, trainer={"lerning_rate": 1.0}), progress=False)
    train_sft(settings(tmp_path, max_steps=1), progress=False)  # nothing was begun: the folder is free


def test_an_adapter_is_tuned_further_as_a_whole_model(tmp_path: Path) -> None:
    given = settings(tmp_path)
    from reclm_hf.profiler.configuration_reclm_profiler import RecLMProfilerConfig

    RecLMProfiler(adapted(), tokenizer(), RecLMProfilerConfig(given.model)).save_pretrained(tmp_path / "adapter")
    train_sft(settings(tmp_path, model=str(tmp_path / "adapter")), progress=False)
    assert RecLMProfiler.from_pretrained(tmp_path / "out").config.layout == "merged"


def test_command_and_script_give_equal_adapters(
    tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = settings(tmp_path, seed=3)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"model: {given.model}\ninstructions: {given.instructions}\nautocast: false\nuse_cpu: true\nmax_steps: 3\n"
        "batch_size: 2\nlearning_rate: 1e-2\nholdout: 0\nseed: 3\n"
    )
    calls = {"a": lambda flags: main(["sft", *flags]), "b": script_of(repository).main}
    for name, call in calls.items():
        assert call(["--config", str(recipe), "--output", str(tmp_path / name)]) == 0
        assert "Next: reclm profiles build" in capsys.readouterr().out
    first, second = adapter(tmp_path / "a"), adapter(tmp_path / "b")
    assert all(torch.equal(first[name], second[name]) for name in first)


def script_of(repository: Path) -> Any:
    spec = importlib.util.spec_from_file_location("sft_script", repository / "training" / "sft.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def test_rows_with_an_empty_reply_are_refused(tmp_path: Path) -> None:
    table = chats(4)
    table.at[2, "messages"] = [*table.at[2, "messages"][:-1], {"role": "user", "content": "?"}]
    write_parquet(table, tmp_path / "wrong.parquet", INSTRUCTION_COLUMNS)
    with pytest.raises(TableError, match=r"row 2 \(user 'u1'\) does not end with a reply"):
        train_sft(settings(tmp_path, instructions=str(tmp_path / "wrong.parquet")), progress=False)
