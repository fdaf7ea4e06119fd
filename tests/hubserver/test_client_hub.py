"""The real huggingface_hub client against the server, from the first commit to the last."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    HfFileSystem,
    ModelCard,
    get_safetensors_metadata,
    hf_hub_download,
    metadata_update,
    snapshot_download,
)
from huggingface_hub.errors import (
    BadRequestError,
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.hubserver.loopback import LoopbackHub

CARD = """---
license: apache-2.0
tags: [graph]
model-index:
- name: a
  results:
  - task: {type: other}
    dataset: {type: org/data, name: Data}
    metrics: [{type: recall, value: 0.5}]
---
# A
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder: a card, a configuration, 1 MB of weights."""
    import numpy as np
    from safetensors.numpy import save_file

    place = tmp_path / "model"
    place.mkdir()
    (place / "README.md").write_text(CARD)
    (place / "config.json").write_text("{}")
    save_file({"weight": np.arange(250_000, dtype=np.float32)}, place / "model.safetensors", {"format": "np"})
    return place


def asked(hub: LoopbackHub, part: str) -> int:
    """How many requests had `part` in their path."""
    return sum(part in each.path for each in hub.requests)


def test_push_and_pull(hub: LoopbackHub, folder: Path) -> None:
    api = HfApi()
    repo = api.create_repo("model").repo_id
    assert api.create_repo("model", exist_ok=True).repo_id == repo
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo("model")
    first = api.upload_folder(repo_id=repo, folder_path=folder).oid
    assert (asked(hub, "/storage/"), asked(hub, "/validate-yaml")) == (1, 2)

    again = api.upload_folder(repo_id=repo, folder_path=folder)
    assert (again.oid, asked(hub, "/storage/"), len(hub.history(repo))) == (first, 1, 2)

    info: Any = api.model_info(repo, files_metadata=True)
    large: Any = {file.rfilename: file.lfs for file in info.siblings or []}["model.safetensors"]
    assert (info.sha, info.card_data.license, info.model_index[0]["name"]) == (first, "apache-2.0", "a")
    assert info.card_data.eval_results[0].metric_value == 0.5
    assert large.sha256 == hub.files(repo)["model.safetensors"]
    assert get_safetensors_metadata(repo).parameter_count == {"F32": 250_000}
    assert [model.id for model in api.list_models(author=hub.namespace, filter=["graph"])] == [repo]
    assert list(api.list_models(author=hub.namespace, filter=["other"])) == []

    (folder / "config.json").write_text('{"a": 1}')
    (folder / "README.md").unlink()
    second = api.upload_folder(repo_id=repo, folder_path=folder, delete_patterns="README.md").oid
    for revision, config in ((first, "{}"), (second, '{"a": 1}'), ("main", '{"a": 1}')):
        place = Path(snapshot_download(repo, revision=revision))
        assert place.name == (first if revision == first else second)
        assert (place / "config.json").read_text() == config
        assert (place / "README.md").exists() == (revision == first)
        assert (place / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    before = len(hub.requests)
    assert snapshot_download(repo, revision=second, local_files_only=True) == str(place)
    assert len(hub.requests) == before


def test_revisions_and_conflicts(hub: LoopbackHub) -> None:
    api = HfApi()
    repo = api.create_repo("model").repo_id
    add = lambda text: CommitOperationAdd("a.txt", text.encode())  # noqa: E731
    first = api.create_commit(repo, [add("1")], commit_message="one").oid
    api.create_branch(repo, branch="dev/x")
    api.create_tag(repo, tag="v1", revision=first)
    api.create_commit(repo, [add("2")], commit_message="two", revision="dev/x")
    texts = {name: Path(hf_hub_download(repo, "a.txt", revision=name)).read_text() for name in ("main", "v1", "dev/x")}
    assert texts == {"main": "1", "v1": "1", "dev/x": "2"}
    refs = api.list_repo_refs(repo)
    assert ([each.name for each in refs.branches], [each.name for each in refs.tags]) == (["dev/x", "main"], ["v1"])
    assert [each.title for each in api.list_repo_commits(repo, revision="dev/x")] == ["two", "one", "initial commit"]

    api.create_commit(repo, [add("3")], commit_message="three", parent_commit=first)
    with pytest.raises(HfHubHTTPError, match="412"):
        api.create_commit(repo, [add("4")], commit_message="four", parent_commit=first)
    with pytest.raises(ValueError, match="license"):
        api.upload_file(path_or_fileobj=b"---\nlicense: 5\n---\n", path_in_repo="README.md", repo_id=repo)

    changes: list[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete] = [
        CommitOperationCopy("a.txt", "b/c.txt"),
        CommitOperationAdd("large.bin", io.BytesIO(b"\0" * 1000)),
        CommitOperationDelete("a.txt"),
    ]
    api.create_commit(repo, changes, commit_message="five")
    api.create_commit(repo, [CommitOperationCopy("large.bin", "b/large.bin")], commit_message="six")
    tree: dict[str, Any] = {each.path: each for each in api.list_repo_tree(repo, recursive=True, expand=True)}
    assert sorted(tree) == [".gitattributes", "b", "b/c.txt", "b/large.bin", "large.bin"]
    assert tree["b/large.bin"].lfs == tree["large.bin"].lfs
    assert tree["large.bin"].last_commit.title == "five"
    with pytest.raises(RemoteEntryNotFoundError):
        api.delete_file("nothing.txt", repo)


def test_not_found_of_four_kinds(hub: LoopbackHub) -> None:
    api = HfApi()
    repo = api.create_repo("model", private=True).repo_id
    with pytest.raises(RemoteEntryNotFoundError):
        hf_hub_download(repo, "nothing.txt")
    assert list((hub.cache / "hub").rglob(".no_exist/*/nothing.txt"))
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download(repo, "config.json", revision="v9")
    for name, token in ((f"{repo}2", hub.token), (repo, hub.other_token), (repo, False)):
        with pytest.raises(RepositoryNotFoundError):
            hf_hub_download(name, "config.json", token=token)
    assert not api.repo_exists(f"{repo}2")
    assert not api.file_exists(repo, "nothing.txt")
    with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
        api.model_info(repo, token="hf_nobody")
    for token, name in ((hub.read_token, repo), (hub.token, f"{hub.other_namespace}/model")):
        with pytest.raises(HfHubHTTPError, match="403"):
            api.create_repo(name if token == hub.token else "another", token=token)
    with pytest.raises(HfHubHTTPError, match="403"):
        api.upload_file(path_or_fileobj=b"{}", path_in_repo="a", repo_id=repo, token=hub.read_token)


def test_private_gated_moved_deleted(hub: LoopbackHub) -> None:
    api, other = HfApi(), HfApi(token=hub.other_token)
    repo = api.create_repo("model", private=True).repo_id
    api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id=repo)
    assert api.model_info(repo).private
    api.update_repo_settings(repo, private=False, gated="manual")
    other.model_info(repo)
    with pytest.raises(GatedRepoError):
        other.hf_hub_download(repo, "config.json")
    api.grant_access(repo, hub.other_namespace)
    other.auth_check(repo)
    with pytest.raises(HfHubHTTPError, match="403"):
        other.auth_check(repo, write=True)
    assert Path(other.hf_hub_download(repo, "config.json")).read_text() == "{}"
    moved = f"{hub.namespace}/moved"
    api.move_repo(repo, moved)
    assert api.file_exists(moved, "config.json")
    api.delete_repo(moved)
    api.delete_repo(moved, missing_ok=True)
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo(moved)


def test_cards_spaces_and_file_system(hub: LoopbackHub) -> None:
    api = HfApi()
    repo = api.create_repo("model").repo_id
    ModelCard(CARD).push_to_hub(repo)
    metadata_update(repo, {"library_name": "reclm-hf"})
    card = ModelCard.load(repo)
    assert (card.data.library_name, card.data.eval_results[0].metric_value) == ("reclm-hf", 0.5)
    with pytest.raises(ValueError, match="license"):
        ModelCard("---\nlicense: my-own\n---\n").validate()

    space = api.create_repo("space", repo_type="space", space_sdk="gradio").repo_id
    api.upload_file(path_or_fileobj=b"1", path_in_repo="app.py", repo_id=space, repo_type="space")
    assert api.space_info(space).sdk == "gradio"
    assert hub.files(space, "space").keys() == {".gitattributes", "app.py"}

    files = HfFileSystem()
    with files.open(f"{repo}/data/a.txt", "w") as file:
        file.write("0123456789")
    assert files.ls(f"{repo}/data", detail=False) == [f"{repo}/data/a.txt"]
    with files.open(f"{repo}/data/a.txt", "rb", block_size=4) as file:
        file.seek(6)
        assert file.read(3) == b"678"


def test_large_file_in_parts(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.server.state, "part_size", 1_000_000)
    repo = HfApi().create_repo("model").repo_id
    content = bytes(range(250)) * 10_000
    HfApi().upload_file(path_or_fileobj=content, path_in_repo="a.bin", repo_id=repo)
    assert [each.path.rsplit("/", 1)[-1] for each in hub.requests if each.method == "PUT"] == ["1", "2", "3"]
    assert Path(hf_hub_download(repo, "a.bin")).read_bytes() == content


def test_a_missing_blob_is_told(hub: LoopbackHub) -> None:
    """A commit that names a large file whose upload was lost."""
    repo = HfApi().create_repo("model").repo_id
    add = CommitOperationAdd("a.bin", b"\0" * 1000)
    HfApi().preupload_lfs_files(repo, [add])
    store = hub.server.state.storage.get("models", repo).folder / "lfs"
    next(store.iterdir()).unlink()
    with pytest.raises(BadRequestError, match="does not exist"):
        HfApi().create_commit(repo, [add], commit_message="lost")
