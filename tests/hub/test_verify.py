"""What `verify` finds in a folder, without a Hub: staged artefacts are what a pull leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reclm_hf.hub.checking import Artefact, Check
from reclm_hf.hub.staging import PushOptions, stage
from reclm_hf.hub.verify import verify
from reclm_hf.hub.verify_models import _figures, check_recommender
from tests.hub.artefacts import LABEL, copy_of, run_folder
from tests.hub.small_tables import write_data, write_profiles


def failed(folder: Path) -> dict[str, str]:
    return {check.name: check.detail for check in verify(folder) if not check.passed}


def staged(source: Path, place: Path, **options: Any) -> Path:
    place.mkdir()
    return stage(source, "org/artefact", place, PushOptions(**options)).folder


def edit(folder: Path, change: Any) -> None:
    """Change the manifest, and the card with it."""
    from reclm_hf.hub.cards import render_card

    content = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    change(content)
    (folder / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "README.md").write_text(render_card(content), encoding="utf-8")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    run_folder(tmp_path / "run")
    return staged(tmp_path / "run", tmp_path / "results", kind="results")


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    splits = write_data(tmp_path / "data")
    write_profiles(splits, tmp_path / "profiles")
    return staged(tmp_path / "data", tmp_path / "tables", profiles=str(tmp_path / "profiles"))


def test_staged_results_and_tables_pass(results: Path, tables: Path) -> None:
    for folder in (results, tables):
        checks = verify(folder)
        assert [(check.name, check.passed) for check in checks] == [
            ("files", True),
            ("card", True),
            ("manifest", True),
        ], checks


def test_figures_must_be_those_of_the_table(results: Path) -> None:
    edit(results, lambda manifest: manifest["figures"][1].update(value=0.5))
    assert failed(results) == {"manifest": "figures[2].value: the manifest says 0.5, the files say 0.1"}


def test_a_table_that_was_changed_is_named(results: Path) -> None:
    table = pd.read_parquet(results / "results.parquet")
    table["value"] += 0.1
    table.to_parquet(results / "results.parquet")
    wrong = failed(results)
    assert "results.parquet" in wrong["files"]
    assert "figures[1].value" in wrong["manifest"]


def test_every_changed_figure_of_a_card_is_named(results: Path) -> None:
    card = (results / "README.md").read_text(encoding="utf-8")
    (results / "README.md").write_text(card.replace("0.2000", "0.3000"), encoding="utf-8")
    assert card.count("0.2000"), "the figure is there"
    assert "0.3000" in failed(results)["card"]
    (results / "README.md").write_text(card.replace("# ", "# The best: ", 1), encoding="utf-8")
    assert "The best" in failed(results)["card"]
    (results / "README.md").unlink()
    assert "README.md is missing" in failed(results)["card"]


def test_profiles_that_leak_are_found_whatever_the_manifest_says(tables: Path) -> None:
    path = tables / "user_profiles" / "validation.parquet"
    table = pd.read_parquet(path)
    table["as_of"] += pd.Timedelta(days=1000)
    table.to_parquet(path)
    wrong = failed(tables)
    assert "validation.parquet" in wrong["files"]
    assert "as_of" in wrong["manifest"]


def test_a_recommender_without_tables_says_that_nothing_was_run(tmp_path: Path) -> None:
    folder = staged(copy_of("recommender", tmp_path / "model"), tmp_path / "place")
    checks = verify(folder)
    assert not [check for check in checks if not check.passed]
    assert [check.name for check in checks if check.skipped] == ["figures"]
    assert "names no tables" in checks[-1].detail


def test_means_over_seeds_and_tables_without_a_commit_are_told_apart(tmp_path: Path) -> None:
    splits = write_data(tmp_path / "data")
    figures = [
        {"kind": "model", "split": "test", "n_seeds": 3, "row": "a"},
        {"kind": "floor", "split": "test", "n_seeds": 1, "row": "b"},
    ]
    manifest = {"data": {"dataset": "checkerboard"}, "inputs": [], "figures": figures, "seed": 0, "kind": "recommender"}
    artefact = Artefact(tmp_path, manifest, tmp_path)
    found = list(_figures(artefact, splits))
    assert [(check.name, check.skipped) for check in found] == [("figures of several seeds", True), ("floors", True)]
    pinned = {"role": "tables", "repo_id": "org/tables", "revision": None}
    (check,) = check_recommender(Artefact(tmp_path, manifest | {"inputs": [pinned]}, tmp_path))
    assert not check.passed
    assert "org/tables are not pinned to a commit" in check.detail


def test_a_recommender_that_is_another_one_is_found(tmp_path: Path) -> None:
    folder = staged(run_folder(tmp_path / "run"), tmp_path / "place")
    edit(folder, lambda manifest: manifest["details"].update(backbone="lightgcn"))
    assert "details.backbone: the manifest says lightgcn, the files say bias_mf" in failed(folder)["manifest"]
    assert LABEL in json.dumps(json.loads((folder / "manifest.json").read_text())["figures"])


def test_what_is_no_pushed_artefact_is_told_so(tmp_path: Path) -> None:
    copy_of("recommender", tmp_path / "model")
    assert "was not pushed yet" in failed(tmp_path / "model")["manifest"]
    (tmp_path / "model" / "manifest.json").write_text("{")
    assert "is not JSON" in failed(tmp_path / "model")["manifest"]
    with pytest.raises(ValueError, match="has no revision 'v1'"):
        verify(tmp_path / "model", revision="v1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"manifest\.json is missing"):
        verify(tmp_path / "empty")


def test_a_skipped_check_is_neither_passed_nor_failed_in_words() -> None:
    from reclm_hf.commands.verify import _line

    lines = [
        _line(Check("files", True, "all")),
        _line(Check("card", False, "a\x1b[31mred")),
        _line(Check("floors", True, "not now", skipped=True)),
    ]
    assert lines == ["✓ passed       files: all", "✗ failed       card: a [31mred", "- not checked  floors: not now"]
