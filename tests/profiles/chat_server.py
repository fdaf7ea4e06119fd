"""Servers that speak OpenAI's chat protocol over real HTTP: one in a process of its own that serves the tiny model,
`transformers serve` in another, and one inside the test that answers by a script, faults included.

The tiny model's own free text is noise. Under the name `tiny` the server therefore forces the slots, as servers with
guided decoding do: as many items as the last example's answer has. Under `tiny-free` it generates freely.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]


@dataclass
class Answer:
    """What a server says: a status, headers and a body, or a broken connection.

    `hang_up`: close without a word. `delay`: seconds before anything is sent. `missing`: bytes of the body that are
    announced and not sent.
    """

    body: Any = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    hang_up: bool = False
    delay: float = 0.0
    missing: int = 0


def completion(
    text: str, model: str = "tiny", usage: tuple[int, int] | None = (30, 12), finish: str = "stop"
) -> Answer:
    """A chat completion as servers send it; no `usage` for None."""
    body: dict[str, Any] = {
        "id": "chat-1",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
    }
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return Answer(body)


class ChatServer(ThreadingHTTPServer):
    """Answers every POST by `reply(body)`; keeps bodies and headers, and how many were under way at a time."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, reply: Callable[[dict[str, Any]], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply = reply
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.most_at_a_time = self.under_way = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no error of the server's."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ChatServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.headers.append(dict(self.headers))
            self.server.paths.append(self.path)
            self.server.under_way += 1
            self.server.most_at_a_time = max(self.server.most_at_a_time, self.server.under_way)
        try:
            answer = self.server.reply(body)
            threading.Event().wait(answer.delay)
        finally:
            with self.server.lock:
                self.server.under_way -= 1
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        if answer.hang_up:
            self.close_connection = True
            return
        content = (answer.body if isinstance(answer.body, str) else json.dumps(answer.body)).encode()
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) + answer.missing))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = self.close_connection or answer.missing > 0

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""


@contextmanager
def scripted(reply: Callable[[dict[str, Any]], Answer]) -> Iterator[ChatServer]:
    """A server inside this process, on a free port."""
    with ChatServer(reply) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.shutdown()


@contextmanager
def tiny_process(environment: Mapping[str, str]) -> Iterator[str]:
    """The tiny model served by a process of its own; its address."""
    command = [sys.executable, "-m", "tests.profiles.chat_server"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            assert url.startswith("http://"), "the server did not start"
            yield url
        finally:
            process.kill()


@contextmanager
def transformers_serve(
    folder: str, environment: Mapping[str, str], log: Path
) -> Iterator[tuple[str, subprocess.Popen]]:
    """`transformers serve` with the model of a folder, in its own process: its address, and the process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", folder, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--device", "cpu", "--dtype", "float32"]
    with log.open("w") as out, subprocess.Popen(command, env=dict(environment), stdout=out, stderr=out) as process:
        try:
            _wait_until_healthy(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}/v1", process
        finally:
            process.kill()


def _wait_until_healthy(url: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"the server did not start: {log.read_text()[-2000:]}")


class _TinyReplies:
    """Generates for real, one request at a time: what one is answered cannot depend on the others."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __call__(self, body: dict[str, Any]) -> Answer:
        write = {"tiny": self._forced, "tiny-free": self._free}.get(body["model"])
        if write is None:
            return Answer({"error": {"message": f"there is no model {body['model']}"}}, status=404)
        with self.lock:
            return write(body)

    def _forced(self, body: dict[str, Any]) -> Answer:
        from reclm_hf.profiles.engines import ProfileRequest
        from reclm_hf.profiles.profile import USER_ITEMS, parse

        *examples, last = body["messages"]
        size = len(parse(examples[-1]["content"]).identities) if examples else USER_ITEMS
        seed = body.get("seed")
        request = ProfileRequest(f"seed {seed}", tuple(examples), (last,), size, sample=0 if seed is None else 1)
        (result,) = _forced_engine().generate([request])
        return completion(result.text, usage=(result.tokens_in, result.tokens_out))

    def _free(self, body: dict[str, Any]) -> Answer:
        import torch

        from tests.profiles.tiny import tiny_model, tiny_tokenizer

        tokenizer = tiny_tokenizer()
        whole = tokenizer.apply_chat_template(body["messages"], tokenize=False, add_generation_prompt=True)
        ids = tokenizer(whole, return_tensors="pt", add_special_tokens=False)
        torch.manual_seed(body.get("seed", 0))
        drawn = {"do_sample": True, "temperature": body["temperature"]} if body["temperature"] else {"do_sample": False}
        out = tiny_model().generate(
            **ids, max_new_tokens=body["max_tokens"], pad_token_id=tokenizer.pad_token_id, **drawn
        )
        new = out[0, ids["input_ids"].shape[1] :]
        ended = bool(new[-1] == tokenizer.eos_token_id)
        usage = (ids["input_ids"].shape[1], len(new))
        text = tokenizer.decode(new, skip_special_tokens=True)
        return completion(text, "tiny-free", usage, "stop" if ended else "length")


@lru_cache
def _forced_engine() -> Any:
    from reclm_hf.profiles.engine_transformers import TransformersEngine
    from tests.profiles.tiny import tiny_model, tiny_tokenizer

    return TransformersEngine(tiny_model(), tiny_tokenizer(), "tiny", tokens_an_item=27)


def main() -> None:
    """Serve until stdin is closed, as it is when the tests are killed."""
    _forced_engine()
    with scripted(_TinyReplies()) as server:
        print(server.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
