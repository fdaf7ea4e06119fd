"""The demo from end to end, on the checkerboard: every file, every row, every seed; a second run trains nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reclm_hf.baselines import FLOORS
from reclm_hf.data.folder import file_sha256
from reclm_hf.data.splits import Split, Splits
from reclm_hf.pipeline import demo, model_stage, runs
from reclm_hf.pipeline.comparison import DemoPlan
from reclm_hf.pipeline.demo import DemoOptions, run_demo
from reclm_hf.recommender import text_encoder
from tests.checkerboard import checkerboard
from tests.recommender.models import OPTIONS, profiles

QUICK = type(OPTIONS)(batch_size=256, learning_rate=1e-2, max_epochs=2, evaluate_every=1, n_blocks=6)


class KnownVectors:
    """An encoder that knows the checkerboard's vectors, and one for each parity in a profile."""

    model_id, revision, max_length, dimension = "checkerboard", None, 8, 16

    def encode(self, texts: list[str]) -> np.ndarray:
        _, vectors = checkerboard()
        known = {f"{'alpha' if item % 2 == 0 else 'beta'} story number {item:03d}": item for item in range(50)}
        return np.stack([vectors[known[text]] if text in known else profiles()[int(text[-2:])] for text in texts])


def table(split: Split) -> pd.DataFrame:
    ids = split.user_ids.tolist()
    lists = [[] for _ in ids]
    firsts = [split.item_ids[split.history_item[split.history_user == row][0]] for row in range(len(ids))]
    return pd.DataFrame(
        {
            "user_id": ids,
            "profile": [f"User identity: fan; User interests: things of {user}" for user in ids],
            "identities": lists,
            "interests": lists,
            "evidence": [[item] for item in firsts],
            "neighbors": lists,
            "as_of": pd.Timestamp(split.cut or 0, unit="us", tz="UTC"),
            "generator": "test",
            "prompt_version": "test-1",
            "input_hash": [f"hash of {user}" for user in ids],
            "format_score": 1.0,
            "tokens_in": 1,
            "tokens_out": 1,
        }
    )


@pytest.fixture
def splits(monkeypatch: pytest.MonkeyPatch) -> Splits:
    """The demo's inputs replaced by small ones; everything after them is the real thing."""
    found, _ = checkerboard()
    monkeypatch.setattr(demo, "bundled_splits", lambda _: found)
    monkeypatch.setattr(demo, "bundled_profiles", lambda _, name: table(getattr(found, name)))
    monkeypatch.setattr(demo, "_live_profiles", lambda *_: table(found.test).head(3))
    monkeypatch.setattr(text_encoder, "TextEncoder", KnownVectors)
    monkeypatch.setattr(runs, "trainer_options", lambda spec, threads: replace(QUICK, seed=spec.seed, threads=threads))
    plan = DemoPlan(("ncf", "lightgcn"), (4, 5))
    monkeypatch.setattr(DemoPlan, "everything", classmethod(lambda cls, seed=0: plan))
    return found


@pytest.mark.usefixtures("splits", "brief_floors")
def test_the_demo_writes_everything_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    options = DemoOptions(folder=tmp_path, seed=4, everything=True)
    result = run_demo(options, said.append)
    results = pd.read_parquet(result["results"])
    rows = set(results["row"])
    plan = options.plan
    assert rows >= {*FLOORS, *plan.by_row()}
    assert {f"{name}-floor_residual-llm (mean user)" for name in plan.backbones} <= rows
    assert set(results[results["kind"] == "model"]["n_seeds"]) == {2}
    for name in ("results", "comparisons", "beyond", "strata"):
        assert len(pd.read_parquet(tmp_path / f"{name}.parquet")), name
    comparisons = pd.read_parquet(tmp_path / "comparisons.parquet")
    assert set(comparisons["family"]) == set(plan.pairs())
    assert (tmp_path / "report.svg").is_file()
    page = Path(result["page"]).read_text(encoding="utf-8")
    assert "could not be made" not in page
    assert "not kept by this run" not in page
    assert "things of" in page  # a sample profile
    assert f"Of {plan.shown.label}: principal components" in page
    assert "the last call of the command" in page
    assert "no profile and no parameters for one" in page  # a note
    written = json.loads((tmp_path / "manifest.json").read_text())
    assert written["results_sha256"] == file_sha256(tmp_path / "results.parquet")
    assert any("3 of these 3 equal" in line for line in said)
    assert (Path(result["model"]) / "config.json").is_file()

    monkeypatch.setattr(model_stage, "choose_epochs", lambda *_, **__: pytest.fail("everything is trained already"))
    run_demo(options, said.append)
    again = pd.read_parquet(result["results"])
    pd.testing.assert_frame_equal(again.drop(columns="seconds"), results.drop(columns="seconds"))
    trained = again[again["kind"] == "model"]["seconds"].to_numpy()
    np.testing.assert_allclose(trained, results[results["kind"] == "model"]["seconds"], atol=1.0)
