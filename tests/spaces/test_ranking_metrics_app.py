"""The Space of the metric, called over HTTP."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "spaces" / "ranking_metrics"
BAD = [
    (("[[", '[["b"]]', "2"), "Predictions: write for each user a list of ids"),
    (("[" * 100_000, '[["b"]]', "2"), "Predictions: write"),
    (('[["a"]]', '["b"]', "2"), "References: write for each user"),
    (('[["a"]]', "[[1]]", "2"), "References: write for each user"),
    (("[]", "[]", "2"), "Predictions: write"),
    (('[["a"]]', '[["b"]]', "two"), "k: write whole numbers"),
    (('[["a"]]', '[["b"]]', "0"), "at least 1"),
    (('[["a", "a"]]', '[["b"]]', "2"), "row 0"),
    (('[["a"], ["b"]]', '[["b"]]', "2"), "Mismatch"),
]


@pytest.fixture(scope="module")
def app() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ranking_metrics_app", FOLDER / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def client(app: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import evaluate
    from gradio_client import Client

    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("evaluate")
        patch.setattr(evaluate.config, "HF_MODULES_CACHE", folder / "modules")
        patch.setattr(evaluate.config, "HF_METRICS_CACHE", folder / "metrics")
        page = app.build()
        _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False, **app.appearance())
        yield Client(url, verbose=False)
        page.close()


def test_the_contract(client: Any) -> None:
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert list(named) == ["/compute"]
    assert [each["parameter_name"] for each in named["/compute"]["parameters"]] == ["predictions", "references", "k"]


def test_computes(client: Any, app: ModuleType) -> None:
    found = client.predict(*app.EXAMPLE, api_name="/compute")
    assert found["recall@2"] == 0.5
    assert set(found) == {"recall@2", "ndcg@2", "hit_rate@2", "recall@3", "ndcg@3", "hit_rate@3", "mrr"}
    assert found == client.predict('[["a", "b", "c"]]', '[["b", "x"]]', "2,3", api_name="/compute")


@pytest.mark.parametrize(("given", "said"), BAD, ids=range(len(BAD)))
def test_refusals_are_sentences(
    client: Any, capfd: pytest.CaptureFixture[str], given: tuple[str, str, str], said: str
) -> None:
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError) as caught:
        client.predict(*given, api_name="/compute")
    assert said in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err
