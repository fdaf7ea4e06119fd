"""A run on the Hub, its Space on the Hub, fetched and started as the Hub would start it, and asked."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.hub.small_tables import USERS, write_data
from tests.hubserver.loopback import LoopbackHub
from tests.space.small_run import SHOWN, write_run

pytestmark = pytest.mark.slow


@contextmanager
def started(folder: Path, environment: dict[str, str], log: Path) -> Iterator[str]:
    """The address of `app.py` of a folder, run by a process of its own, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment |= {"GRADIO_SERVER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    with log.open("w") as output:
        command = [sys.executable, "app.py"]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            url, end = f"http://127.0.0.1:{port}", time.monotonic() + 180
            while True:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                try:
                    httpx.get(f"{url}/config").raise_for_status()
                    break
                except httpx.HTTPError:
                    time.sleep(0.3)
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def test_pushed_fetched_started_and_asked(remote_hub: LoopbackHub, tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    write_run(tmp_path / "run")
    environment = remote_hub.environment()
    name = f"{remote_hub.namespace}/show"
    reclm = [sys.executable, "-m", "reclm_hf.commands.main"]

    def run(*command: str) -> None:
        done = subprocess.run([*reclm, *command], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    run("push", str(tmp_path / "data"), f"{name}-tables", "--profiles", str(tmp_path / "run"))
    tables = ("--tables", f"{name}-tables")
    run("push", str(tmp_path / "run" / "models" / SHOWN / "model"), name, *tables, "--results", str(tmp_path / "run"))
    run("push", str(tmp_path / "run"), f"{name}-results", "--kind", "results", *tables)
    run("space", name, "--export", str(tmp_path / "space"))
    run("push", str(tmp_path / "space"), f"{remote_hub.namespace}/cold-start")
    run("pull", f"{remote_hub.namespace}/cold-start", "--output", str(tmp_path / "pulled"))
    # A second machine: nothing is in its cache.
    elsewhere = remote_hub.environment(home=tmp_path / "elsewhere")
    log = tmp_path / "log.txt"
    with started(tmp_path / "pulled", elsewhere, log) as url:
        answer: Any = _ask(url, "recommend_user", [USERS[0], 3])
        assert len(answer["listed"]) == 3
        assert answer["person"]["user_id"] == USERS[0]
        assert answer["person"]["profile"]
        again = _ask(url, "recommend_history", [[answer["person"]["history"][0][0]], "", 2])
        assert len(again["listed"]) == 2
        page = httpx.get(url).text
        assert f"{os.environ.get('HF_ENDPOINT', remote_hub.endpoint)}/{name}" in page.replace("\\u002F", "/")
    assert "Traceback" not in log.read_text().replace("KeyboardInterrupt", "")


def _ask(url: str, name: str, given: list[Any]) -> Any:
    """As Gradio's documentation does it with curl: post, then listen."""
    import json

    event = httpx.post(f"{url}/gradio_api/call/{name}", json={"data": given}).raise_for_status().json()["event_id"]
    said = httpx.get(f"{url}/gradio_api/call/{name}/{event}", timeout=60).text
    assert "event: complete" in said, said
    return json.loads(said.rpartition("data: ")[2])[0]
