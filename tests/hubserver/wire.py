"""Between the socket and the handlers: the log of requests, and connections that break."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from threading import Lock

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """A request that reached the server. `path` is as it came: quoted, without the query; `status` is 0 where the
    connection was broken before an answer."""

    method: str
    path: str
    status: int


@dataclass
class Break:
    """Connections to be broken: of the requests whose path contains `match`, those from `first` on, `times` in all."""

    first: int
    match: str
    times: int
    after: bool
    seen: int = 0

    def hits(self, path: str) -> bool:
        """Whether this request is one of them; counts it."""
        if self.match not in path:
            return False
        self.seen += 1
        return self.first <= self.seen < self.first + self.times


class Log:
    """What happened, for those who test; told and asked from different threads."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.breaks: list[Break] = []
        self._lock = Lock()

    def add(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)

    def clear(self) -> None:
        with self._lock:
            self.requests, self.breaks = [], []

    def breaking(self, path: str) -> Break | None:
        """Which break this request meets."""
        with self._lock:
            hit = [each for each in self.breaks if each.hits(path)]
        return hit[0] if hit else None


class Protocol(H11Protocol):
    """HTTP/1.1 whose connections an application can find by the address of the other side, to break them."""

    transports: dict[tuple[str, int], asyncio.Transport] = {}  # noqa: RUF012  one event loop, one table

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client is not None:
            self.transports[self.client] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.client is not None:
            self.transports.pop(self.client, None)
        super().connection_lost(exc)


class Wire:
    """The application around the application."""

    def __init__(self, app: ASGIApp, log: Log) -> None:
        self.app = app
        self.log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # Routes are found by the path as it came: once unquoted, the revision `dev%2Fx` would be two parts of it.
        path = scope["path"] = scope["raw_path"].decode("ascii")
        broken = self.log.breaking(path)
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if broken is not None:
                return
            if message["type"] == "http.response.start":
                # Before the answer is sent: who has it may look at the log.
                status = message["status"]
                self.log.add(Request(scope["method"], path, status))
            await send(message)

        try:
            if broken is None or broken.after:
                await self.app(scope, receive, watched)
        except Exception as error:
            logger.debug("%s %s: %r", scope["method"], path, error)  # told already, by `errors.answer_bug`
        if status == 0:
            self.log.add(Request(scope["method"], path, 0))
        if broken is not None:
            if not broken.after:
                await receive()  # the first piece of the body, where there is one: in the middle of it
            await _hang_up(scope, receive)


async def _hang_up(scope: Scope, receive: Receive) -> None:
    """Close the connection without an answer."""
    Protocol.transports[tuple(scope["client"])].abort()
    while (await receive())["type"] != "http.disconnect":
        pass
