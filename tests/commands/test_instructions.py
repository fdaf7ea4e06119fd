"""`reclm instructions` as a person uses it: chats out of a profile table, and out of the authors' release."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reclm_hf.commands.main import main
from reclm_hf.data.folder import write_dataset
from reclm_hf.data.load import load_splits
from reclm_hf.data.tables import (
    INSTRUCTION_COLUMNS,
    ITEM_PROFILE_COLUMNS,
    PROFILE_COLUMNS,
    read_parquet,
    write_parquet,
)
from reclm_hf.profiles.generate import generate_user_profiles
from reclm_hf.profiles.item_profiles import generate_item_profiles
from tests.checkerboard import checkerboard
from tests.data.release import write_release
from tests.profiles.tiny import WordEngine, tiny_tokenizer

BUILD = ("build", "data", "--profiles", "profiles", "--model", "chat", "--max-tokens", "900")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory with data, profiles as of the validation cut, and a tokenizer."""
    monkeypatch.chdir(tmp_path)
    made, vectors = checkerboard()
    write_dataset(made.data, "data", {"test_cut": made.test.cut})
    tiny_tokenizer().save_pretrained("chat")
    splits = load_splits("data")
    split, items = splits.validation, splits.data.items
    users = np.arange(50)
    near = np.stack([(users + 2 * step) % 10 for step in (1, 2)], axis=1).astype(np.int32)
    place, shards = Path("profiles/validation"), tmp_path / "shards"
    table = generate_user_profiles(split, items, near, WordEngine(), shards, users=users[:10], progress=False)
    write_parquet(table, place / "user_profiles.parquet", PROFILE_COLUMNS)
    by_item = generate_item_profiles(split, items, table, vectors, WordEngine(), shards / "items", progress=False)
    write_parquet(by_item, place / "item_profiles.parquet", ITEM_PROFILE_COLUMNS)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main(["instructions", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def failure(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["instructions", *words]) == 2
    return capsys.readouterr().err


def test_dialogues_of_users(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["instructions", *BUILD, "--show", "1"]) == 0
    shown = capsys.readouterr().out
    path = Path("runs/checkerboard/instructions/validation/mask/instructions.parquet")
    table = read_parquet(path)
    assert list(table.columns) == list(INSTRUCTION_COLUMNS)
    assert f"{len(table)} chats: {path}, as of the validation cut" in shown
    assert f"{len(table) // 2} Yes, {len(table) // 2} No" in shown
    assert "what single facts tell of the answer (AUC, 0.5 is nothing): popularity 0." in shown
    assert "[system]\n  You describe" in shown
    assert "[assistant]\n  Yes\n" in shown
    assert shown.splitlines()[-1].startswith("Next: reclm preferences build data")
    known = json.loads((path.parent / "instructions.json").read_text())
    assert known["rows"] == len(table)
    assert known["tokens"]["max"] <= known["max_tokens"] == 900
    assert known["prompt_versions"]["dialogue"] == "dialogue-1"
    assert known["generator"] == ["words"]
    assert known["unread"] is False


def test_users_left_out_stand_nowhere(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profiles = read_parquet(Path("profiles/validation/user_profiles.parquet")).set_index("user_id")
    ids = [str(user) for user in profiles.index[:2]]
    Path("users.txt").write_text("".join(f"{user}\n" for user in ids))
    whole, made = run(capsys, *BUILD), run(capsys, *BUILD, "--without-users", "users.txt", "--output", "less")
    assert made["neighbors_left_out"] > whole["neighbors_left_out"]
    assert not set(read_parquet(made["instructions"])["user_id"]) & set(ids)
    assert "sha256:" in json.loads(Path("less/instructions.json").read_text())["without_users"]
    assert "names nobody" in failure(capsys, *BUILD, "--without-users", "/dev/null")


def test_options_reach_the_chats(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--per-user", "4", "--match-popularity", "--seed", "3", "--columns", "title", "--language", "Dutch")
    found = run(capsys, *BUILD, "--variant", "naive", *options, "--output", "out", "--show", "2")
    table = read_parquet("out/instructions.parquet")
    assert found["instructions"] == "out/instructions.parquet"
    assert set(table["variant"]) == {"naive"}
    assert table.groupby("user_id").size().max() == 4
    assert found["yes"] == found["no"] == len(table) / 2
    assert "Dutch" in found["examples"][0][0]["content"]
    assert "(alpha)" not in found["examples"][0][1]["content"]
    assert len(found["examples"]) == 2
    assert json.loads(Path("out/instructions.json").read_text())["match_popularity"] is True
    distilled = run(capsys, *BUILD, "--variant", "distill")
    assert (distilled["rows"], distilled["yes"], distilled["no"]) == (10, 0, 0)
    assert "shortcuts" not in distilled


def test_chats_about_items(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = checkerboard()[1]
    monkeypatch.setattr("reclm_hf.pipeline.texts.encode_items", lambda data, encoder: vectors)
    monkeypatch.setattr("reclm_hf.recommender.text_encoder.TextEncoder", lambda: None)
    found = run(capsys, *BUILD, "--side", "item")
    table = read_parquet("runs/checkerboard/instructions/validation/item/instructions.parquet")
    assert found["forms"] == {"readers": 42, "similar": 42}
    assert len(table) == found["rows"] == 84
    assert table["user_id"].isna().all()
    assert "leave out --variant" in failure(capsys, *BUILD, "--side", "item", "--variant", "mask")


def test_what_cannot_be_done_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "run `reclm profiles build data`" in failure(capsys, "build", "data", "--model", "chat")
    assert "user_profiles.parquet: there is no such file" in failure(capsys, *BUILD, "--cut", "test")
    assert "No chat can be made: 10 (does not fit the tokens). Give more tokens" in failure(capsys, *BUILD[:-1], "200")
    assert "n_per_user=3" in failure(capsys, *BUILD, "--per-user", "3")
    assert not Path("runs").exists()


def test_a_leaking_table_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("profiles/validation/user_profiles.parquet")
    table = read_parquet(path)
    table["as_of"] = table["as_of"] + pd.Timedelta(days=30)
    write_parquet(table, path, PROFILE_COLUMNS)
    assert "leaks in profiles for the validation cut" in failure(capsys, *BUILD)


def test_import_of_the_release(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_release(folder / "release", "mind")
    assert main(["instructions", "import", str(source), "--model", "chat"]) == 0
    shown = capsys.readouterr().out
    assert "2 profiles of users: 1 well-formed once their punctuation is mended (0 as written), 1 malformed" in shown
    assert "chatgpt-3.5 (RecLM release)" in shown
    assert shown.splitlines()[-1] == f"Next: reclm data import {source} --format reclm-release"
    place = Path("runs/mind/instructions/chatgpt")
    assert len(read_parquet(place / "instructions.parquet")) == 2
    assert set(read_parquet(place / "user_profiles.parquet")["generator"]) == {"chatgpt-3.5 (RecLM release)"}
    assert len(read_parquet(place / "item_profiles.parquet")) == 2
    assert json.loads((place / "instructions.json").read_text())["profiles"]["users"]["malformed"] == 1
    pairs = folder / "release" / "sft" / "mind"
    found = run(capsys, "import", str(source), "--pairs", str(pairs), "--model", "chat", "--output", "out")
    assert found["forms"] == {"history": 1, "readers": 1}
    assert "there is no such file" in failure(capsys, "import", "nowhere", "--model", "chat")
