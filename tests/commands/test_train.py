"""`reclm train` on data of every shape; the text encoder is a stand-in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reclm_hf.commands.main import main
from reclm_hf.data.folder import write_dataset
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.load import load_splits
from reclm_hf.data.splits import Split
from reclm_hf.data.tables import ITEM_PROFILE_COLUMNS, PROFILE_COLUMNS, read_parquet, write_parquet
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from tests.checkerboard import checkerboard


class Encoder:
    """Two directions, for even and odd, and a little of the text's own."""

    model_id, revision, max_length, dimension = "stand-in", None, 8, 8

    def encode(self, texts: list[str]) -> np.ndarray:
        vectors = np.random.default_rng(0).standard_normal((len(texts), 8)) / 10
        vectors[np.arange(len(texts)), [int("beta" in text) for text in texts]] += 1
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("reclm_hf.recommender.text_encoder.TextEncoder", Encoder)
    return tmp_path


def written(frame: pd.DataFrame, **info: object) -> None:
    """The interactions as the folder `data`, with item texts as in the checkerboard."""
    items = checkerboard()[0].data.items
    write_dataset(Interactions.from_tables(items, frame, "toy"), "data", info)


def rows() -> pd.DataFrame:
    toy = checkerboard()[0].data
    frame = pd.DataFrame({"user_id": toy.user_ids[toy.user], "item_id": toy.item_ids[toy.item]})
    frame["timestamp"] = pd.to_datetime(toy.timestamp, unit="us", utc=True)
    return frame


def profiles(split: Split, folder: Path, evidence: list[str]) -> None:
    """A profile of user-00 as of the cut of the split."""
    empty = {name: [None] for name in PROFILE_COLUMNS}
    known = {"user_id": ["user-00"], "profile": ["User identity: a; User interests: alpha"], "neighbors": [[]]}
    table = pd.DataFrame(empty | known | {"evidence": [evidence]})
    table["as_of"] = pd.Series([pd.Timestamp(split.cut, unit="us", tz="UTC")])
    write_parquet(table, folder / split.name / "user_profiles.parquet", PROFILE_COLUMNS)


