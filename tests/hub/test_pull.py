"""Pull against a Hub over HTTP: whole or not at all, and nothing that its manifest does not vouch for."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from reclm_hf.hub.manifest import LIMIT, MANIFEST
from reclm_hf.hub.publish import Pushed, push
from reclm_hf.hub.pull import pull
from reclm_hf.hub.staging import PushOptions
from tests.hub.artefacts import copy_of
from tests.hubserver.loopback import LoopbackHub


@pytest.fixture
def repo(hub: LoopbackHub, tmp_path: Path) -> str:
    found = push(copy_of("recommender", tmp_path / "model"), f"{hub.namespace}/mine", progress=False)
    assert isinstance(found, Pushed)
    return found.repo_id


def upload(repo: str, name: str, content: bytes, repo_type: str = "model") -> None:
    HfApi().upload_file(path_or_fileobj=content, path_in_repo=name, repo_id=repo, repo_type=repo_type)


def change_manifest(repo: str, change: Callable[[dict[str, object]], object]) -> None:
    content = json.loads(Path(HfApi().hf_hub_download(repo, MANIFEST)).read_text())
    change(content)
    upload(repo, MANIFEST, json.dumps(content).encode())


def test_there_and_back(hub: LoopbackHub, repo: str, tmp_path: Path) -> None:
    from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender

    folder = pull(repo, tmp_path / "deep" / "pulled")
    names = {path.name for path in folder.iterdir()}
    assert names == {*hub.files(repo)} - {".gitattributes"}
    assert list(folder.parent.iterdir()) == [folder]
    before, after = (RecLMRecommender.from_pretrained(path) for path in (tmp_path / "model", folder))
    users = before.catalog.user_ids[:4]
    assert before.recommend(users, k=5).to_frame().equals(after.recommend(users, k=5).to_frame())


def test_two_revisions(hub: LoopbackHub, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give one"):
        pull(f"{hub.namespace}/any@a", tmp_path / "pulled", revision="b")


def test_into_what_a_link_leads_to(repo: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    pull(repo, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / MANIFEST).is_file()


def test_a_hub_that_does_not_answer_is_no_broken_download(hub: LoopbackHub, repo: str, tmp_path: Path) -> None:
    hub.break_at(1, "catalog.parquet", times=12)
    with pytest.raises(OSError, match=repo):
        pull(repo, tmp_path / "pulled")
    assert not (tmp_path / "pulled").exists()
    assert (tmp_path / ".pulled.pulling" / MANIFEST).is_file(), "what was fetched is kept"


def test_the_same_folder_twice(repo: str, tmp_path: Path) -> None:
    folder = pull(repo, tmp_path / "pulled")
    commit = HfApi().model_info(repo).sha
    push(tmp_path / "model", repo, PushOptions(title="Another"), progress=False)
    assert "# Another" in (pull(repo, folder) / "README.md").read_text()
    assert "# Another" not in (pull(f"{repo}@{commit}", folder) / "README.md").read_text()
    card = (folder / "README.md").read_text()
    (folder / "README.md").write_text(card + "\nA line of my own.\n")
    with pytest.raises(FileExistsError, match="holds something else"):
        pull(repo, folder)
    assert (folder / "README.md").read_text().endswith("A line of my own.\n")
    (folder / "README.md").write_text(card)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds something else"):
        pull(repo, folder)
    assert (folder / "notes.txt").read_text() == "mine"
    (folder / "notes.txt").unlink()
    (folder / "config.json").write_text("{}")  # somebody's own change
    with pytest.raises(FileExistsError, match="holds something else"):
        pull(repo, folder, revision=commit)


def test_code_comes_only_on_request(hub: LoopbackHub, repo: str, tmp_path: Path) -> None:
    push(tmp_path / "model", repo, PushOptions(code=True), progress=False)
    assert not list(pull(repo, tmp_path / "plain").glob("*.py"))
    assert (pull(repo, tmp_path / "code", code=True) / "modeling_reclm_recommender.py").is_file()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "optimizer.pt", "deep/cache.pkl"])
def test_a_pickle_in_the_repository(repo: str, name: str, tmp_path: Path) -> None:
    upload(repo, name, b"\x80\x04.")
    refused(repo, tmp_path, rf"{repo}: '{name}' is a pickle")


@pytest.mark.parametrize("name", ["../evil.json", "deep/../../evil.json", "/etc/evil.json", "C:evil.json"])
def test_a_name_that_leads_out(hub: LoopbackHub, repo: str, name: str, tmp_path: Path) -> None:
    """No client would upload it; a Hub, or what stands between, could still serve it."""
    stored = hub.server.state.storage.get("models", repo)
    tree = stored.resolve("main").tree
    stored.add_commit("main", {**tree, name: tree["config.json"]}, "evil", "", "evil")
    stored.save()
    refused(repo, tmp_path, r"leads out of its folder|has a backslash or a colon|Invalid|not a valid")
    assert not list(tmp_path.rglob("evil.json"))


def test_a_name_in_the_manifest_that_leads_out(repo: str, tmp_path: Path) -> None:
    entry = {"sha256": "a" * 64, "size": 1}
    change_manifest(repo, lambda content: content["files"].update({"../evil.json": entry}))  # type: ignore[attr-defined]
    refused(repo, tmp_path, "leads out of its folder")


def test_a_file_that_was_changed(repo: str, tmp_path: Path) -> None:
    stored = (tmp_path / "model" / "config.json").read_bytes()
    upload(repo, "config.json", stored.replace(b'"seed": 0', b'"seed": 1'))
    refused(repo, tmp_path, r"config\.json differs from what manifest\.json says")


def test_a_file_that_was_cut(repo: str, tmp_path: Path) -> None:
    upload(repo, "users.parquet", b"PAR1")
    refused(repo, tmp_path, r"users\.parquet has 4 bytes, but manifest\.json says")


def test_a_file_that_is_gone(repo: str, tmp_path: Path) -> None:
    HfApi().delete_file("users.parquet", repo)
    refused(repo, tmp_path, r"lacks users\.parquet, though its manifest lists it")


def test_a_manifest_that_leaves_a_file_out(repo: str, tmp_path: Path) -> None:
    change_manifest(repo, lambda content: content["files"].pop("users.parquet"))  # type: ignore[attr-defined]
    refused(repo, tmp_path, r"no whole recommender: users\.parquet is missing")


def test_a_manifest_without_end(repo: str, tmp_path: Path) -> None:
    upload(repo, MANIFEST, b" " * (LIMIT + 1))
    refused(repo, tmp_path, "manifest.json is larger than 16 MiB")


def test_an_unknown_kind(repo: str, tmp_path: Path) -> None:
    change_manifest(repo, lambda content: content.update(kind="robot"))
    refused(repo, tmp_path, f"{repo}: manifest.json: kind='robot'")


def test_another_kind_than_the_repository(repo: str, tmp_path: Path) -> None:
    change_manifest(repo, lambda content: content.update(kind="results"))
    refused(repo, tmp_path, "is a model repository, but its manifest is that of a results")


def test_not_ours(hub: LoopbackHub, tmp_path: Path) -> None:
    repo = f"{hub.namespace}/theirs"
    HfApi().create_repo(repo, repo_type="dataset")
    refused(repo, tmp_path, r"no manifest\.json.*hf download")


def test_more_than_the_manifest_says_is_left_there(repo: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    upload(repo, "model-00001-of-00001.safetensors", b"x")
    upload(repo, "picture.png", b"x")
    with caplog.at_level(logging.WARNING):
        folder = pull(repo, tmp_path / "pulled")
    assert "not in its manifest and left out: model-00001-of-00001.safetensors" in caplog.text
    assert "not part of a recommender: picture.png" in caplog.text
    assert not {path.name for path in folder.iterdir()} & {"picture.png", "model-00001-of-00001.safetensors"}


def test_an_unknown_backbone_is_refused_when_it_is_loaded(repo: str, tmp_path: Path) -> None:
    from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender

    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "backbone": "transformer"}))
    push(tmp_path / "model", repo, progress=False)
    with pytest.raises(ValueError, match="backbone='transformer' is not known"):
        RecLMRecommender.from_pretrained(pull(repo, tmp_path / "pulled"))


def test_what_is_not_there(hub: LoopbackHub, repo: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no revision 'v9'"):
        pull(repo, tmp_path / "pulled", revision="v9")
    with pytest.raises(OSError, match=f"{hub.namespace}/nothing: there is no such repository"):
        pull(f"{hub.namespace}/nothing", tmp_path / "pulled")
    with pytest.raises(OSError, match="there is no such repository, or the token may not see it"):
        pull(repo, tmp_path / "pulled", token=hub.other_token)
    with pytest.raises(ValueError, match="no repository type 'modell'"):
        pull(repo, tmp_path / "pulled", repo_type="modell")
    with pytest.raises(ValueError, match="no Hub id"):
        pull("mine", tmp_path / "pulled")
    assert not (tmp_path / "pulled").exists()


def refused(repo: str, tmp_path: Path, said: str) -> None:
    """A pull fails with this message, and leaves no folder behind, not even where nothing stood before."""
    with pytest.raises((ValueError, OSError), match=said):
        pull(repo, tmp_path / "pulled")
    assert not (tmp_path / "pulled").exists()
