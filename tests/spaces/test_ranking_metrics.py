"""Our `evaluate` metric, loaded as others load it, against our own metrics and against ranx."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reclm_hf.evaluation.metrics import UNRANKED, metric_names, user_metrics

FOLDER = Path(__file__).parents[2] / "spaces" / "ranking_metrics"
KS = (1, 5, 20)


@pytest.fixture
def evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library, with its copies of scripts and its data in a folder of this test."""
    import evaluate

    monkeypatch.setattr(evaluate.config, "HF_MODULES_CACHE", tmp_path / "modules")
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", tmp_path / "metrics")
    monkeypatch.setattr(sys, "path", list(sys.path))  # it adds the folder of the copies
    for name in [name for name in sys.modules if name.split(".")[0] == "evaluate_modules"]:
        monkeypatch.delitem(sys.modules, name)
    return evaluate


@pytest.fixture
def metric(evaluate: Any) -> Any:
    return evaluate.load(str(FOLDER))


def lists(n_users: int = 30, n_items: int = 40, length: int = 25, seed: int = 3) -> tuple[list[Any], list[Any]]:
    """Lists that do not hold all items, and relevant items that some of them miss altogether."""
    rng = np.random.default_rng(seed)
    ranked = [[f"i{item}" for item in rng.permutation(n_items)[:length]] for _ in range(n_users)]
    relevant = [[f"i{item}" for item in rng.permutation(n_items)[: rng.integers(1, 9)]] for _ in range(n_users)]
    return ranked, relevant


def test_the_example_of_its_description(metric: Any) -> None:
    found = metric.compute(predictions=[["a", "b", "c"]], references=[["b", "x"]], k=[2])
    assert found == {"recall@2": 0.5, "ndcg@2": 0.38685280723454163, "hit_rate@2": 1.0, "mrr": 0.5}
    assert str(found) in metric.inputs_description
    assert str(found) in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_equal_to_our_own(metric: Any) -> None:
    ranked, relevant = lists()
    pairs = [(user, item) for user, items in enumerate(relevant) for item in items]
    rank = [ranked[user].index(item) if item in ranked[user] else UNRANKED for user, item in pairs]
    group = np.array([user for user, _ in pairs])
    ours = {name: values.mean() for name, values in user_metrics(np.array(rank), group, len(ranked), KS).items()}
    found = metric.compute(predictions=ranked, references=relevant, k=list(KS))
    assert list(found) == metric_names(KS)
    assert found == pytest.approx(ours, abs=1e-6)
    assert 0 < found["recall@5"] < found["recall@20"] < 1


def test_equal_to_ranx(metric: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # ranx compiles for half a minute; as plain Python the same functions take milliseconds on lists this small.
    monkeypatch.setattr(pytest.importorskip("numba").config, "DISABLE_JIT", 1)
    ranx = pytest.importorskip("ranx")
    ranked, relevant = lists(seed=4)
    run = {f"u{user}": {item: -float(place) for place, item in enumerate(items)} for user, items in enumerate(ranked)}
    truth = {f"u{user}": dict.fromkeys(items, 1) for user, items in enumerate(relevant)}
    theirs = ranx.evaluate(ranx.Qrels(truth), ranx.Run(run), metric_names(KS))
    found = metric.compute(predictions=ranked, references=relevant, k=list(KS))
    assert found == pytest.approx({name: float(value) for name, value in theirs.items()}, abs=1e-6)


def test_one_cut_off_short_lists_and_batches(metric: Any) -> None:
    assert list(metric.compute(predictions=[["a"]], references=[["a"]], k=3)) == [*metric_names([3])]
    assert list(metric.compute(predictions=[["a"]], references=[["a"]])) == metric_names((20, 40))
    nothing = metric.compute(predictions=[[], ["b"]], references=[["a"], ["a", "a"]], k=[1])
    assert set(nothing.values()) == {0.0}
    for user in (["a", "b"], ["b", "a"]):
        metric.add(predictions=user, references=["a", "a"])
    assert metric.compute(k=[1]) == {"recall@1": 0.5, "ndcg@1": 0.5, "hit_rate@1": 0.5, "mrr": 0.75}


@pytest.mark.parametrize(
    ("predictions", "references", "k", "message"),
    [
        ([["a"], ["a"]], [["a"], []], [1], "references: row 1 is empty"),
        ([["a", "a"]], [["a"]], [1], "predictions: row 0 recommends an item twice"),
        ([["a"]], [["a"]], [0], "cut-offs of at least 1"),
        ([["a"]], [["a"]], [], "cut-offs"),
        ([["a"]], [["a"]], [5, 5], "cut-offs"),
    ],
)
def test_what_has_no_answer_is_an_error(metric: Any, predictions: Any, references: Any, k: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric.compute(predictions=predictions, references=references, k=k)


def test_it_stands_by_itself() -> None:
    """The one file is copied to where the package is not installed; its requirements name all that it imports."""
    tree = ast.parse((FOLDER / "ranking_metrics.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    assert all(len(node.names) == 1 for node in imports), "evaluate reads one import a line"
    named = {node.names[0].name for node in imports}
    required = (FOLDER / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert named == {line.split(">")[0] for line in required}


def test_the_app_computes_and_needs_gradio_only_to_be_shown(evaluate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setitem(sys.modules, "gradio", None)
    spec = importlib.util.spec_from_file_location("metric_app", FOLDER / "app.py")
    assert spec is not None
    assert spec.loader is not None
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    assert app.compute(*app.EXAMPLE)["recall@2"] == 0.5
    with pytest.raises(ImportError):
        app.build()


def test_loaded_from_the_hub(hub: Any, tmp_path: Path) -> None:
    """By repository id, over HTTP, from the Space that it is pushed to; and from a folder that it is pulled to."""
    import evaluate

    from reclm_hf.hub.publish import push
    from reclm_hf.hub.pull import pull

    repo_id = f"{hub.namespace}/ranking_metrics"
    push(FOLDER, repo_id, progress=False)
    pulled = pull(repo_id, tmp_path / "ranking_metrics")
    ranked, relevant = lists()
    expected = None
    for place in (str(FOLDER), repo_id, str(pulled)):
        found = evaluate.load(place).compute(predictions=ranked, references=relevant, k=list(KS))
        assert found == (expected or found)
        expected = found
    assert any("ranking_metrics.py" in request.path for request in hub.requests if request.method == "GET")
