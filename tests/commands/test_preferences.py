"""`reclm preferences` as a person uses it: pairs out of a profile table, a CSV file out and back in."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reclm_hf.commands.main import main
from reclm_hf.commands.preferences import parse_shares
from reclm_hf.data.folder import write_dataset
from reclm_hf.data.load import load_splits
from reclm_hf.data.tables import PROFILE_COLUMNS, read_parquet, write_parquet
from reclm_hf.profiles.generate import generate_user_profiles
from tests.checkerboard import checkerboard
from tests.profiles.tiny import WordEngine, tiny_tokenizer

TABLE = Path("runs/checkerboard/preferences/validation/preferences.parquet")


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WordEngine:
    """The working directory with data and profiles as of both cuts, and the engine that weak profiles come from."""
    monkeypatch.chdir(tmp_path)
    made = checkerboard()[0]
    write_dataset(made.data, "data", {"test_cut": made.test.cut})
    splits = load_splits("data")
    users = np.arange(50)
    neighbors = np.stack([(users + 2) % 50, (users + 4) % 50], axis=1).astype(np.int32)
    for split in (splits.validation, splits.test):
        folder = Path("profiles") / split.name
        table = generate_user_profiles(split, splits.data.items, neighbors, WordEngine(), folder, progress=False)
        write_parquet(table, folder / "user_profiles.parquet", PROFILE_COLUMNS)
    weak = WordEngine("weak")
    monkeypatch.setattr("reclm_hf.commands.preferences.engine_of", lambda args: weak)
    return weak


def run(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main(["preferences", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def failure(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["preferences", *words]) == 2
    return capsys.readouterr().err


def judge(path: Path, verdicts: list[str]) -> None:
    """Write verdicts into the first rows of a file, as a spreadsheet with semicolons would."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    rows = list(csv.DictReader(lines, delimiter=";" if ";" in lines[0] else ","))
    for row, verdict in zip(rows, verdicts, strict=False):
        row["verdict"] = verdict
    with open(path, "w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)


def test_build_export_import(engine: WordEngine, capsys: pytest.CaptureFixture[str]) -> None:
    built = run(capsys, "build", "data", "--profiles", "profiles")
    assert (built["preferences"], built["pairs"], built["judged"]) == (str(TABLE), 50, 0)
    assert sum(built["kinds"].values()) == 50
    assert f"reclm preferences review {TABLE} --export" in built["next"]
    said = json.loads((TABLE.parent / "preferences.json").read_text())
    assert (said["weak_profiles"], said["generator"], said["shares"]["neighbor"]) == ("weak", ["words"], 0.3)
    assert said["weak_profiles_sha256"] is None
    asked = len(engine.asked)
    assert asked == built["kinds"]["weak_prompt"]

    exported = run(capsys, "review", str(TABLE), "--export", "review.csv", "--sample", "10")
    assert exported["pairs"] == 10
    judge(Path("review.csv"), ["A", "b", "neither", "skip"])
    imported = run(capsys, "review", str(TABLE), "--import", "review.csv")
    assert imported["judged"] == 3
    assert sum(imported["verdicts"].values()) == 10
    accepted = read_parquet(TABLE)["accepted"].dropna()
    assert (len(accepted), int(accepted.sum())) == (3, imported["accepted"])

    again = run(capsys, "build", "data", "--profiles", "profiles")
    assert again["judged"] == 3, "building again keeps what a person has said"
    assert len(engine.asked) == asked, "and asks the model for nothing that it has written"
    assert "verdicts belong to pairs" in failure(capsys, "build", "data", "--profiles", "profiles", "--seed", "7")
    assert read_parquet(TABLE)["accepted"].notna().sum() == 3


def test_conflicts_keep_the_earlier_verdict_unless_told(engine: WordEngine, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "build", "data", "--profiles", "profiles", "--shares", "neighbor=.5,diluted=.5")
    assert engine.asked == [], "no weak profiles, no model"
    run(capsys, "review", str(TABLE), "--export", "review.csv")
    judge(Path("review.csv"), ["A"] * 50)
    first = run(capsys, "review", str(TABLE), "--import", "review.csv")
    judge(Path("review.csv"), ["B"] * 50)
    second = run(capsys, "review", str(TABLE), "--import", "review.csv")
    assert len(second["conflicts"]) == 50
    assert second["accepted"] == first["accepted"]
    assert "--replace" in second["next"]
    third = run(capsys, "review", str(TABLE), "--import", "review.csv", "--replace")
    assert third["accepted"] == 50 - first["accepted"]


def test_weak_profiles_from_a_file(engine: WordEngine, capsys: pytest.CaptureFixture[str]) -> None:
    weak = "User identity: movie fan, film fan, screen fan; User interests: new films, old films, all films"
    users = [f"user-{number:02d}" for number in range(50)]
    given = Path("weak.parquet").resolve()
    pd.DataFrame({"user_id": users, "profile": weak}).to_parquet(given)
    options = ["--weak-profiles", str(given), "--cut", "test", "--output", "mine"]
    run(capsys, "build", "data", "--profiles", "profiles", "--shares", "weak_prompt=1", *options)
    stored = Path("mine/preferences.json").read_text()
    assert str(given.parent) not in stored, "it names the file, not this machine's folders"
    said = json.loads(stored)
    assert said["weak_profiles"] == "weak.parquet"
    assert said["weak_profiles_sha256"] == hashlib.sha256(given.read_bytes()).hexdigest()
    table = read_parquet("mine/preferences.parquet")
    assert {row[0]["content"] for row in table["rejected"]} == {weak}
    assert engine.asked == []
    options[-1] = "others"
    run(capsys, "build", "data", "--profiles", "profiles", "--shares", "neighbor=1", *options)
    unused = json.loads(Path("others/preferences.json").read_text())
    assert (unused["weak_profiles"], unused["weak_profiles_sha256"]) == (None, None)


def test_profiles_that_know_of_later_things_are_refused(engine: WordEngine, capsys: pytest.CaptureFixture[str]) -> None:
    late = read_parquet("profiles/test/user_profiles.parquet")
    write_parquet(late, Path("profiles/validation/user_profiles.parquet"), PROFILE_COLUMNS)
    message = failure(capsys, "build", "data", "--profiles", "profiles")
    assert "user-" in message
    assert not TABLE.exists()


def test_what_is_wrong_is_said_in_one_line(engine: WordEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert "reclm profiles build" in failure(capsys, "build", "data")
    assert "there is no such file" in failure(capsys, "build", "data", "--profiles", "nowhere")
    assert "sum to 0.5" in failure(capsys, "build", "data", "--profiles", "profiles", "--shares", "neighbor=.5")
    assert "there is no such file" in failure(capsys, "review", "--import", "x.csv")
    run(capsys, "build", "data", "--profiles", "profiles")
    assert "--sample goes with" in failure(capsys, "review", str(TABLE), "--import", "x.csv", "--sample", "3")
    assert "--replace goes with" in failure(capsys, "review", str(TABLE), "--export", "x.csv", "--replace")
    with pytest.raises(SystemExit):
        main(["preferences", "review", str(TABLE)])


def test_shares_are_read() -> None:
    assert parse_shares("neighbor=.5, diluted=0.5") == {"neighbor": 0.5, "diluted": 0.5}
    for bad in ("neighbor", "neighbor=half", "", "neighbor=.5,neighbor=.5"):
        with pytest.raises(ValueError, match="--shares"):
            parse_shares(bad)


def test_pairs_in_the_form_of_a_dialogue(
    engine: WordEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    told = ("--form", "dialogue", "--max-tokens", "500", "--tokenizer", "model", "--output", "pairs")
    assert run(capsys, "build", "data", "--profiles", "profiles", *told)["pairs"] == 50
    table = read_parquet(Path("pairs") / TABLE.name)
    assert all(row[0]["content"].startswith("The person:") for row in (*table["chosen"], *table["rejected"]))
    assert all("Similar person 2 chose:" in prompt[1]["content"] for prompt in table["prompt"])
    assert json.loads(Path("pairs/preferences.json").read_text())["form"] == "dialogue"
    server = ("--base-url", "http://127.0.0.1:1/v1", "--form", "own")
    assert "--tokenizer" in failure(capsys, "build", "data", "--profiles", "profiles", *server)
