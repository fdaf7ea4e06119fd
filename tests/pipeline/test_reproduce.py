"""`reclm reproduce` on a release of the authors' form, small enough to train: what it writes, and that it goes on."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import pandas as pd
import pytest

from reclm_hf.commands.main import main
from reclm_hf.data.tables import read_parquet
from reclm_hf.pipeline import model_stage, reproduce
from reclm_hf.pipeline.published import (
    ABOVE,
    BELOW,
    COLUMNS,
    PAPER,
    SINGLE,
    STRANGE,
    UNKNOWN,
    WITHIN,
    known,
    published_lines,
    published_markdown,
    verdict,
)
from tests.data.trainable_release import USERS, Encoder, write_trainable


@pytest.fixture(autouse=True)
def _encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reclm_hf.recommender.text_encoder.TextEncoder", Encoder)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A folder of the release."""
    return write_trainable(tmp_path / "mind")


@pytest.fixture
def called_mind(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The release has the counts by which MIND is known."""
    monkeypatch.setattr(reproduce, "MIND", reproduce._counts(reproduce.load_release(release)[0].data))


@pytest.mark.usefixtures("called_mind")
def test_the_table_the_report_and_a_second_run(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    profiles, output = tmp_path / "profiles.csv", tmp_path / "out"
    written = [f"User identity: reader; User interests: {('even', 'odd')[user % 2]}" for user in range(USERS - 1)]
    pd.DataFrame({"user_id": range(USERS - 1), "profile": written}).to_csv(profiles, index=False)
    command = ["reproduce", str(release), "--backbones", "bias_mf", "lightgcn", "--seeds", "2", "--epochs", "2"]
    command += ["--profiles", str(profiles), "--output", str(output), "--json"]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "profiles of 39 of 40 users" in printed.err
    found = json.loads(printed.out)
    table = read_parquet(output / "published.parquet")
    assert list(table.columns) == list(COLUMNS)
    assert set(table["row"]) == {
        f"{name}-reference-{mode}" for name in ("bias_mf", "lightgcn") for mode in ("none", "llm")
    }
    assert len(table) == len(found["rows"]) == 4 * 2 * 2
    assert (table["seeds"] == 2).all()
    assert table["paper"].notna().all()
    assert table["ratio"].to_numpy() == pytest.approx((table["ours"] / table["paper"]).to_numpy())
    _figures_are_those_of_the_report(table, read_parquet(output / "results.parquet"))

    comparisons = read_parquet(output / "comparisons.parquet")
    assert set(comparisons["family"]) == {"augmented against base", "against the mean user", "against popularity"}
    kinds = read_parquet(output / "results.parquet").groupby("kind")["row"].nunique()
    assert kinds["model"] == kinds["mean_user"] == 4
    assert kinds["floor"] >= 6
    text = (output / "published.md").read_text()
    assert all(figure in text for figure in ("0.0683", "0.0719", "0.0705", PAPER))
    report = " ".join((output / "report.md").read_text().split())
    assert "no leak certificate" in report
    assert "profiles of 39 of 40 users" in report
    assert "nothing was chosen" in json.loads((output / "manifest.json").read_text())["test_opened"]
    assert "<svg" in Path(found["page"]).read_text()

    monkeypatch.setattr(model_stage, "fit", lambda *_, **__: pytest.fail("what is finished must not be trained again"))
    assert main(command) == 0
    pd.testing.assert_frame_equal(read_parquet(output / "published.parquet"), table)
    assert main([*command[:-1], "--epochs", "3"]) == 2
    assert "holds a run with other epochs" in capsys.readouterr().err


def _figures_are_those_of_the_report(table: pd.DataFrame, results: pd.DataFrame) -> None:
    """The mean over seeds is what the results say; nothing was computed twice and differently."""
    ours = table[table["metric"] == "recall@20"].set_index(["row", "setting"])["ours"]
    told = results[(results["metric"] == "recall@20") & (results["kind"] == "model")].set_index(["row", "setting"])
    for place, value in ours.items():
        assert value == pytest.approx(told.loc[place, "value"], abs=1e-12)


def test_exactly_the_epochs_asked_for_are_trained(release: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert main(["reproduce", str(release), "--backbones", "bias_mf", "--seeds", "1", "--epochs", "3", "--quiet",
                 "--output", str(output)]) == 0  # fmt: skip
    record = json.loads((output / "models" / "bias_mf-reference-none" / "choice.json").read_text())
    assert [entry["epoch"] for entry in record["history"]] == [1, 2, 3]
    assert all(math.isfinite(entry["loss"]) and "value" not in entry for entry in record["history"])
    table = read_parquet(output / "published.parquet")
    assert table[["paper", "authors_code", "ratio"]].isna().all(axis=None), "40 users are not the paper's data"
    assert set(table["verdict"]) == {UNKNOWN}
    assert STRANGE in (output / "published.md").read_text()
    assert STRANGE in " ".join((output / "report.md").read_text().split())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"user_id": ["0", "0"], "profile": ["a", "b"]}, "user '0' stands there twice"),
        ({"user_id": ["0"], "text": ["a"]}, "profile"),
        ({"user_id": ["99"], "profile": ["User identity: a; User interests: b"]}, "not in the data"),
        ({"user_id": ["0", "1"], "profile": ["User identity: a; User interests: b", " "]}, "no profile in row 2"),
        ({"user_id": ["0", "1"], "profile": ["", "User identity: a; User interests: b"]}, "no profile in row 1"),
    ],
    ids=["twice", "no column", "unknown", "blank", "empty"],
)
def test_profiles_that_cannot_be_used_are_refused_before_training(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: dict[str, list[str]], message: str
) -> None:
    pd.DataFrame(rows).to_csv(tmp_path / "p.csv", index=False)
    output = tmp_path / "out"
    assert main(["reproduce", str(release), "--profiles", str(tmp_path / "p.csv"), "--output", str(output)]) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_figures_have_their_place_and_their_source() -> None:
    assert known("bias_mf", "base", "test_items", "recall@20") == (0.0683, 0.0705)
    assert known("simgcl", "augmented", "zero_shot", "ndcg@20").paper == 0.0098
    augmented = known("lightgcn", "augmented", "test_items", "recall@20")
    assert augmented.paper == 0.0788
    assert math.isnan(augmented.authors_code)
    assert augmented.source == PAPER


def test_verdicts() -> None:
    assert verdict([0.05, 0.07], 0.06) == WITHIN
    assert verdict([0.05, 0.07], 0.04) == ABOVE
    assert verdict([0.05, 0.07], 0.08) == BELOW
    assert verdict([0.05], 0.08) == SINGLE
    assert verdict([0.05], math.nan) == verdict([math.nan], 0.05) == UNKNOWN


def test_the_benchmark_mixes_no_runs_of_other_epochs(repository: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("mind", repository / "training" / "benchmarks" / "mind_reference.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    done = tmp_path / "bias_mf-0.json"
    assert not script._is_there(done, 50)
    done.write_text(json.dumps({"curve": [], "epochs": 50}))
    assert script._is_there(done, 50)
    with pytest.raises(ValueError, match="holds 50 epochs, not 20"):
        script._is_there(done, 20)


def test_data_of_another_protocol_get_no_figures_beside_them() -> None:
    columns = {name: "" if kind == "string" else math.nan for name, kind in COLUMNS.items()}
    line = columns | {"row": "ours", "setting": "zero_shot", "metric": "recall@20", "ours": 0.01, "seeds": 1}
    table = pd.DataFrame([line | {"verdict": UNKNOWN}])
    assert published_lines(table)[1].split() == ["ours", "new", "recall@20", "0.0100", "-", "-", "-", *UNKNOWN.split()]
    assert PAPER not in published_markdown(table)
