"""Results staged as a repository: rows keep their figures and lose the places on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reclm_hf.data.folder import write_json
from reclm_hf.data.tables import read_parquet
from reclm_hf.evaluation.protocol import evaluate
from reclm_hf.evaluation.report import write_report
from reclm_hf.evaluation.rows import Row
from reclm_hf.hub.kinds import KINDS
from reclm_hf.hub.manifest import without_nan, write_manifest
from reclm_hf.hub.stage_tables import stage_results
from reclm_hf.hub.staging import PushOptions
from reclm_hf.report.extras import Extras
from reclm_hf.report.page import write_html
from reclm_hf.report.samples import Sample
from tests.checkerboard import checkerboard

REPO = "org/toy-results"


class Scores:
    """Scores by a rule, the same for all users."""

    def __init__(self, sign: int) -> None:
        self.sign = sign

    def score(self, users: Any, items: Any) -> Any:
        import numpy as np

        return np.tile(self.sign * items.astype(np.float32), (len(users), 1))


def report(folder: Path, label: str) -> pd.DataFrame:
    """A floor and a model called `label`, with its mean-user row, compared."""
    test = checkerboard()[0].test
    rows = [
        Row("popularity", "floor", [evaluate(Scores(-1), test)]),
        Row(label, "model", [evaluate(Scores(1), test)], backbone="bias_mf", preset="standard", profile_mode="none"),
        Row(f"{label} (mean user)", "mean_user", [evaluate(Scores(1), test)]),
    ]
    results, _ = write_report(
        folder, rows, [(label, "popularity")], dataset="toy", fingerprint="f" * 16, notes=[f"{label} is ours."]
    )
    return results


def stage(source: Path, place: Path, options: PushOptions | None = None) -> dict[str, Any]:
    place.mkdir()
    manifest = stage_results(source, place, REPO, options or PushOptions())
    write_manifest({**manifest, "files": {}}, place)  # what it says can be written and is valid
    return manifest


def test_tables_and_report_travel_as_they_are(tmp_path: Path) -> None:
    results = report(tmp_path / "run", "lightgcn-llm")
    manifest = stage(tmp_path / "run", tmp_path / "place")
    for name in ("results.parquet", "comparisons.parquet", "report.md", "report.svg"):
        assert (tmp_path / "place" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()
    configs = manifest["details"]["configs"]
    assert [(entry["config_name"], entry.get("default")) for entry in configs] == [
        ("results", True),
        ("comparisons", None),
    ]
    assert configs[0]["rows"] == len(results) == len(manifest["figures"])
    assert configs[0]["columns"]["value"] == "double"
    figure = manifest["figures"][0]
    row = results.iloc[0]
    assert (figure["row"], figure["metric"], figure["value"]) == (row["row"], row["metric"], row["value"])
    assert manifest["data"] == {"dataset": "toy", "fingerprint": "f" * 16, "cuts": {}, "counts": {}}
    assert manifest["test_opened"] == "by `reclm evaluate`, after training"
    assert sum(manifest["details"]["verdicts"].values()) == configs[1]["rows"]


def test_the_manifest_of_the_run_is_taken_over(tmp_path: Path) -> None:
    report(tmp_path / "run", "lightgcn-llm")
    record = {
        "reclm_hf": "0.1.0",
        "dataset": "toy",
        "fingerprint": "f" * 16,
        "cuts": {"test": 7},
        "options": {"seed": 4, "folder": "/home/somebody/run"},
        "versions": {"torch": "2.13"},
        "test_opened": "by the runner",
        "seconds": 12.5,
    }
    write_json(record, tmp_path / "run" / "manifest.json")
    commit = "a" * 40
    manifest = stage(tmp_path / "run", tmp_path / "place", PushOptions(tables=f"org/toy-tables@{commit}", title="Toy"))
    assert (manifest["seed"], manifest["settings"], manifest["cost"]) == (4, {"seed": 4}, {"seconds": 12.5})
    assert (manifest["data"]["cuts"], manifest["test_opened"]) == ({"test": 7}, "by the runner")
    assert [(entry["role"], entry["repo_id"], entry["revision"]) for entry in manifest["inputs"]] == [
        ("tables", "org/toy-tables", commit)
    ]
    assert manifest["title"] == "Toy"
    again = stage(tmp_path / "place", tmp_path / "again")  # as one that was pulled
    named = ("data", "test_opened", "settings", "inputs", "figures", "details")
    assert without_nan({name: again[name] for name in named}) == without_nan({name: manifest[name] for name in named})


def test_folders_become_names(tmp_path: Path) -> None:
    """`reclm evaluate` calls a row by the folder that it was given."""
    label = str(tmp_path / "runs" / "toy-lightgcn" / "model")
    Path(label).mkdir(parents=True)
    report(tmp_path / "run", label)
    manifest = stage(tmp_path / "run", tmp_path / "place")
    assert {figure["row"] for figure in manifest["figures"]} == {
        "popularity",
        "toy-lightgcn",
        "toy-lightgcn (mean user)",
    }
    results = read_parquet(tmp_path / "place" / "results.parquet")
    assert results["row"].tolist() == [figure["row"] for figure in manifest["figures"]]
    before = read_parquet(tmp_path / "run" / "results.parquet")
    pd.testing.assert_frame_equal(results.drop(columns="row"), before.drop(columns="row"))
    assert set(read_parquet(tmp_path / "place" / "comparisons.parquet")["a"]) == {"toy-lightgcn"}
    assert "toy-lightgcn is ours" in (tmp_path / "place" / "report.md").read_text()
    for name in ("report.md", "report.svg"):
        assert str(tmp_path) not in (tmp_path / "place" / name).read_text()
    assert str(tmp_path) not in json.dumps(manifest)


def test_the_page_travels_without_people_and_places(tmp_path: Path) -> None:
    """Profiles and ids of users stay in the run's folder: results are public unless asked otherwise."""
    label = str(tmp_path / "runs" / "toy & <lightgcn>" / "model")
    Path(label).mkdir(parents=True)
    report(tmp_path / "run", label)
    record = {"fingerprint": "f" * 16, "seconds": 12.5, "certificates": []}
    write_json(record, tmp_path / "run" / "manifest.json")
    sample = Sample("user-77", "User identity: somebody", ["A title"], 1, "a model", "2013-07-31")
    before = write_html(tmp_path / "run", Extras(samples=[sample]), strict=True).read_text(encoding="utf-8")
    assert "user-77" in before
    assert "runs/toy &amp;" in before
    stage(tmp_path / "run", tmp_path / "place")
    page = (tmp_path / "place" / "report.html").read_text(encoding="utf-8")
    for word in ("user-77", "somebody", "A title", str(tmp_path), "runs/toy", "could not be made"):
        assert word not in page
    assert "Sample profiles: left out where results are shared" in page
    assert '<td role="cell" data-label="seconds">12.5</td>' in page
    assert page.count("toy &amp; &lt;lightgcn&gt;") > 4
    assert KINDS["results"].allows("report.html")
    assert not KINDS["results"].allows("other.html")


