"""What a folder is, told by its files alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from reclm_hf.hub.kinds import KINDS, kind_named, kind_of

FOLDERS: dict[str, dict[str, object]] = {
    "recommender": {
        "config.json": {"model_type": "reclm_recommender"},
        "model.safetensors": None,
        "catalog.parquet": None,
        "users.parquet": None,
        "catalog.safetensors": None,
    },
    "profiler-adapter": {"adapter_config.json": {"task_type": "CAUSAL_LM"}, "adapter_model.safetensors": None},
    "profiler": {"config.json": {"architectures": ["LlamaForCausalLM"]}, "model.safetensors": None},
    "reward-model": {
        "reward_config.json": {},
        "adapter_config.json": {"task_type": "SEQ_CLS"},
        "adapter_model.safetensors": None,
    },
    "tables": {"items.parquet": None, "interactions.parquet": None, "dataset.json": {}},
    "results": {"results.parquet": None, "report.md": None},
    "space": {"app.py": "import gradio\n", "requirements.txt": ""},
    "metric": {
        "mine.py": "import evaluate\n\nclass Mine(evaluate.Metric):\n    pass\n",
        "requirements.txt": "",
        "app.py": "",
    },
}


def fill(folder: Path, files: Mapping[str, object]) -> Path:
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("name", FOLDERS)
def test_told_by_its_files(name: str, tmp_path: Path) -> None:
    assert kind_of(fill(tmp_path, FOLDERS[name])).name == name


def test_all_eight_have_a_folder_here() -> None:
    assert set(FOLDERS) == set(KINDS)


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        (name, file)
        for name, files in FOLDERS.items()
        for file in files
        if file not in ("report.md", "app.py", "mine.py")
    ],
)
def test_a_missing_file_is_named_or_the_folder_is_nothing(name: str, missing: str, tmp_path: Path) -> None:
    fill(tmp_path, {file: content for file, content in FOLDERS[name].items() if file != missing})
    with pytest.raises(ValueError, match=r"is missing|fits no kind|SEQ_CLS"):
        kind_of(tmp_path)


def test_both_layouts_of_a_reward_model(tmp_path: Path) -> None:
    whole = {"reward_config.json": {}, "config.json": {"architectures": ["X"]}, "model.safetensors": None}
    assert kind_of(fill(tmp_path, whole)).name == "reward-model"


def test_weights_in_a_pickle_are_called_that(tmp_path: Path) -> None:
    fill(tmp_path, {"config.json": {"architectures": ["LlamaForCausalLM"]}, "pytorch_model.bin": None})
    with pytest.raises(ValueError, match=r"pytorch_model\.bin: pickles can run code"):
        kind_of(tmp_path)


def test_an_adapter_of_another_task(tmp_path: Path) -> None:
    fill(tmp_path, {"adapter_config.json": {"task_type": "SEQ_CLS"}, "adapter_model.safetensors": None})
    with pytest.raises(ValueError, match=r"SEQ_CLS.*reward_config\.json"):
        kind_of(tmp_path)


def test_nothing_and_nowhere(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"fits no kind.*--kind"):
        kind_of(tmp_path)
    with pytest.raises(FileNotFoundError, match="is no folder"):
        kind_of(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no kind 'model': choose one of recommender"):
        kind_named("model")


def test_broken_configuration_names_the_file(tmp_path: Path) -> None:
    fill(tmp_path, {"config.json": "{"})
    with pytest.raises(ValueError, match=r"config\.json is not JSON"):
        kind_of(tmp_path)


def test_a_module_is_read_and_not_run(tmp_path: Path) -> None:
    code = f"import evaluate\nopen({str(tmp_path / 'ran')!r}, 'w')\nclass Mine(evaluate.Metric):\n    pass\n"
    assert kind_of(fill(tmp_path, {"mine.py": code, "requirements.txt": ""})).name == "metric"
    assert not (tmp_path / "ran").exists()


def test_weights_in_several_files_are_whole_with_all_of_them(tmp_path: Path) -> None:
    fill(tmp_path, {"config.json": {"architectures": ["LlamaForCausalLM"]}, "model-00001-of-00002.safetensors": None})
    lacking = r"no whole profiler: model-00002-of-00002\.safetensors, model\.safetensors\.index\.json is missing"
    with pytest.raises(ValueError, match=lacking):
        kind_of(tmp_path)
    fill(tmp_path, {"model-00002-of-00002.safetensors": None, "model.safetensors.index.json": {}})
    assert kind_of(tmp_path).name == "profiler"
