"""`reclm space`: what it would load, what it starts, and one line for what it cannot."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from reclm_hf.commands import main as commands
from reclm_hf.commands.main import main
from reclm_hf.space.settings import Settings, write_settings
from tests.space.small_run import SHOWN, write_run


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "COMMANDS", tuple(dict.fromkeys((*commands.COMMANDS, "space"))))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder)
    return folder


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the page was started with; a stand-in for it that is ready at once."""
    calls: list[dict[str, Any]] = []

    def start(settings: Settings, host: str, port: int | None, *, ready: Callable[[str], None], **named: Any) -> str:
        calls.append({"settings": settings, "host": host, "port": port, **named})
        ready("http://127.0.0.1:7860/")
        return "http://127.0.0.1:7860/"

    monkeypatch.setattr(importlib.import_module("reclm_hf.space.app"), "start", start)
    return calls


def error_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["space", *words]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.startswith("reclm: error: ")
    assert found.err.count("\n") == 1
    return found.err


def test_a_dry_run_says_what_from_where(run: Path, capsys: pytest.CaptureFixture[str], started: list[Any]) -> None:
    assert main(["space", str(run), "--dry-run", "--profiler", "org/profiler"]) == 0
    lines = capsys.readouterr().out.splitlines()
    said = dict(line.split(maxsplit=1) for line in lines[1:-1])
    assert said["recommender"] == str(run / "models" / SHOWN / "model")
    assert (said["tables"], said["results"]) == (str(run), str(run))
    assert (said["profiler"], said["profiles"]) == ("org/profiler", "none")
    assert lines[-1] == "Next: the same command without --dry-run"
    assert started == []


def test_it_starts_the_page(run: Path, capsys: pytest.CaptureFixture[str], started: list[dict[str, Any]]) -> None:
    words = ["--port", "8123", "--host", "0.0.0.0", "--title", "Mine", "--tables", "org/tables"]
    assert main(["space", str(run), *words]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Mine: http://127.0.0.1:7860/\n")
    assert said.splitlines()[-1] == "Next: open http://127.0.0.1:7860/ in a browser; Ctrl-C ends it"
    (call,) = started
    assert (call["host"], call["port"], call["share"]) == ("0.0.0.0", 8123, False)
    assert call["settings"] == Settings(
        str(run / "models" / SHOWN / "model"), tables="org/tables", results=str(run), title="Mine"
    )


def test_json_is_one_object(run: Path, capsys: pytest.CaptureFixture[str], started: list[Any]) -> None:
    assert main(["space", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["url"] == "http://127.0.0.1:7860/"
    assert found["results"] == str(run)
    assert found["profiler"] is None


def test_the_folder_of_a_space(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[dict[str, Any]]
) -> None:
    monkeypatch.setenv("RECLM_SPACE_TITLE", "From outside")
    write_settings(Settings(str(run / "models" / SHOWN / "model"), tables=str(run)), tmp_path)
    assert main(["space", str(tmp_path)]) == 0
    assert (started[0]["settings"].tables, started[0]["settings"].title) == (str(run), "From outside")


def test_what_it_cannot_show(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "holds no recommender" in error_of(capsys, str(tmp_path))
    assert "neither a folder that is there nor a Hub id" in error_of(capsys, str(tmp_path / "nowhere"))
    assert "recommender is the folder" in error_of(capsys, str(run), "--export", str(tmp_path / "space"))
    assert "recommender is the folder" in error_of(capsys, str(run), "--export", str(tmp_path / "space"), "--dry-run")
    assert not (tmp_path / "space").exists()


def test_without_gradio(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "gradio" else find(name, *rest)
    )
    assert "pip install 'reclm-hf[space]'" in error_of(capsys, str(run))


def test_a_model_that_cannot_be_loaded(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page is there before the model is: the process ends nevertheless."""
    pytest.importorskip("gradio")
    model = tmp_path / "model"
    shutil.copytree(run / "models" / SHOWN / "model", model)
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert main(["space", str(model)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("reclm: error: ")
    assert [line for line in said if "Traceback" in line or "Error:" in line] == []


@pytest.mark.parametrize("loading", [True, False], ids=["while it loads", "while it serves"])
def test_it_ends_with_ctrl_c(run: Path, loading: bool) -> None:
    pytest.importorskip("gradio")
    command = [sys.executable, "-m", "reclm_hf.commands.main", "space", str(run), "--quiet"]
    quiet = {"HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False"}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # else what is read ahead with the first line is not in `out`
        env=os.environ | quiet,
        # A shell may have started these tests with SIGINT ignored, which the command would respect.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().decode().split()[-1]
            if not loading:
                body = {"data": ["user-03", 3]}
                event = httpx.post(f"{url}gradio_api/call/recommend_user", json=body).json()["event_id"]
                assert "event: " in httpx.get(f"{url}gradio_api/call/recommend_user/{event}", timeout=60).text
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert b"Keyboard" not in out
    assert err.decode().startswith("reclm: interrupted.")
    assert err.count(b"\n") == 2
