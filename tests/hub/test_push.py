"""Push against a Hub over HTTP: one commit or none, nothing doubled, nothing of others' overwritten."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from reclm_hf.data.folder import write_dataset, write_json
from reclm_hf.hub import publish
from reclm_hf.hub.client import StaleParentError
from reclm_hf.hub.publish import Pushed, push
from reclm_hf.hub.pull import pull
from reclm_hf.hub.staging import PushOptions, Staged
from tests.checkerboard import checkerboard
from tests.hub.artefacts import copy_of, run_folder
from tests.hubserver.loopback import LoopbackHub


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return copy_of("recommender", tmp_path / "model")


def pushed(source: Path, repo_id: str, **options: object) -> Pushed:
    found = push(source, repo_id, PushOptions(**options), progress=False)  # type: ignore[arg-type]
    assert isinstance(found, Pushed)
    return found


def test_one_commit_and_then_none(hub: LoopbackHub, model: Path) -> None:
    repo = f"{hub.namespace}/mine"
    first = pushed(model, repo)
    assert (first.changed, first.repo_type, first.url) == (True, "model", f"{hub.endpoint}/{repo}")
    assert len(hub.history(repo)) == 2  # the Hub's own, and ours
    assert set(hub.files(repo)) == {*first.files, ".gitattributes"}
    assert HfApi().repo_info(repo).private
    again = pushed(model, repo)
    assert (again.changed, again.revision) == (False, first.revision)
    assert len(hub.history(repo)) == 2


def test_only_what_differs_is_written_and_what_is_gone_goes(hub: LoopbackHub, model: Path) -> None:
    repo = f"{hub.namespace}/mine"
    pushed(model, repo, code=True)
    before = hub.files(repo)
    assert "modeling_reclm_recommender.py" in before
    changed = pushed(model, repo)
    after = hub.files(repo)
    assert changed.changed
    assert not [name for name in after if name.endswith(".py")]
    assert {name for name in after if after[name] != before[name]} == {"README.md", "config.json", "manifest.json"}
    assert len(hub.history(repo)) == 3


def test_what_others_put_beside_it_stays(hub: LoopbackHub, model: Path, caplog: pytest.LogCaptureFixture) -> None:
    repo = f"{hub.namespace}/mine"
    pushed(model, repo)
    HfApi().upload_file(path_or_fileobj=b"x", path_in_repo="picture.png", repo_id=repo)
    with caplog.at_level(logging.WARNING):
        pushed(model, repo, title="Another")
    assert "picture.png" in hub.files(repo)
    assert "picture.png" in caplog.text
    HfApi().upload_file(path_or_fileobj=b"x", path_in_repo="weights.pkl", repo_id=repo)
    with pytest.raises(ValueError, match=r"weights\.pkl"):
        pushed(model, repo, title="A third")


def test_a_push_beside_another_is_refused(
    hub: LoopbackHub, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    repo = f"{hub.namespace}/mine"
    pushed(model, repo)
    compare = publish._operations

    def meanwhile(staged: Staged, there: object, stale: list[str]) -> object:
        HfApi().upload_file(path_or_fileobj=b"x", path_in_repo="NOTICE.txt", repo_id=repo)
        return compare(staged, there, stale)  # type: ignore[arg-type]

    monkeypatch.setattr(publish, "_operations", meanwhile)
    with pytest.raises(StaleParentError, match="changed by somebody else"):
        pushed(model, repo, title="Another")
    assert len(hub.history(repo)) == 3


def test_nothing_of_somebody_else_is_overwritten(hub: LoopbackHub, model: Path, tmp_path: Path) -> None:
    repo = f"{hub.namespace}/theirs"
    HfApi().create_repo(repo, private=True)
    HfApi().upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id=repo)
    with pytest.raises(ValueError, match=r"did not bring \(config\.json is the first\)"):
        pushed(model, repo)
    other = f"{hub.namespace}/profiler"
    pushed(copy_of("base", tmp_path / "base"), other, private=True)
    with pytest.raises(ValueError, match="holds a profiler, and this is a recommender"):
        pushed(model, other)
    assert set(hub.files(repo)) == {".gitattributes", "config.json"}
    assert "catalog.parquet" not in hub.files(other)


@pytest.mark.parametrize("content", [b'{"name": "an app", "icons": []}', b"no JSON", b"[1]", b'{"kind": ["a"]}'])
def test_a_manifest_of_another_program_is_not_ours(hub: LoopbackHub, model: Path, content: bytes) -> None:
    repo = f"{hub.namespace}/theirs"
    HfApi().create_repo(repo, private=True)
    for name, text in (("manifest.json", content), ("config.json", b"{}")):
        HfApi().upload_file(path_or_fileobj=text, path_in_repo=name, repo_id=repo)
    before = hub.files(repo)
    with pytest.raises(ValueError, match=r"did not bring \(config\.json is the first\)"):
        pushed(model, repo)
    HfApi().delete_file("config.json", repo)
    with pytest.raises(ValueError, match=r"did not bring \(manifest\.json is the first\)"):
        pushed(model, repo)
    assert hub.files(repo) == {name: sha for name, sha in before.items() if name != "config.json"}


def test_a_push_names_no_revision(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"org/x@v1 names a revision, .*: give org/x"):
        push(tmp_path, "org/x@v1")


@pytest.mark.parametrize("kind", ["recommender", "results", "adapter", "merged", "base", "reward"])
def test_what_was_pulled_is_pushed_as_it_is(hub: LoopbackHub, tmp_path: Path, kind: str) -> None:
    source, options, repo = tmp_path / "source", {"title": "Mine", "license": "mit"}, f"{hub.namespace}/mine"
    if kind in ("recommender", "results"):
        HfApi().create_repo(f"{hub.namespace}/tables", repo_type="dataset")
        options |= {"tables": f"{hub.namespace}/tables", "kind": kind}
        found = run_folder(source)
        source = found if kind == "recommender" else source
    else:
        copy_of("base" if kind == "reward" else kind, source)
    if kind == "reward":
        reward = {"layout": "merged", "base_model": "base", "prompt": "v1", "accuracy": 0.5, "pairs": 8}
        write_json(reward, source / "reward_config.json")
        record = {"stage": "reward", "settings": {"seed": 3}, "figures": {"loss_last": 0.5}, "versions": {"torch": "1"}}
        write_json(record, source / "manifest.json")
    if kind in ("adapter", "merged"):
        pushed(copy_of("base", tmp_path / "base"), f"{hub.namespace}/base")
        options |= {"base_model": f"{hub.namespace}/base"}
    first = pushed(source, repo, **options)
    pull(repo, tmp_path / "pulled")
    again = pushed(tmp_path / "pulled", repo)
    assert (first.changed, again.changed, again.revision) == (True, False, first.revision)


def test_user_data_in_the_open_needs_the_word(hub: LoopbackHub, model: Path, tmp_path: Path) -> None:
    repo = f"{hub.namespace}/open"
    HfApi().create_repo(repo)
    with pytest.raises(ValueError, match=r"open to everybody.*ids or profiles of users.*--public"):
        pushed(model, repo)
    assert pushed(model, repo, private=False).changed
    assert not HfApi().repo_info(repo).private
    with pytest.raises(ValueError, match="asked to be private"):
        pushed(model, repo, private=True, title="Another")
    base = f"{hub.namespace}/base"
    pushed(copy_of("base", tmp_path / "base"), base)
    assert not HfApi().repo_info(base).private


def test_who_may_not_write_is_told_so(
    hub: LoopbackHub, model: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    repo, said = f"{hub.namespace}/mine", []
    caplog.set_level(logging.DEBUG)
    with pytest.raises(OSError, match="role `write`") as refused:
        push(model, repo, token=hub.read_token, progress=False)
    said.append(str(refused.value))
    with pytest.raises(OSError, match="role `write`") as refused:
        push(model, repo, token=hub.other_token, progress=False)
    said.append(str(refused.value))
    with pytest.raises(OSError, match="HF_TOKEN") as refused:
        push(model, repo, token="hf_" + "nobody" * 6, progress=False)
    said.append(str(refused.value))
    written = "".join([*said, caplog.text, *capsys.readouterr()])
    for token in (hub.token, hub.read_token, hub.other_token, "nobodynobody"):
        assert token not in written


def test_a_dry_run_asks_nobody(hub: LoopbackHub, model: Path) -> None:
    found = push(model, f"{hub.namespace}/mine", dry_run=True)
    assert isinstance(found, Staged)
    assert found.sizes["model.safetensors"] == (model / "model.safetensors").stat().st_size
    assert found.card.startswith("---\n")
    assert hub.requests == []


def test_repositories_are_pinned(hub: LoopbackHub, model: Path, caplog: pytest.LogCaptureFixture) -> None:
    repo, tables = f"{hub.namespace}/mine", f"{hub.namespace}/tables"
    with pytest.raises(OSError, match=f"newest commit of {tables}: there is no such repository"):
        pushed(model, repo, tables=tables)
    dry = push(model, repo, PushOptions(tables=tables), dry_run=True)
    assert isinstance(dry, Staged)
    assert dry.manifest["inputs"][0]["revision"] is None
    HfApi().create_repo(tables, repo_type="dataset")
    pushed(model, repo, tables=tables)
    manifest = json.loads(Path(HfApi().hf_hub_download(repo, "manifest.json")).read_text())
    assert manifest["inputs"][0]["revision"] == HfApi().dataset_info(tables).sha


def test_a_training_notes_the_commit_of_its_tables(hub: LoopbackHub, tmp_path: Path) -> None:
    from reclm_hf.commands.train import _source

    splits, _ = checkerboard()
    write_dataset(splits.data, tmp_path / "data", {"test_cut": splits.test.cut, "licence": "MIT"})
    found = pushed(tmp_path / "data", f"{hub.namespace}/tables")
    source, info, tables = _source(found.repo_id)
    assert source == tables == f"{found.repo_id}@{found.revision}"
    assert info is not None
    assert info["licence"] == "MIT"
    assert _source(str(tmp_path / "data"))[2] is None


def test_an_adapter_goes_with_the_weights_that_it_was_trained_on(hub: LoopbackHub, tmp_path: Path) -> None:
    from tests.profiler.models import save_base

    base, other, repo = (f"{hub.namespace}/{name}" for name in ("base", "other", "adapter"))
    pushed(copy_of("base", tmp_path / "base"), base)
    pushed(save_base(tmp_path / "other", seed=5), other)
    adapter = copy_of("adapter", tmp_path / "adapter")
    with pytest.raises(ValueError, match=f"{other} has other weights"):
        pushed(adapter, repo, base_model=other)
    assert not HfApi().repo_exists(repo)
    pushed(adapter, repo, base_model=base)
    named = json.loads(Path(HfApi().hf_hub_download(repo, "adapter_config.json")).read_text())
    assert named["revision"] == HfApi().model_info(base).sha


def test_a_token_in_a_manifest_goes_nowhere(hub: LoopbackHub, model: Path) -> None:
    write_json({"fingerprint": "x", "dataset": f"from {hub.token}"}, model / "manifest.json")
    with pytest.raises(ValueError, match="holds") as caught:
        pushed(model, f"{hub.namespace}/mine")
    assert hub.token not in str(caught.value)
    assert not HfApi().repo_exists(f"{hub.namespace}/mine")
