"""From imported tables to recommendations, through the commands alone, with the real sentence encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from reclm_hf.commands.main import main
from reclm_hf.data.folder import write_dataset
from tests.checkerboard import checkerboard


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the checkerboard as a data folder."""
    monkeypatch.chdir(tmp_path)
    splits, _ = checkerboard()
    write_dataset(splits.data, tmp_path / "data", {"test_cut": splits.test.cut})
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("brief_floors")
def test_train_evaluate_recommend(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = run(capsys, "train", "data", "--backbone", "bias_mf", "--preset", "standard", "--name", "mine")
    model = str(trained["model"])
    assert (folder / model / "model.safetensors").is_file()
    assert "reclm evaluate" in str(trained["next"])
    manifest = json.loads((folder / model / "manifest.json").read_text())
    assert (manifest["test_opened"], manifest["options"]["backbone"]) == ("no", "bias_mf")

    evaluated = run(capsys, "evaluate", model, "--data", "data", "--output", "runs/report")
    report = (folder / "runs" / "report" / "report.md").read_text()
    assert model in report
    assert "text_cosine" in report
    results = pd.read_parquet(folder / "runs" / "report" / "results.parquet")
    assert {"catalogue", "catalogue_warm", "catalogue_cold", "zero_shot"} <= set(results["setting"])
    assert (results["kind"] == "mean_user").any()
    assert evaluated["comparisons"]
    page = (folder / str(evaluated["page"])).read_text()
    assert str(evaluated["page"]) in str(evaluated["next"])
    assert "could not be made" not in page
    assert "Chosen epochs, with the value on validation" in page

    found = run(capsys, "recommend", model, "user-03", "user-04", "--k", "2", "--output", "lists.parquet")
    rows = found["recommendations"]
    assert isinstance(rows, list)
    assert [row["user_id"] for row in rows] == ["user-03"] * 2 + ["user-04"] * 2
    assert len(pd.read_parquet(folder / "lists.parquet")) == 4


def test_what_is_missing_is_said_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "data", "--profile-mode", "llm"]) == 2
    assert "reclm profiles build" in capsys.readouterr().err
    assert main(["train", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert main(["recommend", "runs/mine/model"]) == 2
    assert "one of the four" in capsys.readouterr().err
