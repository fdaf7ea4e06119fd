"""`reclm profiles build | update`, through the commands alone; the text encoder is a stand-in, the model a tiny one."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from reclm_hf.commands.main import main
from reclm_hf.data.folder import write_dataset
from reclm_hf.profiler.configuration_reclm_profiler import RecLMProfilerConfig
from reclm_hf.profiler.modeling_reclm_profiler import RecLMProfiler
from reclm_hf.profiles.engine_transformers import TransformersEngine
from tests.checkerboard import checkerboard
from tests.commands.test_train import Encoder
from tests.profiler.models import adapted, save_base, tokenizer
from tests.profiles.tiny import tiny_model, tiny_tokenizer


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the checkerboard and a tiny chat model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("reclm_hf.recommender.text_encoder.TextEncoder", Encoder)
    splits, _ = checkerboard()
    write_dataset(splits.data, tmp_path / "data", {"test_cut": splits.test.cut})
    # Saved and loaded again, the tiny model would lose the hook that makes it write phrases.
    engine = TransformersEngine(tiny_model(), tiny_tokenizer(), "tiny", tokens_an_item=27)
    monkeypatch.setattr(TransformersEngine, "from_model_id", lambda *words, **options: engine)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_build_train_and_update(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = run(capsys, "profiles", "build", "data", "--output", "profiles")
    assert {"users, validation", "items, test", "cold items, test"} <= set(written)
    users = written["users, test"]
    assert isinstance(users, dict)
    assert (users["rows"], users["quality"]["profiles"]) == (50, 50)
    assert "--profile-sides both" in str(written["next"])
    for cut in ("validation", "test"):
        for name in ("user_profiles.parquet", "item_profiles.parquet", "certificate.json", "item_certificate.json"):
            assert (here / "profiles" / cut / name).is_file()

    words = str(written["next"]).split()[1:]
    model = run(capsys, *words, "--backbone", "bias_mf", "--preset", "standard", "--name", "both")["model"]
    assert json.loads((here / str(model) / "config.json").read_text())["profile_sides"] == "both"

    (here / "people.csv").write_text("user_id,text\nann,alpha stories\nbob,\n")
    folder = str(here / "profiles" / "test")
    told = ("--as-of", "2020-02-20", "--new-users", "people.csv")
    updated = run(capsys, "profiles", "update", "data", folder, *told)
    assert isinstance(updated["users"], dict)
    assert (updated["users"]["kept"], updated["users"]["new"]) == (50, 2)
    assert pd.read_parquet(Path(folder) / "user_profiles.parquet")["source"].tolist()[-2:] == ["stated", "prior"]


def test_the_best_of_some(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("profiles", "build", "data", "--cut", "test", "--sides", "user", "--users", "6", "--best-of", "2")
    assert run(capsys, *command, "--output", "profiles")["users, test"]
    table = pd.read_parquet(here / "profiles" / "test" / "user_profiles.parquet")
    assert table["generator"].str.contains("best of 2").all()
    assert len(list((here / "profiles" / "test" / "candidates").glob("candidates-*.parquet"))) >= 1


def test_a_profiler_is_asked_in_its_own_form_unless_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = str(save_base(here / "base"))
    RecLMProfiler(adapted(), tokenizer(), RecLMProfilerConfig(base, form="dialogue")).save_pretrained(here / "tuned")
    command = ("profiles", "build", "data", "--cut", "test", "--sides", "user", "--users", "4", "--model", "tuned")
    for told, version in (
        ((), "dialogue-1, person"),
        (("--form", "own"), "user-2, own"),
        (("--form", "examples"), "user-2"),
    ):
        run(capsys, *command, *told, "--output", "profiles")
        table = pd.read_parquet(here / "profiles" / "test" / "user_profiles.parquet")
        assert set(table["prompt_version"]) == {version}
        assert table["generator"].str.contains("tuned sha256:").all()


def test_a_chat_model_is_asked_with_examples_unless_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("profiles", "build", "data", "--cut", "test", "--sides", "user", "--users", "4", "--cross-fit")
    for told, version in (((), "user-2"), (("--form", "plain"), "user-2, plain")):
        run(capsys, *command, *told, "--output", "profiles")
        for folder in ("test", "test/fold-0"):
            table = pd.read_parquet(here / "profiles" / folder / "user_profiles.parquet")
            assert set(table["prompt_version"]) == {version}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("build", "data", "--columns", "title,plot"), "title, categories, text"),
        (("build", "data", "--mask-titles", "--sides", "item"), "--mask-titles"),
        (("build", "data", "--best-of", "0"), "--best-of"),
        (("build", "data", "--base-url", "http://127.0.0.1:1/v1", "--revision", "main"), "--revision"),
        (("update", "data", "nowhere"), "reclm profiles build"),
        (("update", "data", "nowhere", "--as-of", "yesterdayish"), "2013-08-01"),
        (("update", "data", "nowhere", "--new-users", "absent.csv"), "absent.csv"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert main(["profiles", *words]) == 2
    assert said in capsys.readouterr().err
