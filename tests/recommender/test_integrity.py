"""`manifest.json` beside a recommender: what it states, that it is never stale, and that it is compared."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModel

import reclm_hf.auto  # noqa: F401 (registers the Auto classes)
from reclm_hf.hub.manifest import check_files as check_as_the_hub_does
from reclm_hf.hub.manifest import read_manifest as read_as_the_hub_does
from reclm_hf.recommender.catalog import Catalog
from reclm_hf.recommender.custom_code import auto_map, code_files
from reclm_hf.recommender.integrity import MANIFEST
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from tests.checkerboard import N_ITEMS, N_USERS
from tests.recommender.models import trained

KIND = ("bias_mf", "standard", "none")
USERS, ITEMS = np.arange(N_USERS), np.arange(N_ITEMS)
FILES = {"config.json", "model.safetensors", "catalog.parquet", "users.parquet", "catalog.safetensors"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    trained(*KIND).save_pretrained(folder)
    return folder


@pytest.fixture
def place(saved: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def manifest(folder: Path) -> dict:
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))


def test_a_save_states_every_file(saved: Path) -> None:
    content = manifest(saved)
    assert (content["format"], content["kind"]) == (1, "recommender")
    assert set(content["files"]) == FILES == {path.name for path in saved.iterdir()} - {MANIFEST}
    for name, entry in content["files"].items():
        assert entry["sha256"] == hashlib.sha256((saved / name).read_bytes()).hexdigest()
        assert entry["size"] == (saved / name).stat().st_size
    assert content["config_sha256"] == content["files"]["config.json"]["sha256"]
    check_as_the_hub_does(saved, read_as_the_hub_does(saved))  # the other reader of the same file


def test_a_save_keeps_what_a_manifest_says_of_the_run_or_of_the_same_weights(place: Path) -> None:
    (place / MANIFEST).write_text(json.dumps({"seconds": 3, "format": 7}))
    trained(*KIND).save_pretrained(place)
    content = manifest(place)
    assert content["seconds"] == 3
    assert content["format"] == 1
    assert set(content["files"]) == FILES
    (place / MANIFEST).write_text(json.dumps(content | {"repo_id": "org/x", "figures": [1]}))
    RecLMRecommender.from_pretrained(place).save_pretrained(place)
    assert manifest(place) == content | {"repo_id": "org/x", "figures": [1]}


def test_figures_of_other_weights_do_not_stay(place: Path) -> None:
    (place / MANIFEST).write_text(json.dumps(manifest(place) | {"repo_id": "org/x", "figures": [1]}))
    trained("lightgcn", "standard", "none").save_pretrained(place)
    content = manifest(place)
    assert "figures" not in content
    assert content["repo_id"] == ""
    assert RecLMRecommender.from_pretrained(place).config.backbone == "lightgcn"


def test_a_save_that_was_cut_off_leaves_no_old_hashes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("transformers.modeling_utils.safe_save_file", full)
    with pytest.raises(OSError, match="No space"):
        trained(*KIND).save_pretrained(place)
    assert not (place / MANIFEST).exists()


def test_the_catalogue_may_be_written_again_alone(place: Path) -> None:
    catalog = Catalog.load(place)
    catalog.titles = [title.upper() for title in catalog.titles]
    catalog.save(place)
    assert RecLMRecommender.from_pretrained(place).catalog.titles == catalog.titles
    (place / MANIFEST).write_text('{"seconds": 3}')
    catalog.save(place)
    assert manifest(place) == {"seconds": 3}, "a manifest without hashes gets none"


def test_shards_are_stated_and_replace_one_file_and_are_replaced_by_it(place: Path) -> None:
    model = trained("lightgcn", "floor_residual", "llm")
    model.save_pretrained(place, max_shard_size="4KB")
    shards = {path.name for path in place.glob("model-*.safetensors")}
    assert len(shards) > 1
    assert not (place / "model.safetensors").exists(), "readers would prefer the weights of the other model"
    assert set(manifest(place)["files"]) == FILES - {"model.safetensors"} | shards | {"model.safetensors.index.json"}
    loaded = RecLMRecommender.from_pretrained(place)
    np.testing.assert_allclose(loaded.score(USERS, ITEMS), model.score(USERS, ITEMS), atol=1e-6)
    trained(*KIND).save_pretrained(place)
    assert {path.name for path in place.iterdir()} == FILES | {MANIFEST}
    assert RecLMRecommender.from_pretrained(place).config.backbone == "bias_mf"


@pytest.mark.parametrize("loader", [RecLMRecommender, AutoModel])
@pytest.mark.parametrize("name", sorted(FILES))
def test_a_changed_file_is_named(place: Path, name: str, loader: type) -> None:
    content = bytearray((place / name).read_bytes())
    if name == "config.json":
        content = bytearray(content.replace(b'"seed": 0', b'"seed": 1'))
    else:
        content[len(content) // 2] ^= 1
    (place / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name.replace('.', '[.]')} has another SHA-256 than manifest.json"):
        loader.from_pretrained(place)


@pytest.mark.parametrize("loader", [RecLMRecommender, AutoModel])
@pytest.mark.parametrize("weights", ["adapter_model.safetensors", "adapter_model.bin", None])
def test_an_adapter_beside_a_recommender_is_refused(
    place: Path, tmp_path: Path, loader: type, weights: str | None
) -> None:
    """transformers would lay its weights, which no manifest states, over those that were compared."""
    settings = {"peft_type": "LORA", "r": 2, "target_modules": ["user_embedding"]}
    named = {"base_model_name_or_path": str(tmp_path / "elsewhere")}
    (place / "adapter_config.json").write_text(json.dumps(settings | named))
    if weights is not None:
        (place / weights).write_bytes(b"never to be read")
    with pytest.raises(ValueError, match=rf"{place} holds an adapter \(adapter_config\.json\): a recommender has none"):
        loader.from_pretrained(place)


@pytest.mark.parametrize("name", sorted(FILES - {"config.json", "model.safetensors"}))
def test_a_file_that_is_missing_though_it_is_stated_is_named(place: Path, name: str) -> None:
    (place / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"model/{name.replace('.', '[.]')} is missing: fetch it again"):
        RecLMRecommender.from_pretrained(place)


def test_a_file_of_another_length_and_one_that_was_added_are_named(place: Path) -> None:
    stated = manifest(place)
    users = stated["files"].pop("users.parquet")
    (place / MANIFEST).write_text(json.dumps(stated))
    with pytest.raises(ValueError, match=r"users\.parquet is not among the files of manifest\.json"):
        RecLMRecommender.from_pretrained(place)
    stated["files"]["users.parquet"] = users | {"size": users["size"] + 1}
    (place / MANIFEST).write_text(json.dumps(stated))
    with pytest.raises(ValueError, match=r"users\.parquet has \d+ bytes, manifest\.json says"):
        RecLMRecommender.from_pretrained(place)


@pytest.mark.parametrize("content", [None, "{}", '{"seconds": 3, "dataset": "of a run"}'])
def test_a_folder_whose_manifest_states_nothing_loads(place: Path, content: str | None) -> None:
    """Models saved by earlier versions have no manifest, those of a run perhaps one of the run."""
    (place / MANIFEST).unlink()
    if content is not None:
        (place / MANIFEST).write_text(content)
    (place / "config.json").write_text((place / "config.json").read_text() + "\n")
    assert isinstance(RecLMRecommender.from_pretrained(place), RecLMRecommender)


@pytest.mark.parametrize("content", ["{", "[]", '{"files": []}', '{"files": {"config.json": "abc"}}', "[" * 200_000])
def test_a_broken_manifest_is_an_error_and_not_an_excuse(place: Path, content: str) -> None:
    (place / MANIFEST).write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json"):
        RecLMRecommender.from_pretrained(place)


def test_the_files_that_travel_as_code_are_whole() -> None:
    """transformers' own search finds them; an import that it cannot see would be missing at the reader's."""
    import ast

    from transformers.dynamic_module_utils import get_relative_import_files

    files = code_files()
    names = {path.stem for path in files}
    assert {"modeling_reclm_recommender", "persistence", "integrity", "source", "checks", "catalog"} <= names
    assert not {"trainer", "build", "custom_code"} & names, "training is the package's"
    assert len({path.parent for path in files}) == 1
    for path in files:
        assert {Path(name) for name in get_relative_import_files(str(path))} <= set(files)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1, f"{path.name} imports from above its folder"
                assert node.module in names, f"{path.name}: .{node.module or ''} is not found by the search"
    for reference in auto_map().values():
        module, name = reference.split(".")
        assert f"class {name}(" in next(path for path in files if path.stem == module).read_text(encoding="utf-8")
