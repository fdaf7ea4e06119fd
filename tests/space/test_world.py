"""What a Space knows once it is loaded; what is absent is empty, what belongs to other data is refused."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.folder import ITEMS_FILE
from reclm_hf.data.splits import Splits
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from reclm_hf.recommender.what_if import Someone
from reclm_hf.space import encoder as encoders
from reclm_hf.space.encoder import SharedEncoder
from reclm_hf.space.settings import Settings, settings_of
from reclm_hf.space.world import load_world
from tests.hub.small_tables import USERS
from tests.recommender.models import untrained
from tests.space.small_run import write_model, write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def splits(folder: Path) -> Splits:
    return write_run(folder)


@pytest.fixture(scope="module")
def settings(folder: Path, splits: Splits) -> Settings:
    return settings_of(str(folder))


def test_a_run(settings: Settings, splits: Splits) -> None:
    world = load_world(settings)
    items = splits.data.items
    assert world.model.catalog.item_ids == items["item_id"].tolist()
    assert world.texts == items["text"].tolist()
    assert set(world.profiles) == set(USERS)
    first = world.profiles[USERS[0]]
    assert (first.profile, first.identities) == (
        "User identity: alpha reader; User interests: alpha tales",
        ["alpha reader"],
    )
    assert (first.interests, first.generator, first.as_of[:10]) == (["alpha tales"], "words", "2020-02-20")
    assert set(first.evidence) <= set(world.model.catalog.item_ids)
    assert len(world.item_profiles) == 2
    assert "Item identity" in next(iter(world.item_profiles.values()))
    assert world.results is not None
    assert len(world.results) == 4
    assert world.comparisons is not None
    assert world.strata is None
    assert [(entry["split"], entry["passed"]) for entry in world.certificates] == [("test", True)]
    assert world.about == {
        "dataset": "checkerboard",
        "licence": "CC BY 4.0",
        "attribution": "the squares",
        "fingerprint": splits.fingerprint,
        "backbone": "lightgcn",
        "preset": "floor_residual",
        "profile_mode": "llm",
    }
    assert (world.links, world.writer) == ([], None)


def test_it_recommends_as_the_saved_model_does(settings: Settings) -> None:
    world, plain = load_world(settings), RecLMRecommender.from_pretrained(settings.recommender)
    ranking = world.model.rank_for(Someone(user_id=USERS[0]))
    names = [world.model.catalog.item_ids[item] for item in ranking.order[:5]]
    assert names == plain.recommend([USERS[0]], k=5).item_ids[0]


def test_everything_is_computed_before_the_first_visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    world = load_world(settings)

    def fail(*given: Any) -> None:
        raise AssertionError("computed for a visitor")

    monkeypatch.setattr(world.model, "encode_parts", fail)
    vector = np.ones(world.model.config.profile_dim, dtype=np.float32)
    for someone in (Someone(USERS[0]), Someone(history=["001"]), Someone(profile="x", vector=vector)):
        world.model.rank_for(someone).parts(np.arange(3))


def test_a_recommender_alone(tmp_path: Path) -> None:
    world = load_world(settings_of(str(write_model(tmp_path / "model"))))
    assert set(world.texts) == {""}
    assert (world.profiles, world.item_profiles, world.certificates, world.links) == ({}, {}, [], [])
    assert (world.results, world.comparisons, world.strata) == (None, None, None)
    assert world.about["dataset"] == ""
    assert world.about["backbone"] == "lightgcn"


def test_profiles_of_another_folder(settings: Settings, tmp_path: Path, folder: Path) -> None:
    built = tmp_path / "built" / "test"
    built.mkdir(parents=True)
    table = pd.read_parquet(folder / "test" / "user_profiles.parquet").head(1)
    table.assign(neighbors=[["nobody", USERS[1]]], evidence=[["no item", "003"]]).to_parquet(
        built / "user_profiles.parquet"
    )
    world = load_world(replace(settings, profiles=str(built.parent)))
    assert set(world.profiles) == {USERS[0]}
    assert world.profiles[USERS[0]].neighbors == [USERS[1]]
    assert world.profiles[USERS[0]].evidence == ["003"]
    assert world.item_profiles == {}


@pytest.mark.parametrize("change", ["ids", "titles"])
def test_tables_of_other_data(settings: Settings, folder: Path, tmp_path: Path, change: str) -> None:
    items = pd.read_parquet(folder / ITEMS_FILE)
    items = (
        items.assign(item_id="x" + items["item_id"]) if change == "ids" else items.assign(title="y" + items["title"])
    )
    items.to_parquet(tmp_path / ITEMS_FILE)
    with pytest.raises(ValueError, match=rf"{tmp_path}: has {0 if change == 'ids' else 50} of the 50 items.*--tables"):
        load_world(replace(settings, tables=str(tmp_path)))


def test_items_that_came_later(settings: Settings, folder: Path, tmp_path: Path) -> None:
    model = untrained("lightgcn", "floor_residual", "llm")
    new = pd.DataFrame({"item_id": ["new"], "title": ["New"], "text": ["alpha"]})
    model.add_items(new, vectors=np.ones((1, model.config.text_dim), dtype=np.float32))
    model.save_pretrained(tmp_path)
    assert load_world(replace(settings, recommender=str(tmp_path))).texts[-1] == ""


def test_profiles_of_nobody_here(settings: Settings, folder: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(folder / "test" / "user_profiles.parquet")
    table.assign(user_id="x" + table["user_id"]).to_parquet(tmp_path / "user_profiles.parquet")
    with pytest.raises(ValueError, match=rf"{tmp_path}: no profile in it is of a user of .*'xuser-00'"):
        load_world(replace(settings, profiles=str(tmp_path)))


def test_results_that_do_not_belong(settings: Settings, folder: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(folder / "results.parquet")
    table.assign(fingerprint="0" * 64).to_parquet(tmp_path / "results.parquet")
    with pytest.raises(ValueError, match=rf"{tmp_path}: results on other data.*--results"):
        load_world(replace(settings, recommender=with_manifest(folder, tmp_path / "model"), results=str(tmp_path)))
    with pytest.raises(ValueError, match=r"has no results\.parquet"):
        load_world(replace(settings, results=str(tmp_path / "model")))


def with_manifest(folder: Path, model: Path) -> str:
    """A copy of the recommender that says what it was trained on, as `reclm train` has it."""
    import json

    write_model(model)
    own, run = (json.loads((place / "manifest.json").read_text()) for place in (model, folder))
    (model / "manifest.json").write_text(json.dumps({**run, **own}))
    return str(model)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("recommender", "nowhere at all", r"nowhere at all"),
        ("tables", "nowhere at all", r"nowhere at all: no tables there"),
        ("results", "nowhere at all", r"nowhere at all: neither a folder"),
        ("profiler", "nowhere at all", r"nowhere at all: .*--profiler"),
    ],
)
def test_a_part_that_is_not_there(settings: Settings, part: str, value: str, message: str) -> None:
    with pytest.raises((OSError, ValueError), match=message):
        load_world(replace(settings, **{part: value}))


def test_nothing_heavy_that_is_not_needed(settings: Settings, child_environment: dict[str, str]) -> None:
    heavy = ("datasets", "trl", "peft", "sklearn", "matplotlib", "gradio")
    program = (
        "from reclm_hf.space.settings import settings_of; from reclm_hf.space.world import load_world; import sys; "
        f"load_world(settings_of({settings.results!r})); print([name for name in {heavy!r} if name in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=child_environment, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "[]"


class CountedEncoder(SharedEncoder):
    """Vectors that tell a text's length; no model."""

    calls = 0

    def _compute(self, texts: list[str], progress: bool) -> np.ndarray:
        before, found = self.calls, np.array([[len(text), 1.0] for text in texts], dtype=np.float32)
        self.calls = before + 1
        return found


