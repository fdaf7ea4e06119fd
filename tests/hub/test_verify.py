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
from reclm_hf.hub.verify_models import _figures, check_adapter, check_recommender
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
    carried = "cost, data.cuts, seed, settings, test_opened, versions"
    redrawn = "certificates[1].redrawn, certificates[3].redrawn"
    for folder, unknown in ((results, carried), (tables, redrawn)):
        checks = verify(folder)
        assert not [check for check in checks if not check.passed], checks
        assert [check.name for check in checks if not check.skipped] == ["files", "card", "manifest"]
        assert [check.name for check in checks if check.skipped] == [unknown]


def test_what_is_invented_where_the_files_have_nothing_is_found(results: Path, tables: Path) -> None:
    certificate = {"table": "user_profiles", "split": "test", "passed": True, "rows": 10}

    def of_results(manifest: dict[str, Any]) -> None:
        manifest["details"]["verdicts"] = {"better": 9}
        manifest["figures"][-1].update(low=0.0, high=0.01)
        manifest["certificates"] = [certificate]

    edit(results, of_results)
    assert failed(results) == {
        "manifest": "details.verdicts.better: the manifest says 9, the files say None; "
        "figures[4].high: the manifest says 0.01, the files say None; "
        "figures[4].low: the manifest says 0.0, the files say None"
    }
    (unknown,) = [check for check in verify(results) if check.skipped]
    assert {"certificates", "test_opened"} <= set(unknown.name.split(", "))

    def of_tables(manifest: dict[str, Any]) -> None:
        manifest["certificates"] = [*manifest["certificates"], certificate]
        manifest["profiles"]["train"] = {"rows": 10, "generator": ["gpt"]}
        manifest["license"] = "mit"
        manifest["measures"] = {"accuracy": 0.99}

    edit(tables, of_tables)
    wrong = failed(tables)["manifest"]
    for name in ("certificates", "profiles.train", "license", "measures.accuracy"):
        assert f"{name}: the manifest says" in wrong


def test_figures_of_a_reward_model_are_those_of_its_configuration(tmp_path: Path) -> None:
    place = tmp_path / "place"
    source = copy_of("base", tmp_path / "reward")
    config = {"layout": "merged", "base_model": "base", "prompt": "v1", "accuracy": 0.5, "pairs": 8}
    (source / "reward_config.json").write_text(json.dumps(config))
    staged(source, place)
    edit(place, lambda manifest: manifest["measures"].update(accuracy=0.75, low=0.6))
    assert "measures.accuracy: the manifest says 0.75, the files say 0.5" in failed(place)["manifest"]


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


def test_what_a_run_said_of_a_recommender_is_not_called_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from reclm_hf.commands.main import main

    folder = staged(run_folder(tmp_path / "run"), tmp_path / "place")
    edit(folder, lambda manifest: manifest.update(certificates=[{"passed": True, "rows": 9}]))
    edit(folder, lambda manifest: manifest["data"].update(license="mit"))
    (unknown,) = [check.name for check in verify(folder) if check.skipped and "cost" in check.name]
    assert unknown == "certificates, cost, data.license, measures, settings, test_opened, versions"
    assert main(["verify", str(folder)]) == 0
    said = capsys.readouterr().out
    assert f"- not checked  {unknown}: as they were pushed" in said
    assert said.endswith(f"Next: use {folder}; nothing that was checked differs\n")


def test_figures_of_another_kind_are_refused(tmp_path: Path) -> None:
    names = {"split": "test", "row": "this is better", "setting": "catalogue", "metric": "recall@20", "n_seeds": 1}
    manifest = {"figures": [{**names, "kind": "proof", "value": 0.99}], "seed": 0, "kind": "recommender"}
    wrong = list(_figures(Artefact(tmp_path, manifest, tmp_path), write_data(tmp_path / "data")))
    assert "this is better: there is no kind 'proof' of figures" in wrong[0].detail
    assert not wrong[0].passed


def test_weights_that_are_cut_off_are_a_failed_check(tmp_path: Path) -> None:
    from reclm_hf.hub.manifest import file_entries

    folder = staged(copy_of("base", tmp_path / "base"), tmp_path / "place")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()  # a link to the copy
    (folder / "model.safetensors").write_bytes(weights[:1000])
    edit(folder, lambda manifest: manifest.update(files=file_entries(folder, manifest["files"])))
    assert list(failed(folder)) == ["model"]


def test_a_token_for_another_endpoint_stays_from_the_libraries_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    from reclm_hf.profiler.modeling_reclm_profiler import RecLMProfiler

    sent: list[Any] = []

    def seen(folder: Path, token: Any = None, device: str = "") -> None:
        sent.append(token)
        raise OSError("far enough")

    monkeypatch.setattr(RecLMProfiler, "from_pretrained", seen)
    for endpoint in ("https://other.example", constants.ENDPOINT + "/", None):
        list(check_adapter(Artefact(tmp_path, {}, tmp_path, endpoint, "hf_mine")))
    assert sent == [False, "hf_mine", "hf_mine"]


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
    staged(tmp_path / "model", tmp_path / "place")
    (tmp_path / "place" / "config.json").write_text("{")
    assert failed(tmp_path / "place")["manifest"].startswith(f"{tmp_path / 'place' / 'config.json'} is not JSON")
    (tmp_path / "model" / "manifest.json").write_text("{")
    assert "is not JSON" in failed(tmp_path / "model")["manifest"]
    with pytest.raises(ValueError, match="has no revision 'v1'"):
        verify(tmp_path / "model", revision="v1")
    with pytest.raises(ValueError, match="org/x@A names a revision, and so does"):
        verify("org/x@A", revision="B")
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
