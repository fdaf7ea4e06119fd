"""Spaces and metrics staged as repositories: what the Hub could not run is said before anything is pushed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reclm_hf.hub.publish import push
from reclm_hf.hub.pull import pull
from reclm_hf.hub.stage_spaces import front_matter, stage_metric, stage_space
from reclm_hf.hub.staging import PushOptions, stage
from reclm_hf.hub.verify import verify

COMMIT = "b" * 40
METRIC = Path(__file__).parents[2] / "spaces" / "ranking_metrics"
FRONT = f"""\
title: Cold start
emoji: 🎬
colorFrom: indigo
colorTo: purple
sdk: gradio
sdk_version: 6.31.0
python_version: "3.11"
app_file: app.py
models: [org/toy]
datasets: [org/toy-tables]
preload_from_hub: ["org/toy config.json,model.safetensors {COMMIT}"]
license: mit
short_description: Recommendations for somebody new
"""
APP = "import gradio as gr\n\ngr.Interface(str.upper, 'text', 'text').launch()\n"


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """A tiny app, and beside it what must not travel."""
    folder = tmp_path / "space"
    write(folder, front=FRONT)
    (folder / "parts").mkdir()
    (folder / "parts" / "text.py").write_text("WORDS = 1\n")
    (folder / "parts" / "__pycache__").mkdir()
    (folder / "parts" / "__pycache__" / "text.pyc").write_bytes(b"\0")
    (folder / ".env").write_text("HF_TOKEN=secret\n")
    (folder / "notes.txt").write_text("mine\n")
    return folder


def write(folder: Path, front: str | None = None, app: str = APP, requirements: str = "reclm-hf\n") -> None:
    folder.mkdir(exist_ok=True)
    if front is not None:
        (folder / "README.md").write_text(
            f"---\n{front}---\n\n# Cold start\n\nType what you `like`,\nget films.\n\nMore.\n"
        )
    (folder / "app.py").write_text(app)
    (folder / "requirements.txt").write_text(requirements)


def test_a_space(space: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    manifest = stage_space(space, place, "org/cold-start", PushOptions())
    there = sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
    assert there == ["app.py", "parts/text.py", "requirements.txt"]
    assert (manifest["title"], manifest["license"]) == ("Cold start", "mit")
    linked = [(entry["role"], entry["repo_id"], entry["revision"]) for entry in manifest["inputs"]]
    assert linked == [("model", "org/toy", COMMIT), ("tables", "org/toy-tables", None)]
    details = manifest["details"]
    assert (details["sdk"], details["sdk_version"], details["python_version"]) == ("gradio", "6.31.0", "3.11")
    assert details["description"] == "Type what you `like`, get films."


def test_its_card_is_front_matter_that_says_the_same(space: Path, tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    staged = stage(space, "org/cold-start", tmp_path / "place", PushOptions())
    assert staged.kind.name == "space"
    front, text = front_matter(tmp_path / "place")
    asked, _ = front_matter(space)
    same = ("title", "sdk", "sdk_version", "python_version", "app_file", "models", "datasets", "license")
    assert {name: front[name] for name in same} == {name: asked[name] for name in same}
    assert "get films." in text


def test_what_was_staged_can_be_staged_again(space: Path, tmp_path: Path) -> None:
    for name in ("first", "again"):
        (tmp_path / name).mkdir()
    first = stage(space, "org/cold-start", tmp_path / "first", PushOptions())
    again = stage(tmp_path / "first", "org/cold-start", tmp_path / "again", PushOptions())
    assert again.card == first.card
    assert again.files == first.files
    assert again.manifest == first.manifest
    (tmp_path / "first" / "README.md").write_text(first.card.replace("Cold start", "Warm start"))
    (tmp_path / "changed").mkdir()
    assert (
        stage(tmp_path / "first", "org/cold-start", tmp_path / "changed", PushOptions()).manifest["title"]
        == "Warm start"
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"front": None}, "a Space needs front matter"),
        ({"front": FRONT.replace("sdk: gradio", "sdk: docker")}, "sdk is 'docker'"),
        ({"front": FRONT.replace("sdk_version: 6.31.0\n", "")}, "`sdk_version` is missing"),
        ({"front": FRONT.replace("6.31.0", "6.31")}, "sdk_version is the number 6.31; put it in quotes"),
        ({"front": FRONT.replace('"3.11"', "3.10")}, "python_version is the number 3.1; put it in quotes"),
        ({"front": FRONT.replace("Recommendations", "x" * 60)}, "more than the 60 characters"),
        ({"front": FRONT.replace("[org/toy]", "org/toy")}, "models is a list"),
        ({"front": FRONT.replace("[org/toy]", "['org/../toy']")}, "no Hub id"),
        ({"front": FRONT.replace("title: Cold", "title: [Cold")}, "no YAML"),
        ({"front": "- a\n- b\n"}, "holds list"),
        ({"front": FRONT.replace("app.py", "main.py")}, "app_file is 'main.py', which is not there"),
        ({"front": FRONT, "app": "def f(:\n"}, "app.py: is no Python"),
        ({"front": FRONT, "requirements": "numpy\ngradio==6.0\n"}, "line 2: leave gradio out"),
    ],
)
def test_what_the_hub_could_not_run_is_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    folder = tmp_path / "broken"
    write(folder, **changed)
    (tmp_path / "place").mkdir()
    with pytest.raises(ValueError, match=message):
        stage_space(folder, tmp_path / "place", "org/cold-start", PushOptions())


def test_a_client_of_gradio_may_be_required(tmp_path: Path) -> None:
    write(tmp_path / "space", front=FRONT, requirements="gradio_client\ngradio-rangeslider\n")
    (tmp_path / "place").mkdir()
    assert stage_space(tmp_path / "space", tmp_path / "place", "org/cold-start", PushOptions())["kind"] == "space"


def test_our_metric(tmp_path: Path) -> None:
    for name in ("first", "again"):
        (tmp_path / name).mkdir()
    staged = stage(METRIC, "org/ranking_metrics", tmp_path / "first", PushOptions())
    assert staged.kind.name == "metric"
    expected = ["README.md", "app.py", "manifest.json", "ranking_metrics.py", "requirements.txt"]
    assert staged.files == expected
    assert staged.manifest["details"]["description"].startswith("Recall@k, NDCG@k, hit rate@k and MRR")
    assert 'evaluate.load("org/ranking_metrics")' in staged.card
    again = stage(tmp_path / "first", "org/ranking_metrics", tmp_path / "again", PushOptions())
    assert (again.manifest, again.card) == (staged.manifest, staged.card)


def test_a_metric_that_evaluate_could_not_load_is_refused(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    with pytest.raises(ValueError, match=r"looks for other\.py there, and .* holds ranking_metrics\.py"):
        stage_metric(METRIC, tmp_path / "place", "org/other", PushOptions())
    write(tmp_path / "mine", front=FRONT)
    (tmp_path / "mine" / "mine.py").write_text("import numpy\nimport evaluate, datasets\n")
    with pytest.raises(ValueError, match=r"mine\.py, line 2: `evaluate` reads one import a line"):
        stage_metric(tmp_path / "mine", tmp_path / "place", "org/mine", PushOptions())


def test_a_space_is_pushed_and_pulled(space: Path, tmp_path: Path, hub: Any) -> None:
    from huggingface_hub import HfApi

    repo_id = f"{hub.namespace}/cold-start"
    push(space, repo_id, progress=False)
    assert HfApi().space_info(repo_id).sdk == "gradio"
    assert set(hub.files(repo_id, "space")) == {
        *("README.md", "app.py", "manifest.json", "parts/text.py", "requirements.txt", ".gitattributes")
    }
    folder = pull(repo_id, tmp_path / "pulled")
    for name in ("app.py", "parts/text.py", "requirements.txt"):
        assert (folder / name).read_bytes() == (space / name).read_bytes()
    assert [check.name for check in verify(repo_id, cache=tmp_path / "cache") if not check.passed] == []


def test_settings_travel_and_pin_the_inputs(space: Path, tmp_path: Path) -> None:
    settings = {"recommender": f"org/toy@{'c' * 40}", "tables": f"org/toy-tables@{COMMIT}", "title": "a/b@c"}
    (space / "settings.json").write_text(json.dumps(settings))
    (space / "other.json").write_text("{}")
    (tmp_path / "place").mkdir()
    manifest = stage_space(space, tmp_path / "place", "org/cold-start", PushOptions())
    assert json.loads((tmp_path / "place" / "settings.json").read_text()) == settings
    assert not (tmp_path / "place" / "other.json").exists()
    pins = {entry["repo_id"]: entry["revision"] for entry in manifest["inputs"]}
    assert pins == {"org/toy": "c" * 40, "org/toy-tables": COMMIT}
    (space / "settings.json").write_text("{")
    with pytest.raises(ValueError, match=r"settings\.json is not JSON"):
        stage_space(space, tmp_path / "place", "org/cold-start", PushOptions())


def test_a_long_name_keeps_its_commit(space: Path, tmp_path: Path) -> None:
    entry = f"{'o' * 90}/{'n' * 90} config.json,model.safetensors {COMMIT}"
    write(space, front=FRONT.replace(f"org/toy config.json,model.safetensors {COMMIT}", entry))
    (tmp_path / "place").mkdir()
    stage(space, "org/cold-start", tmp_path / "place", PushOptions())
    assert front_matter(tmp_path / "place")[0]["preload_from_hub"] == [entry]