def test_the_encoder_remembers_some_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECLM_CACHE", str(tmp_path))
    monkeypatch.setattr(encoders, "_KEPT", 3)
    encoder = CountedEncoder("none")
    assert encoder.encode(["a", "bb", "a"]).tolist() == [[1, 1], [2, 1], [1, 1]]
    encoder.encode(["a"])
    assert encoder.calls == 1
    assert encoder.encode(["ccc", "dddd", "e" * 5, "f" * 6]).shape == (4, 2)  # more than are kept
    encoder.encode(["f" * 6])
    assert encoder.calls == 2
    encoder.encode(["a"])
    assert encoder.calls == 3
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_many_ask_the_encoder_at_once() -> None:
    encoder = CountedEncoder("none")
    asked = [["x" * (1 + (row * 7) % 40)] for row in range(200)]
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(encoder.encode, asked))
    assert [int(vectors[0, 0]) for vectors in found] == [len(texts[0]) for texts in asked]
    assert encoder.calls == 40


def test_the_encoder_counts_what_it_cuts_off(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    rule = Tokenizer(models.WordPiece({"[UNK]": 0, "long": 1, "##er": 2}, unk_token="[UNK]"))
    rule.pre_tokenizer = pre_tokenizers.Whitespace()
    encoder = SharedEncoder("none", max_length=4)
    encoder._loaded = (PreTrainedTokenizerFast(tokenizer_object=rule, unk_token="[UNK]"), None)
    encoder._loaded[0](["longer"], truncation=True, max_length=1)  # as a call before has left it
    assert [encoder.pieces(text) for text in ("long", "longer", "longer longer longer")] == [1, 2, 6]


def test_a_warm_up_that_fails_is_said(caplog: pytest.LogCaptureFixture) -> None:
    SharedEncoder("nobody/nothing").warm().join(60)
    assert "nobody/nothing could not be loaded" in caplog.text