def test_data_without_times(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(rows().drop(columns="timestamp"))
    assert main(["train", "data", "--preset", "standard", "--backbone", "bias_mf", "--name", "mine"]) == 0
    model = RecLMRecommender.from_pretrained(here / "runs" / "mine" / "model")
    assert (model.item_warm == 0).any()
    assert len(model.recommend(["user-00"], k=5).item_ids[0]) == 5
    capsys.readouterr()
    assert main(["train", "data", "--backbone", "bias_mf", "--name", "other"]) == 2
    assert "use the preset 'standard'" in capsys.readouterr().err


def test_one_user_has_no_negatives_and_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    frame = rows()
    written(frame[frame["user_id"] == "user-00"])
    assert main(["train", "data", "--preset", "standard", "--backbone", "bias_mf"]) == 2
    assert "no negatives to train on" in capsys.readouterr().err


def test_no_cold_items(here: Path) -> None:
    frame = rows()
    first = frame["timestamp"].min()
    # Everybody's first rows come at the start, so that every item is known before either cut.
    frame["timestamp"] = frame["timestamp"].where(frame.duplicated("item_id"), first)
    written(frame)
    for preset in ("standard", "floor_residual"):
        assert main(["train", "data", "--preset", preset, "--backbone", "bias_mf", "--name", preset]) == 0
        model = RecLMRecommender.from_pretrained(here / "runs" / preset / "model")
        assert np.isfinite(model.score(np.arange(50), np.arange(50))).all()


def test_profiles_are_checked_against_their_cut(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(rows(), test_cut=checkerboard()[0].test.cut)
    splits = load_splits("data")
    seen = str(splits.data.item_ids[splits.validation.history_item[splits.validation.history_user == 0][0]])
    later = str(splits.data.item_ids[splits.test.target_item[splits.test.target_user == 0][0]])
    train = ["train", "data", "--preset", "standard", "--backbone", "bias_mf", "--profile-mode", "llm"]
    for split in (splits.validation, splits.test):
        profiles(split, here / "clean", [seen])
        profiles(split, here / "leaking", [later])
    assert main([*train, "--profiles", "clean"]) == 0
    capsys.readouterr()
    assert main([*train, "--profiles", "leaking", "--name", "leaking"]) == 2
    assert f"evidence {later!r} is in no history before the cut" in capsys.readouterr().err
    write_parquet(pd.DataFrame({"user": ["user-00"]}), here / "clean" / "validation" / "user_profiles.parquet")
    assert main([*train, "--profiles", "clean", "--name", "broken"]) == 2
    assert "no column 'user_id'" in capsys.readouterr().err


def test_a_table_of_masked_and_other_profiles_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In either mode: it is no placebo, and no profiler's work either."""
    written(rows(), test_cut=checkerboard()[0].test.cut)
    split = load_splits("data").validation
    profiles(split, here / "mixed", ["000"])
    path = here / "mixed" / "validation" / "user_profiles.parquet"
    train = ["train", "data", "--preset", "standard", "--backbone", "bias_mf", "--profiles", "mixed"]
    one = read_parquet(path)
    table = pd.concat([one, one.assign(user_id="user-02")], ignore_index=True)
    table["prompt_version"] = ["v1-masked", "v1"]
    write_parquet(table, path, PROFILE_COLUMNS)
    for mode, needs in (("llm", "none"), ("masked_titles", "all")):
        assert main([*train, "--profile-mode", mode]) == 2
        told = capsys.readouterr().err
        assert f"1 of 2 profiles were written with --mask-titles, but --profile-mode {mode} needs {needs} to be" in told
    table["prompt_version"] = "v1"
    write_parquet(table, path, PROFILE_COLUMNS)
    assert main([*train, "--profile-mode", "masked_titles"]) == 2
    assert "0 of 2 profiles" in capsys.readouterr().err
    assert main(["train", "data", "--profile-mode", "masked_titles"]) == 2
    assert "run `reclm profiles build data --mask-titles`" in capsys.readouterr().err


def test_profiles_of_items_are_checked_against_those_they_were_written_from(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """User-02 chose the item before the cut, but no profile of hers stands beside."""
    written(rows(), test_cut=checkerboard()[0].test.cut)
    split = load_splits("data").validation
    seen = str(split.item_ids[split.history_item[split.history_user == 2][0]])
    known = {"item_id": [seen], "profile": ["User identity: a; User interests: alpha"], "phase": ["interactions"]}
    table = pd.DataFrame({name: [None] for name in ITEM_PROFILE_COLUMNS} | known | {"evidence": [["user-02"]]})
    table["as_of"] = pd.Series([pd.Timestamp(split.cut, unit="us", tz="UTC")])
    for folder in ("alone", "beside"):
        write_parquet(table, here / folder / "validation" / "item_profiles.parquet", ITEM_PROFILE_COLUMNS)
    profiles(split, here / "beside", ["000"])
    train = ["train", "data", "--preset", "standard", "--backbone", "bias_mf", "--profile-mode", "llm"]
    assert main([*train, "--profile-sides", "item", "--profiles", "beside"]) == 2
    assert "evidence: user 'user-02' has no profile in the given table" in capsys.readouterr().err
    assert main([*train, "--profile-sides", "item", "--profiles", "alone"]) == 2
    assert "test/item_profiles.parquet: there is no such file" in capsys.readouterr().err, "validation passed"


def test_a_cut_that_is_no_number_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    written(rows(), test_cut="2020-02-20")
    assert main(["train", "data"]) == 2
    assert "'test_cut' is '2020-02-20'; give whole microseconds" in capsys.readouterr().err


def test_optimizer_precision_and_threads_are_in_the_manifest(here: Path) -> None:
    written(rows())
    train = ["train", "data", "--preset", "standard", "--backbone", "bias_mf", "--name"]
    assert main([*train, "usual"]) == 0
    assert main([*train, "fast", "--optimizer", "row_sparse_adam", "--precision", "bfloat16", "--threads", "2"]) == 0
    found = [json.loads((here / "runs" / name / "model/manifest.json").read_text()) for name in ("usual", "fast")]
    names = ("optimizer", "precision", "threads")
    assert [found[0]["options"][name] for name in names] == ["adam", "float32", 1]
    assert [found[1]["options"][name] for name in names] == ["row_sparse_adam", "bfloat16", 2]


def test_another_optimizer_is_another_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(rows())
    train = ["train", "data", "--name", "one", "--preset", "standard", "--backbone"]
    assert main([*train, "lightgcn", "--optimizer", "row_sparse_adam"]) == 2
    line = capsys.readouterr().err
    assert line.startswith("reclm: error: optimizer='row_sparse_adam': backbone='lightgcn'")
    assert line.count("\n") == 1
    assert not (here / "runs").exists()
    assert main([*train, "bias_mf"]) == 0
    assert main([*train, "bias_mf", "--threads", "2"]) == 0, "threads are the machine's"
    assert main([*train, "bias_mf", "--precision", "bfloat16"]) == 2
    assert "holds a run with other options" in capsys.readouterr().err


def test_the_choices_of_the_command_are_those_of_the_configuration() -> None:
    from reclm_hf.commands import train
    from reclm_hf.recommender.configuration_reclm_recommender import BACKBONE_NAMES, PROFILE_MODES
    from reclm_hf.recommender.optimizers import OPTIMIZERS
    from reclm_hf.recommender.precision import PRECISIONS

    assert train.BACKBONES == BACKBONE_NAMES
    assert train.MODES == PROFILE_MODES
    assert train.OPTIMIZERS == OPTIMIZERS
    assert tuple(PRECISIONS) == train.PRECISIONS
