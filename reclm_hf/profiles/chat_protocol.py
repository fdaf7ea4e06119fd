"""One chat completion over HTTP: what is sent, what comes back, what went wrong, and what it cost."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib import import_module, util
from typing import Any
from urllib.parse import urlsplit

from .engines import GeneratedProfile, UnfinishedError

PASSING = {408, 409, 425, 429}
"""Statuses that may be gone in a moment, beside all from 500 on."""

_CONNECT_SECONDS = 10.0
_SHOWN_CHARACTERS = 300


class ServerError(UnfinishedError, OSError):
    """A server could not be used any further. The message names it, what it said, and the way out.

    Attributes:
        finished: position of a request -> its profile, for those that were finished before.
    """

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said
        self.finished: dict[int, GeneratedProfile] = {}


class PassingError(Exception):
    """Trouble that may pass; `wait` seconds are what the server asked for, 0 where it named none."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


class Stopped(Exception):
    """A request that was given up because another one had failed."""


@dataclass(frozen=True)
class Reply:
    """A model's text. `cut_off`: the token limit ended it. Tokens are 0 where the server does not count them."""

    text: str
    cut_off: bool
    tokens_in: int
    tokens_out: int
    model: str


@dataclass
class Meter:
    """What the requests of an engine came to. Prices are for a million tokens.

    Attributes:
        requests: sent, repeated ones included. retries: those of them that repeated one that had failed.
        uncounted: replies whose tokens the server did not count; they are missing in tokens and cost.
        models: the names under which the server answered.
    """

    price_in: float | None = None
    price_out: float | None = None
    requests: int = 0
    retries: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    uncounted: int = 0
    models: set[str] = field(default_factory=set)
    _lock: Any = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(
        self, *, requests: int = 0, retries: int = 0, tokens_in: int = 0, tokens_out: int = 0, uncounted: int = 0
    ) -> None:
        """Count, from any thread."""
        with self._lock:
            self.requests += requests
            self.retries += retries
            self.tokens_in += tokens_in
            self.tokens_out += tokens_out
            self.uncounted += uncounted

    @property
    def cost(self) -> float | None:
        """In the currency of the prices; None where one is not known."""
        if self.price_in is None or self.price_out is None:
            return None
        return (self.tokens_in * self.price_in + self.tokens_out * self.price_out) / 1e6

    def __str__(self) -> str:
        parts = [f"{self.requests:,} requests ({self.retries:,} repeated)"]
        parts += [f"{self.tokens_in:,} tokens in", f"{self.tokens_out:,} out"]
        if self.uncounted:
            parts.append(f"{self.uncounted:,} replies not counted by the server")
        if self.cost is not None:
            parts.append(f"cost {self.cost:.4f}")
        return ", ".join(parts)


class Chat:
    """The endpoint for chat completions of one server.

    Args:
        address: the whole address of the endpoint, see `endpoint`.
        key: sent as a bearer token; kept in the connection's headers alone.
        timeout: seconds for a reply. connections: open at a time.

    Raises:
        ValueError: a key that no header can carry; the message does not repeat it.
    """

    def __init__(self, address: str, key: str | None, *, timeout: float, connections: int) -> None:
        self.address = address
        self._http = _http_library()
        key = (key or "").strip()
        if any(not "!" <= letter <= "~" for letter in key):
            raise ValueError("the API key holds a space, a line break or a character beyond ASCII: it is not a key")
        self._client = self._http.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=self._http.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS), pool=None),
            limits=self._http.Limits(max_connections=connections, max_keepalive_connections=connections),
            follow_redirects=False,
        )

    def post(self, body: Mapping[str, Any]) -> Reply:
        """Ask once.

        Raises:
            PassingError: no reply, a broken one, or a status that may pass.
            ServerError: the server refused, or answered with something else than a chat completion.
        """
        try:
            answer = self._client.post(self.address, json=dict(body))
        except self._http.TimeoutException as error:
            raise PassingError(f"no reply in time ({type(error).__name__})") from None
        except self._http.HTTPError as error:
            raise PassingError(f"{type(error).__name__}: {error}") from None
        if answer.status_code == 200:
            try:
                return _read(answer.json())
            except ValueError:
                raise PassingError("the reply is no JSON, or was cut off") from None
            except (KeyError, IndexError, TypeError, AttributeError):
                raise PassingError(f"the reply holds no completion: {self._words(answer)}") from None
        said = self._words(answer)
        shown = f"status {answer.status_code}" + (f", {said}" if said else "")
        passing = answer.status_code in PASSING or answer.status_code >= 500
        if passing and "insufficient_quota" not in answer.text:
            raise PassingError(shown, _retry_after(answer.headers.get("Retry-After")))
        raise ServerError(f"{self.address} refused: {shown}. {_way_out(answer.status_code)}", said)

    def _words(self, answer: Any) -> str:
        """What the server said of an error, in one line and without the key, which some servers repeat."""
        try:
            found = answer.json()
            for name in ("error", "message", "detail"):
                found = found.get(name, found) if isinstance(found, dict) else found
            text = str(found)
        except ValueError:
            text = str(answer.text)
        key = self._client.headers.get("Authorization", "").removeprefix("Bearer ")
        text = " ".join((text.replace(key, "[key]") if key else text).split())
        return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def endpoint(base_url: str) -> str:
    """The address of the chat completions of a server: `http://host:8000`, `.../v1` and the whole address all do.

    Raises:
        ValueError: no http(s) address, or one with a password or a query, which would end up in messages.
    """
    shown = base_url.rpartition("@")[2]
    try:
        parts = urlsplit(base_url.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of urlsplit, and of a port that is no number
        usable = False
    if not usable:
        raise ValueError(f"base_url must be an address like http://127.0.0.1:8000/v1, not {shown!r}")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError(
            f"base_url must be an address alone; give the key of {parts.hostname} by api_key or by the environment "
            f"variable RECLM_API_KEY"
        )
    path = parts.path.rstrip("/").removesuffix("/chat/completions") or "/v1"
    return f"{parts.scheme}://{parts.netloc}{path}/chat/completions"


def where(address: str) -> str:
    """The host of a public address; for one of a private network only that it is local."""
    host = urlsplit(address).hostname or ""
    try:
        private = ipaddress.ip_address(host).is_private
    except ValueError:
        private = "." not in host or host.endswith((".local", ".internal", ".localhost"))
    return "a local server" if private else host


def _read(found: Any) -> Reply:
    choice = found["choices"][0]
    usage = found.get("usage") or {}
    return Reply(
        text=(choice["message"].get("content") or "").strip(),
        cut_off=choice.get("finish_reason") == "length",
        tokens_in=int(usage.get("prompt_tokens") or 0),
        tokens_out=int(usage.get("completion_tokens") or 0),
        model=str(found.get("model") or ""),
    )


def _retry_after(value: str | None) -> float:
    """Seconds of a Retry-After header, which holds a number or a date; 0 without one or where it is neither."""
    if not value:
        return 0.0
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _way_out(status: int) -> str:
    if status in (401, 403):
        return "Set the key in RECLM_API_KEY, or name its variable with api_key_env"
    if status == 404:
        return "Look at base_url, and at the model's name in the list that the server gives under /v1/models"
    if status == 429:
        return "The account has nothing left to spend: top it up, then run the same again"
    if 300 <= status < 400:
        return "Give the address that it sends on to as base_url"
    return "`options` changes or leaves out fields of what is sent"


def _http_library() -> Any:
    # huggingface_hub asks for httpx2 since its version 2, for httpx before; the interface is the same.
    return import_module("httpx2" if util.find_spec("httpx2") else "httpx")
