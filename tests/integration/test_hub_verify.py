"""`reclm verify` over HTTP: what was pushed passes, and every figure that is changed afterwards is found and named."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from reclm_hf.baselines import FLOORS
from reclm_hf.commands.main import main
from reclm_hf.data.folder import write_json
from reclm_hf.data.splits import Splits
from reclm_hf.evaluation.protocol import evaluate
from reclm_hf.evaluation.report import write_report
from reclm_hf.evaluation.rows import Row
from reclm_hf.hub.cards import render_card
from reclm_hf.hub.checking import Check
from reclm_hf.hub.manifest import read_manifest
from reclm_hf.hub.publish import Pushed, push
from reclm_hf.hub.staging import PushOptions
from reclm_hf.hub.verify import verify
from reclm_hf.pipeline.evaluate_stage import seed_rows
from reclm_hf.pipeline.manifest import write_manifest
from tests.hub.small_tables import write_data, write_profiles
from tests.hubserver.loopback import LoopbackHub
from tests.profiler.models import profiler, save_base
from tests.recommender.models import trained

LABEL = "bias_mf-standard-none"


@dataclass(frozen=True)
class Run:
    """A small run on disk: its data folder, and the folder of the recommender in it."""

    folder: Path
    data: Path
    model: Path
    splits: Splits


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("run")
    folder, data = root / "run", root / "data"
    splits = write_data(data)
    model, path = trained("bias_mf", "standard", "none"), folder / "models" / LABEL / "model"
    model.save_pretrained(path)
    write_json({"spec": {"seed": 0}, "seconds": 1.0, "best_epoch": 12}, path.parent / "done.json")
    floor = FLOORS["popularity"]().fit(splits.test)
    rows = [Row("popularity", "floor", [evaluate(floor, splits.test)]), *seed_rows([model], LABEL, splits.test)]
    about = {"dataset": splits.data.name, "fingerprint": splits.fingerprint}
    write_report(folder, rows, [(LABEL, "popularity")], **about, draws=10_000)
    write_manifest(folder, splits, {}, 1.0, {"seed": 0}, test_opened=True)
    return Run(folder, data, path, splits)


@pytest.fixture
def pushed(hub: LoopbackHub, run: Run) -> Pushed:
    """The recommender of the run, pinned to its pushed tables."""
    push(run.data, f"{hub.namespace}/tables", progress=False)
    options = PushOptions(tables=f"{hub.namespace}/tables")
    found = push(run.model, f"{hub.namespace}/recommender", options, progress=False)
    assert isinstance(found, Pushed)
    return found


def failed(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.detail for check in checks if not check.passed}


def edited(repo_id: str, change: Any) -> dict[str, Any]:
    """The manifest of a repository after `change`, committed with the card that it renders: a consistent lie."""
    folder = Path(HfApi().snapshot_download(repo_id, allow_patterns=["manifest.json"]))
    manifest = read_manifest(folder)
    change(manifest)
    text = json.dumps(manifest, indent=2, sort_keys=True)
    for name, content in (("manifest.json", text), ("README.md", render_card(manifest))):
        HfApi().upload_file(path_or_fileobj=content.encode(), path_in_repo=name, repo_id=repo_id)
    return manifest


def test_what_was_pushed_passes(hub: LoopbackHub, run: Run, pushed: Pushed, tmp_path: Path) -> None:
    checks = verify(pushed.repo_id, cache=tmp_path / "kept")
    assert failed(checks) == {}
    said = {check.name: check.detail for check in checks if not check.skipped}
    assert set(said) == {"files", "card", "manifest", "tables", "figures"}
    assert "figures came back within 1e-06" in said["figures"]
    assert f"{len(run.splits.data.user):,} interactions; equal: fingerprint, counts, cuts" in said["tables"]
    unknown = {"cost, measures, settings, test_opened, versions"}  # of its run, which no file tells
    assert {check.name for check in checks if check.skipped} == {"floors", *unknown}
    # The same, as it was pulled, and of a commit.
    assert failed(verify(tmp_path / "kept" / pushed.repo_id.replace("/", "--"))) == {}
    assert failed(verify(f"{pushed.repo_id}@{pushed.revision}")) == {}


def test_a_recommender_and_its_tables_may_have_one_name(hub: LoopbackHub, run: Run) -> None:
    repo = f"{hub.namespace}/both"
    push(run.data, repo, progress=False)
    push(run.model, repo, PushOptions(tables=repo), progress=False)
    checks = verify(repo)  # looked for among models first
    assert failed(checks) == {}
    assert "tables" in {check.name for check in checks if not check.skipped}


def test_a_changed_figure_in_a_card_is_named(hub: LoopbackHub, pushed: Pushed) -> None:
    path = Path(HfApi().hf_hub_download(pushed.repo_id, "README.md"))
    manifest = read_manifest(Path(HfApi().snapshot_download(pushed.repo_id, allow_patterns=["manifest.json"])))
    line = next(line for line in manifest["figures"] if line["kind"] == "model" and line["setting"] == "catalogue")
    shown = f"{line['value']:.4f}"
    card = path.read_text(encoding="utf-8")
    head, _, text = card.partition("\n---\n")
    assert shown in text
    lie = head + "\n---\n" + text.replace(shown, "0.9876")
    HfApi().upload_file(path_or_fileobj=lie.encode(), path_in_repo="README.md", repo_id=pushed.repo_id)
    wrong = failed(verify(pushed.repo_id))
    assert set(wrong) == {"card"}
    assert "0.9876" in wrong["card"]
    assert shown in wrong["card"]


@pytest.mark.parametrize(("key", "amount"), [("value", 1e-4), ("low", 1e-4), ("n_targets", 1)])
@pytest.mark.parametrize("kind", ["model", "mean_user"])
def test_a_figure_that_card_and_manifest_agree_on_is_run_again(
    hub: LoopbackHub, pushed: Pushed, kind: str, key: str, amount: float
) -> None:
    changed: dict[str, Any] = {}

    def change(manifest: dict[str, Any]) -> None:
        line = next(line for line in manifest["figures"] if line["kind"] == kind and line["setting"] == "catalogue")
        line[key] += amount
        changed.update(line)

    edited(pushed.repo_id, change)
    wrong = failed(verify(pushed.repo_id))
    assert set(wrong) == {"figures"}
    said = f"{changed['row']}, catalogue, {changed['metric']}: {key} is {changed[key]} in the manifest"
    assert said in wrong["figures"]


def test_other_changes_are_named_too(hub: LoopbackHub, pushed: Pushed) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["details"]["n_items"] += 1
        manifest["data"]["counts"]["users"] -= 1

    edited(pushed.repo_id, change)
    HfApi().upload_file(path_or_fileobj=b"PAR1", path_in_repo="users.parquet", repo_id=pushed.repo_id)
    wrong = failed(verify(pushed.repo_id))
    assert set(wrong) == {"files"}, "nothing else is looked at in files that are not those that were pushed"
    assert "users.parquet has 4 bytes" in wrong["files"]
    repaired = Path(HfApi().hf_hub_download(pushed.repo_id, "users.parquet", revision=pushed.revision))
    HfApi().upload_file(path_or_fileobj=repaired, path_in_repo="users.parquet", repo_id=pushed.repo_id)
    wrong = failed(verify(pushed.repo_id))
    assert set(wrong) == {"manifest", "tables"}
    assert "details.n_items: the manifest says 51, the files say 50" in wrong["manifest"]
    assert "data.counts: the manifest says" in wrong["tables"]


@pytest.mark.slow
def test_floors_are_fitted_again_where_they_are_asked_for(hub: LoopbackHub, run: Run, tmp_path: Path) -> None:
    from reclm_hf.pipeline.evaluate_stage import floor_rows
    from reclm_hf.pipeline.texts import encode_items
    from reclm_hf.recommender.text_encoder import TextEncoder

    vectors = encode_items(run.splits.data, TextEncoder())
    rows = floor_rows(run.splits, vectors, tmp_path / "floors")
    rows += seed_rows([trained("bias_mf", "standard", "none")], LABEL, run.splits.test)
    about = {"dataset": run.splits.data.name, "fingerprint": run.splits.fingerprint}
    write_report(tmp_path / "results", rows, [(LABEL, "popularity")], **about)
    push(run.data, f"{hub.namespace}/tables", progress=False)
    options = PushOptions(tables=f"{hub.namespace}/tables", results=str(tmp_path / "results"))
    found = push(run.model, f"{hub.namespace}/recommender", options, progress=False)
    assert isinstance(found, Pushed)
    kept: dict[str, Any] = {"floors": True, "cache": tmp_path / "kept"}
    assert failed(verify(found.repo_id, **kept)) == {}
    edited(found.repo_id, lambda manifest: manifest["figures"][0].update(value=0.5))
    assert set(failed(verify(found.repo_id))) == set(), "a floor's figure stands as it was pushed"
    assert "value is 0.5 in the manifest" in failed(verify(found.repo_id, **kept))["floors"]


def test_tables_are_certified_again(hub: LoopbackHub, run: Run, tmp_path: Path) -> None:
    profiles = write_profiles(run.splits, tmp_path / "profiles")
    repo_id = f"{hub.namespace}/with-profiles"
    push(run.data, repo_id, PushOptions(profiles=str(profiles)), progress=False)
    checks = verify(repo_id)
    assert failed(checks) == {}
    assert {check.name for check in checks if not check.skipped} == {"files", "card", "manifest"}
    folder = Path(HfApi().snapshot_download(repo_id, repo_type="dataset", allow_patterns=["manifest.json"]))
    manifest = read_manifest(folder)
    manifest["certificates"][0]["rows"] += 1
    manifest["data"]["counts"]["items"] = 7
    for name, text in (("manifest.json", json.dumps(manifest)), ("README.md", render_card(manifest))):
        HfApi().upload_file(path_or_fileobj=text.encode(), path_in_repo=name, repo_id=repo_id, repo_type="dataset")
    wrong = failed(verify(repo_id))
    assert set(wrong) == {"manifest"}
    assert "data.counts.items: the manifest says 7, the files say 50" in wrong["manifest"]
    assert "certificates[1].rows" in wrong["manifest"]


def test_an_adapter_must_load_on_the_base_that_it_names(hub: LoopbackHub, tmp_path: Path) -> None:
    base, adapter = f"{hub.namespace}/base", f"{hub.namespace}/adapter"
    push(save_base(tmp_path / "base"), base, PushOptions(kind="profiler"), progress=False)
    profiler(str(tmp_path / "base")).save_pretrained(tmp_path / "adapter")
    push(tmp_path / "adapter", adapter, PushOptions(base_model=base), progress=False)
    checks = verify(adapter)
    assert failed(checks) == {}
    assert {"model", "base model"} <= {check.name for check in checks}
    assert failed(verify(base)) == {}
    edited(adapter, lambda manifest: manifest["details"].update(rank=64))
    assert "details.rank: the manifest says 64, the files say 4" in failed(verify(adapter))["manifest"]
    HfApi().delete_file("generation_config.json", adapter)
    wrong = failed(verify(adapter))
    assert "generation_config.json" in wrong["files"]


def test_the_command_says_line_by_line_what_was_found(
    hub: LoopbackHub, pushed: Pushed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", pushed.repo_id]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("✓ passed")
    assert "files: 5 files have the sizes and hashes" in lines[0]
    assert lines[-1] == f"Next: reclm pull {pushed.repo_id}"
    edited(pushed.repo_id, lambda manifest: manifest["figures"][-1].update(n_users=7))
    assert main(["verify", pushed.repo_id, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] is False
    assert [check["name"] for check in found["checks"] if not check["passed"]] == ["figures"]
