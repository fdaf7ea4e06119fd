"""The manifest of a repository: the same bytes for the same content, and errors that name the key or file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reclm_hf.hub.manifest import (
    MANIFEST,
    check_files,
    file_entries,
    input_entry,
    new_manifest,
    read_manifest,
    validate_manifest,
    write_manifest,
)

SHA = "a" * 64


def content(**changes: Any) -> dict[str, Any]:
    found = new_manifest("recommender", "org/name", seed=7, details={"b": 1, "a": 2})
    return {**found, "files": {"config.json": {"sha256": SHA, "size": 2}}} | changes


def test_written_and_read_again(tmp_path: Path) -> None:
    names = {"row": "x", "split": "test", "kind": "model", "setting": "catalogue", "metric": "recall@20"}
    figures = [{**names, "value": np.float32(0.5), "low": float("nan")}]
    write_manifest(content(figures=figures), tmp_path)
    found = read_manifest(tmp_path)
    assert found["figures"] == [{**names, "value": 0.5, "low": None}]
    assert (found["title"], found["data"], found["inputs"]) == ("name", None, [])


def test_the_order_of_keys_does_not_matter(tmp_path: Path) -> None:
    first = write_manifest(content(), tmp_path)
    turned = dict(reversed(content().items())) | {"details": {"a": 2, "b": 1}}
    assert write_manifest(turned, tmp_path) == first
    assert str(tmp_path) not in first


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, "format=2"),
        ({"kind": "robot"}, "kind='robot'"),
        ({"repo_id": None}, "repo_id="),
        ({"files": ["config.json"]}, "files="),
        ({"files": {"config.json": {"sha256": SHA, "size": -1}}}, r"files\['config.json'\]"),
        ({"files": {"config.json": {"sha256": "abc", "size": 1}}}, r"files\['config.json'\]"),
        ({"files": {"../config.json": {"sha256": SHA, "size": 1}}}, "leads out of its folder"),
        ({"details": []}, "details="),
        ({"figures": {}}, "figures="),
        ({"figures": [1]}, "figures="),
        ({"inputs": [{"role": 3}]}, "inputs, entry 1, role"),
        ({"inputs": [{"role": "tables", "revision": "main"}]}, r"entry 1 \(tables\), revision='main'.*full commit"),
        ({"inputs": [{"role": "tables"}]}, r"entry 1 \(tables\), repo_id="),
        ({"inputs": [{"role": "tables", "repo_id": 3}]}, r"entry 1 \(tables\), repo_id='3'"),
        ({"data": "x"}, "data="),
        ({"data": {"counts": [1]}}, r"data\.counts="),
        ({"data": {"cuts": "2001"}}, r"data\.cuts="),
        ({"certificates": [{"probe": [1]}]}, r"certificates, entry 1, probe="),
        ({"figures": [{"row": "x", "kind": "model", "setting": "a", "metric": "b"}]}, "figures, entry 1, split="),
        ({"seed": "x"}, "seed="),
        ({"license": 3}, "license="),
    ],
)
def test_a_wrong_key_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        validate_manifest(content(**changes))


def test_other_manifests_are_not_ours(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no manifest of a repository"):
        validate_manifest({"stage": "sft"})
    with pytest.raises(FileNotFoundError, match="no copy of a repository"):
        read_manifest(tmp_path)
    for text in ("{", "[1]", "[" * 5000):
        (tmp_path / MANIFEST).write_text(text)
        with pytest.raises(ValueError, match=r"manifest\.json(:| is not JSON)"):
            read_manifest(tmp_path)


def test_what_an_older_one_lacks_is_empty() -> None:
    found = validate_manifest({"format": 1, "kind": "space", "repo_id": "org/x", "files": {}})
    assert (found["certificates"], found["cost"], found["test_opened"]) == ([], {}, None)


def test_files_are_compared(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.parquet").write_text("table")
    (tmp_path / "README.md").write_text("card")
    entries = file_entries(tmp_path, ["config.json", "deep/x.parquet", "README.md"])
    manifest = {"files": entries}
    assert list(entries) == ["config.json", "deep/x.parquet"]
    check_files(tmp_path, manifest)
    (tmp_path / "config.json").write_text("[]")
    check_files(tmp_path, manifest, ["deep/x.parquet"])
    with pytest.raises(ValueError, match=r"config\.json differs .*SHA-256"):
        check_files(tmp_path, manifest)
    (tmp_path / "config.json").write_text("[]]")
    with pytest.raises(ValueError, match=r"config\.json has 3 bytes, but manifest\.json says 2"):
        check_files(tmp_path, manifest)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match=r"config\.json is missing"):
        check_files(tmp_path, manifest)
    with pytest.raises(ValueError, match=r"other\.json is not in manifest\.json"):
        check_files(tmp_path, manifest, ["other.json"])


def test_parts_are_known() -> None:
    with pytest.raises(ValueError, match="detail: a manifest has no such part"):
        new_manifest("space", "org/x", detail={})
    assert input_entry("tables", "x")["revision"] is None
    assert json.loads(json.dumps(new_manifest("space", "org/x")))["inputs"] == []
