"""A run of `reclm demo` as three repositories, the recommender pinned to the commit of its tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from reclm_hf.data import bundled
from reclm_hf.data.folder import write_dataset, write_json
from reclm_hf.hub.publish import Pushed
from reclm_hf.hub.runs import is_run, push_run, shown_model
from reclm_hf.hub.staging import PushOptions, Staged
from tests.checkerboard import checkerboard
from tests.hub.artefacts import run_folder
from tests.hubserver.loopback import LoopbackHub

SHOWN = "lightgcn-floor_residual-llm"


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder on data that ship with the package: here the checkerboard, on which its recommender was made."""
    splits, _ = checkerboard()
    write_dataset(splits.data, tmp_path / "shipped" / "checkerboard", {"test_cut": splits.test.cut})
    monkeypatch.setattr(bundled, "_TABLES", tmp_path / "shipped")
    folder = tmp_path / "demo"
    run_folder(folder, SHOWN)
    manifest = json.loads((folder / "manifest.json").read_text())
    known = {"dataset": "checkerboard", "fingerprint": splits.fingerprint}
    write_json({**manifest, **known, "options": {"seed": 0, "everything": False}}, folder / "manifest.json")
    return folder


def test_three_repositories_and_a_pin(hub: LoopbackHub, demo: Path) -> None:
    name = f"{hub.namespace}/demo"
    found = list(push_run(demo, name, PushOptions(license="mit"), progress=False))
    assert all(isinstance(one, Pushed) and one.changed for one in found)
    assert [one.repo_id for one in found if isinstance(one, Pushed)] == [f"{name}-tables", name, f"{name}-results"]
    commit = HfApi().dataset_info(f"{name}-tables").sha
    for repo, kind in ((name, "model"), (f"{name}-results", "dataset")):
        manifest = json.loads(Path(HfApi().hf_hub_download(repo, "manifest.json", repo_type=kind)).read_text())
        (tables,) = (entry for entry in manifest["inputs"] if entry["role"] == "tables")
        assert (tables["repo_id"], tables["revision"]) == (f"{name}-tables", commit)
        assert manifest["figures"]
    assert HfApi().dataset_info(f"{name}-tables").private
    again = list(push_run(demo, name, PushOptions(license="mit"), progress=False))
    assert not [one for one in again if not isinstance(one, Pushed) or one.changed]


def test_a_dry_run_needs_no_hub(demo: Path) -> None:
    found = list(push_run(demo, "org/demo", dry_run=True))
    assert all(isinstance(one, Staged) for one in found)
    assert [one.kind.name for one in found if isinstance(one, Staged)] == ["tables", "recommender", "results"]


def test_a_push_names_no_revision(demo: Path) -> None:
    with pytest.raises(ValueError, match="give org/demo"):
        list(push_run(demo, "org/demo@v1", dry_run=True))


def test_what_is_no_run(demo: Path, tmp_path: Path) -> None:
    assert is_run(demo)
    assert not is_run(demo / "models" / SHOWN / "model")
    write_json({}, demo / "manifest.json")
    with pytest.raises(ValueError, match="does not say which recommender it shows"):
        shown_model(demo)
    write_json({"options": {"seed": 5}}, demo / "manifest.json")
    with pytest.raises(ValueError, match=r"-seed5/model is not there"):
        shown_model(demo)
