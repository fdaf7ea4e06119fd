"""Recommenders and profilers loaded from a Hub over HTTP: one commit, hashes compared, broken ones refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import HfApi
from transformers import AutoModel, AutoModelForCausalLM, pipeline

import reclm_hf.auto  # noqa: F401 (registers the Auto classes)
from reclm_hf.hub.publish import push
from reclm_hf.hub.pull import pull
from reclm_hf.hub.staging import PushOptions
from reclm_hf.profiler.modeling_reclm_profiler import RecLMProfiler
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from tests.checkerboard import N_ITEMS, N_USERS
from tests.hubserver.loopback import LoopbackHub
from tests.profiler.models import logits, profiler, save_base
from tests.recommender.models import trained

USERS, ITEMS = np.arange(N_USERS), np.arange(N_ITEMS)
KIND, OTHER = ("lightgcn", "floor_residual", "llm"), ("bias_mf", "standard", "none")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    trained(*KIND).save_pretrained(folder)
    return folder


def upload(hub: LoopbackHub, folder: Path, name: str = "recommender", inside: str = "") -> tuple[str, str]:
    """A folder as it is, without our own push: id and commit."""
    repo_id = f"{hub.namespace}/{name}"
    HfApi().create_repo(repo_id, exist_ok=True, private=True)
    return repo_id, HfApi().upload_folder(repo_id=repo_id, folder_path=folder, path_in_repo=inside or None).oid


def got(hub: LoopbackHub, name: str) -> list[str]:
    """The methods of the requests for a file."""
    return [request.method for request in hub.requests if request.path.endswith(f"/{name}")]


@pytest.mark.parametrize("loader", [RecLMRecommender, AutoModel])
def test_each_file_is_fetched_once_and_the_config_first(hub: LoopbackHub, saved: Path, loader: Any) -> None:
    repo_id, _ = upload(hub, saved)
    before = len(hub.requests)
    model = loader.from_pretrained(repo_id)
    np.testing.assert_allclose(model.score(USERS, ITEMS), trained(*KIND).score(USERS, ITEMS), atol=1e-6)
    assert model.recommend(["user-07"], k=3) == trained(*KIND).recommend(["user-07"], k=3)
    asked = [request.path.rsplit("/", 1)[1] for request in hub.requests[before:] if "/resolve/" in request.path]
    assert next(name for name in asked if name != "adapter_config.json") == "config.json"
    # Downloads are counted by the first of them. The others lie in the storage, where each is fetched once.
    assert got(hub, "config.json").count("GET") == got(hub, "manifest.json").count("GET") == 1
    stored = [request for request in hub.requests[before:] if request.path.startswith("/storage/")]
    assert [request.method for request in stored] == ["GET"] * 4


def test_the_cache_is_enough(hub: LoopbackHub, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo_id, commit = upload(hub, saved)
    RecLMRecommender.from_pretrained(repo_id)
    before = len(hub.requests)
    for options in ({"local_files_only": True}, {"revision": commit, "local_files_only": True}):
        assert RecLMRecommender.from_pretrained(repo_id, **options).catalog.n_items == N_ITEMS
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for loader in (RecLMRecommender, AutoModel):
        assert loader.from_pretrained(repo_id).recommend(["user-07"], k=1).item_ids[0]
    assert len(hub.requests) == before
    users = next((hub.cache / "hub").rglob("users.parquet")).resolve()
    users.write_bytes(users.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"users\.parquet has \d+ bytes, manifest\.json says"):
        RecLMRecommender.from_pretrained(repo_id)


def test_all_files_are_of_one_commit_and_of_one_subfolder(hub: LoopbackHub, saved: Path, tmp_path: Path) -> None:
    trained(*OTHER).save_pretrained(tmp_path / "sharded", max_shard_size="4KB")
    repo_id, first = upload(hub, tmp_path / "sharded", inside="models/best")
    HfApi().delete_folder("models/best", repo_id)
    _, second = upload(hub, saved, inside="models/best")
    place = {"subfolder": "models/best"}
    for revision, kind in ((first, OTHER), (second, KIND), ("main", KIND), (None, KIND)):
        for loader in (RecLMRecommender, AutoModel):
            model = loader.from_pretrained(repo_id, revision=revision, **place)
            np.testing.assert_allclose(model.score(USERS, ITEMS), trained(*kind).score(USERS, ITEMS), atol=1e-6)
    with pytest.raises(OSError, match=r"recommender holds no whole saved recommender: config\.json is missing"):
        RecLMRecommender.from_pretrained(repo_id)
    with pytest.raises(OSError, match="0000000"):
        RecLMRecommender.from_pretrained(repo_id, revision="0" * 40)


def test_what_push_to_hub_writes_is_checked_too(hub: LoopbackHub, tmp_path: Path) -> None:
    model, ids = trained(*OTHER), [f"{hub.namespace}/saved", f"{hub.namespace}/pushed"]
    model.save_pretrained(tmp_path / "mine", push_to_hub=True, repo_id=ids[0])
    model.push_to_hub(ids[1], max_shard_size="4KB")
    for repo_id in ids:
        stated = json.loads(Path(HfApi().hf_hub_download(repo_id, "manifest.json")).read_text())["files"]
        assert HfApi().repo_info(repo_id).private
        assert set(stated) == set(hub.files(repo_id)) - {"manifest.json", "README.md", ".gitattributes"}
        np.testing.assert_allclose(
            RecLMRecommender.from_pretrained(repo_id).score(USERS, ITEMS), model.score(USERS, ITEMS), atol=1e-6
        )


@pytest.mark.parametrize("loader", [RecLMRecommender, AutoModel])
@pytest.mark.parametrize("weights", ["adapter_model.safetensors", "adapter_model.bin"])
def test_an_adapter_beside_a_recommender_is_refused(
    hub: LoopbackHub, saved: Path, tmp_path: Path, loader: Any, weights: str
) -> None:
    """transformers would take the weights of the repository that it names, and lay its own over them."""
    other, _ = upload(hub, saved, "other")
    folder = Path(shutil.copytree(saved, tmp_path / "model"))
    settings = {"peft_type": "LORA", "r": 2, "target_modules": ["user_embedding"], "base_model_name_or_path": other}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    (folder / weights).write_bytes(b"never to be read")
    repo_id, _ = upload(hub, folder)
    before = len(hub.requests)
    with pytest.raises(ValueError, match=rf"{repo_id}.* holds an adapter \(adapter_config\.json\)"):
        loader.from_pretrained(repo_id)
    asked = [request.path for request in hub.requests[before:]]
    assert not [path for path in asked if "adapter_model" in path or path.startswith("/storage/")], "no weights"
    # An Auto class follows the name before it asks us: for the configuration there, and for nothing else.
    elsewhere = {path.rsplit("/", 1)[1] for path in asked if f"{other}/resolve/" in path}
    assert elsewhere <= ({"config.json"} if loader is AutoModel else set())


def test_who_may_see_it_is_said(hub: LoopbackHub, saved: Path) -> None:
    repo_id, _ = upload(hub, saved)
    for token in (hub.other_token, False):
        with pytest.raises(OSError, match="for a private repository set HF_TOKEN or run `hf auth login`"):
            RecLMRecommender.from_pretrained(repo_id, token=token)
    assert RecLMRecommender.from_pretrained(repo_id, token=hub.read_token).catalog.n_users == N_USERS


def test_a_connection_that_breaks_does_not_switch_the_check_off(hub: LoopbackHub, saved: Path) -> None:
    repo_id, _ = upload(hub, saved)
    hub.break_at(1, "manifest.json", times=6)
    with pytest.raises(OSError, match=r"recommender: manifest\.json could not be fetched"):
        RecLMRecommender.from_pretrained(repo_id)


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def renamed_backbone(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"lightgcn"', '"lightgcn_xl"'))
    (folder / "manifest.json").unlink()


def cut_off(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    (folder / "manifest.json").unlink()


def of_another(folder: Path) -> None:
    trained(*OTHER).save_pretrained(folder.parent / "other")
    shutil.copyfile(folder.parent / "other" / "model.safetensors", folder / "model.safetensors")


@pytest.mark.parametrize(
    ("breaking", "message"),
    [
        (pickled, r"recommender has its weights as pytorch_model\.bin: pickles can run code"),
        (renamed_backbone, r"config\.json: backbone='lightgcn_xl' is not known; choose one of"),
        (cut_off, r"model\.safetensors is not a readable safetensors file"),
        (of_another, r"model\.safetensors has \d+ bytes, manifest\.json says"),
        (lambda folder: (folder / "catalog.parquet").unlink(), r"catalog\.parquet"),
        (lambda folder: (folder / "config.json").unlink(), r"config\.json is missing"),
    ],
)
def test_a_broken_repository_is_refused(
    hub: LoopbackHub, saved: Path, tmp_path: Path, breaking: Callable[[Path], Any], message: str
) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "model"))
    breaking(folder)
    repo_id, _ = upload(hub, folder)
    with pytest.raises((ValueError, OSError), match=message):
        RecLMRecommender.from_pretrained(repo_id)


@pytest.fixture
def profilers(hub: LoopbackHub, tmp_path: Path) -> dict[str, str]:
    """Layout -> commit-free id of a pushed profiler; the base model stands beside."""
    ids = {name: f"{hub.namespace}/{name}" for name in ("base", "adapter", "merged")}
    base = save_base(tmp_path / "base")
    push(base, ids["base"], PushOptions(kind="profiler"), progress=False)
    one = profiler(str(base))
    one.save_pretrained(tmp_path / "adapter")
    one.save_pretrained(tmp_path / "merged", merge=True)
    options = PushOptions(base_model=ids["base"])
    push(tmp_path / "adapter", ids["adapter"], options, progress=False)
    push(tmp_path / "merged", ids["merged"], options, progress=False)
    return ids


def test_a_pushed_profiler_is_read_by_everybody(hub: LoopbackHub, profilers: dict[str, str]) -> None:
    from peft import AutoPeftModelForCausalLM, PeftModel

    made = profiler(profilers["base"])
    expected = logits(made.model)
    for layout, tolerance in (("adapter", 1e-6), ("merged", 1e-4)):
        loaded = RecLMProfiler.from_pretrained(profilers[layout], dtype="float32", device="cpu")
        assert loaded.config.layout == layout
        assert loaded.config.base_model == profilers["base"]
        assert bool((logits(loaded.model) - expected).abs().max() <= tolerance)
    # Without this package.
    whole = AutoModelForCausalLM.from_pretrained(profilers["merged"])
    assert bool((logits(whole) - expected).abs().max() <= 1e-4)
    adapted = [
        AutoPeftModelForCausalLM.from_pretrained(profilers["adapter"]),
        PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(profilers["base"]), profilers["adapter"]),
    ]
    assert all(bool((logits(model) - expected).abs().max() <= 1e-6) for model in adapted)
    for layout in ("merged", "adapter"):
        write = pipeline("text-generation", model=profilers[layout], max_new_tokens=4, do_sample=False)
        assert write([{"role": "user", "content": "hello"}])[0]["generated_text"][-1]["role"] == "assistant"


def test_a_profiler_is_not_read_where_its_files_differ(hub: LoopbackHub, profilers: dict[str, str]) -> None:
    name = profilers["adapter"]
    HfApi().upload_file(path_or_fileobj=b'{"temperature": 9.0}', path_in_repo="generation_config.json", repo_id=name)
    with pytest.raises(ValueError, match=r"generation_config\.json differs from what manifest\.json states"):
        RecLMProfiler.from_pretrained(name)
    HfApi().delete_file("generation_config.json", name)
    with pytest.raises(ValueError, match=r"lacks generation_config\.json, which manifest\.json states"):
        RecLMProfiler.from_pretrained(name)


def test_a_pulled_profiler_that_is_saved_again_states_no_old_hashes(
    hub: LoopbackHub, profilers: dict[str, str], tmp_path: Path
) -> None:
    folder = pull(profilers["adapter"], tmp_path / "pulled")
    (folder / "adapter_model.safetensors").write_bytes(b"12345678")
    with pytest.raises(ValueError, match=r"adapter_model\.safetensors differs from what manifest\.json states"):
        RecLMProfiler.from_pretrained(folder)
    made = profiler(profilers["base"], seed=7)
    made.save_pretrained(folder)
    loaded = RecLMProfiler.from_pretrained(folder, dtype="float32", device="cpu")
    assert bool((logits(loaded.model) - logits(made.model)).abs().max() <= 1e-6)


def test_a_profiler_of_pickles_is_named_as_one(hub: LoopbackHub, tmp_path: Path) -> None:
    base = save_base(tmp_path / "base")
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    repo_id, _ = upload(hub, base, "pickled")
    with pytest.raises(ValueError, match=r"has its weights as pytorch_model\.bin: pickles can run code"):
        RecLMProfiler.from_pretrained(repo_id)
    assert got(hub, "pytorch_model.bin").count("GET") == 0
