"""From what a run wrote down to what a repository says: certificates, licences, and no places."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from reclm_hf.data.folder import write_json
from reclm_hf.data.tables import PROFILE_COLUMNS
from reclm_hf.hub.records import data_of, is_hub_id, nameless, repository_input, run_record, stage_inputs_of
from reclm_hf.pipeline.manifest import write_manifest
from tests.checkerboard import checkerboard


def profiles(splits: object, cut: object) -> pd.DataFrame:
    row = dict.fromkeys(PROFILE_COLUMNS, "") | {
        "user_id": "user-02",
        "profile": "User identity: reader; User interests: alpha stories",
        "identities": ["reader"],
        "interests": ["alpha stories"],
        "evidence": ["000"],
        "neighbors": [],
        "as_of": pd.Timestamp(cut, unit="us", tz="UTC"),
        "source": "interactions",
        "generator": "words",
        "format_score": 1.0,
        "tokens_in": 10,
        "tokens_out": 5,
    }
    return pd.DataFrame([row])


def test_the_manifest_of_a_run_has_what_a_card_asks_for(tmp_path: Path) -> None:
    splits, _ = checkerboard()
    stated = {"format": 1, "kind": "recommender", "repo_id": "", "files": {}, "config_sha256": None}
    write_json({**stated, "figures": ["of another run"]}, tmp_path / "manifest.json")
    write_manifest(
        tmp_path,
        splits,
        {"test": profiles(splits, splits.test.cut)},
        1.0,
        {"seed": 4},
        test_opened=False,
        info={"licence": "MIT", "attribution": "somebody"},
        tables="org/tables@" + "a" * 40,
    )
    record = run_record(tmp_path)
    assert {name: record[name] for name in stated} == stated  # what a saved recommender states of its files stays
    assert "figures" not in record
    (certificate,) = record["certificates"]
    assert (certificate["split"], certificate["rows"], certificate["n_failures"]) == ("test", 1, 0)
    assert certificate["passed"] is True
    said = data_of(record)
    assert said is not None
    assert said["counts"] == {"users": 50, "items": 50, "interactions": len(splits.data.user)}
    assert (said["license"], said["attribution"]) == ("MIT", "somebody")
    assert said["fingerprint"] == splits.fingerprint


def test_no_run_no_record(tmp_path: Path) -> None:
    assert run_record(tmp_path) == {}
    assert data_of({}) is None
    write_json({"repo_id": "org/x", "kind": "tables", "files": {}, "fingerprint": "f"}, tmp_path / "manifest.json")
    assert run_record(tmp_path) == {}  # that of the repository it was pulled from is no run's
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json is not JSON"):
        run_record(tmp_path)


def test_places_become_names() -> None:
    said = {"output": "/tmp/x", "model": "/home/me/base", "deep": [{"profiles": "~/mine"}], "hub": "org/x", "n": 3}
    assert nameless(said) == {"model": "base", "deep": [{"profiles": "mine"}], "hub": "org/x", "n": 3}


def test_hub_ids_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_id("org/model")
    (tmp_path / "org" / "model").mkdir(parents=True)
    assert not is_hub_id("org/model")  # the folder that is there was meant
    for name in ("base", "/home/me/base", "a/b/c", "org/x@main", "../x/y", "org//x", ""):
        assert not is_hub_id(name), name
    with pytest.raises(ValueError, match="no Hub id"):
        repository_input("tables", "tables")


def test_what_a_stage_read() -> None:
    record = {
        "settings": {"preferences": "/home/me/pairs"},
        "inputs": {"preferences": "sha256:" + "b" * 64, "profiles": "org/tables", "model": "x", "weights": "sha256:c"},
    }
    read = {entry["role"]: entry for entry in stage_inputs_of(record)}
    assert set(read) == {"preferences", "profiles"}
    assert (read["preferences"]["name"], read["preferences"]["sha256"]) == ("pairs", "b" * 64)
    assert (read["profiles"]["repo_id"], read["profiles"]["sha256"]) == ("org/tables", None)