def test_notes_and_published_figures_travel(tmp_path: Path) -> None:
    """Of `reclm reproduce`: the page says what `report.md` does, and what `report.md` refers to is there."""
    label = str(tmp_path / "runs" / 'toy "quoted"' / "model")
    Path(label).mkdir(parents=True)
    results = report(tmp_path / "run", label)
    first = results[(results["row"] == label) & (results["metric"] == "recall@20")].iloc[:1]
    told = {"seeds": 1, "low": 0.1, "high": 0.1, "paper": 0.0683, "authors_code": float("nan"), "ratio": 2.0}
    words = {"verdict": "above", "source": "a paper"}
    published = first[["row", "setting", "metric"]].assign(ours=first["value"], **told, **words)
    published.to_parquet(tmp_path / "run" / "published.parquet")
    (tmp_path / "run" / "published.md").write_text(f"| {label} | 0.0683 |")
    write_html(tmp_path / "run", strict=True)
    manifest = stage(tmp_path / "run", tmp_path / "place")
    place = tmp_path / "place"
    page = (place / "report.html").read_text(encoding="utf-8")
    assert "toy &#34;quoted&#34; is ours." in page
    assert 'data-label="paper">0.0683<' in page
    assert 'toy "quoted"' in (place / "published.md").read_text()
    assert str(tmp_path) not in page + "".join(path.read_text() for path in place.glob("*.[jm]*"))
    assert [entry["config_name"] for entry in manifest["details"]["configs"]] == ["results", "comparisons", "published"]
    assert all(KINDS["results"].allows(path.name) for path in place.iterdir())
    # Figures of another run stay behind.
    published.assign(ours=published["ours"] + 0.1).to_parquet(tmp_path / "run" / "published.parquet")
    stage(tmp_path / "run", tmp_path / "again")
    assert not list((tmp_path / "again").glob("published*"))


def test_what_another_run_left_does_not_travel(tmp_path: Path) -> None:
    report(tmp_path / "run", "lightgcn-llm")
    record = {"results_sha256": "0" * 64, "fingerprint": "f" * 16, "seconds": 12.5, "options": {"seed": 4}}
    write_json(record, tmp_path / "run" / "manifest.json")
    manifest = stage(tmp_path / "run", tmp_path / "place")
    assert (manifest["cost"], manifest["settings"], manifest["seed"]) == ({}, {}, None)


def test_two_rows_of_one_name_are_refused(tmp_path: Path) -> None:
    label = str(tmp_path / "runs" / "popularity" / "model")
    Path(label).mkdir(parents=True)
    report(tmp_path / "run", label)
    with pytest.raises(ValueError, match=r"two rows of results\.parquet would be called 'popularity'"):
        stage(tmp_path / "run", tmp_path / "place")


def test_another_table_is_refused(tmp_path: Path) -> None:
    results = report(tmp_path / "run", "x")
    for kept, lack in ((results.drop(columns="value"), "value"), (results.iloc[:0], "rows")):
        kept.to_parquet(tmp_path / "run" / "results.parquet")
        with pytest.raises(ValueError, match=f"no table of results, it lacks {lack}"):
            stage_results(tmp_path / "run", tmp_path / "place", REPO, PushOptions())
