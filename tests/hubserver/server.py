"""The Hub as a running server: two free ports of this machine, one thread, one event loop."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from pathlib import Path
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from tests.hubserver.app import hub_app, storage_app
from tests.hubserver.state import State
from tests.hubserver.storage import Storage
from tests.hubserver.wire import Log, Protocol, Wire

HOST = "127.0.0.1"
KEPT_ALIVE = 60  # seconds: longer than any client keeps a connection, so that it is never closed under a request


class HubServer:
    """A Hub with its files under `root`, running between `with` and its end."""

    def __init__(self, root: Path) -> None:
        self._sockets = [_free_port(), _free_port()]
        endpoint, cdn = (f"http://{HOST}:{each.getsockname()[1]}" for each in self._sockets)
        self.state = State(Storage(root), endpoint, cdn)
        self.log = Log()
        self._servers = [self._server(app(self.state)) for app in (hub_app, storage_app)]
        self._thread = threading.Thread(target=self._run, name="hub", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + 30
        while not all(server.started for server in self._servers):
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the test Hub did not start")
            time.sleep(0.005)
        return self

    def __exit__(self, *error: object) -> None:
        for server in self._servers:
            server.should_exit = server.force_exit = True
        self._thread.join(10)

    def _server(self, app: ASGIApp) -> uvicorn.Server:
        config = uvicorn.Config(
            Wire(app, self.log),
            http=Protocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEPT_ALIVE,
        )
        return uvicorn.Server(config)

    def _run(self) -> None:
        async def both() -> None:
            pairs = zip(self._servers, self._sockets, strict=True)
            await asyncio.gather(*(server.serve([each]) for server, each in pairs))

        asyncio.run(both())


def _free_port() -> socket.socket:
    # By its number: asyncio sends small answers at once (TCP_NODELAY) only where the protocol is named.
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((HOST, 0))
    return found
