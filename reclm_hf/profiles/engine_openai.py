"""Profiles from any server that speaks OpenAI's chat protocol: vLLM, TGI, `transformers serve`, OpenAI itself.

The model writes free text, which is parsed and, where it is a complete profile, rendered anew. Requests go out several
at a time; what fails for a passing reason is asked again.

Plain HTTP, with the library that huggingface_hub brings along. Its `InferenceClient` would send the Hub's token to
whatever server it is pointed at when no key is given, and refuses all servers under `HF_HUB_OFFLINE=1`, local ones too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import queue
import random
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from .chat_protocol import Chat, Meter, PassingError, Reply, ServerError, Stopped, endpoint, where
from .dialogues import persons_part
from .engines import GeneratedProfile, ProfileRequest
from .profile import parse, render

logger = logging.getLogger(__name__)

_TOKENS_AN_ITEM = 16
"""Twice what a forced slot gets: free text comes with labels, and often with a sentence before them."""

_LONGEST_BACKOFF = 30.0

# Chat models like to set the labels in bold or as headings.
_MARKDOWN = re.compile(r"\*\*|__|^\s*#+ ", re.MULTILINE)


class OpenAIEngine:
    """Profiles from a server with `/v1/chat/completions`.

    A reply that is no complete profile is asked for once more, as a draw; if that is none either, the first text is
    returned as it is. A server that is away, refuses or goes on failing ends the run: `ServerError` carries the
    profiles that were finished.

    Args:
        base_url: of the server, with or without `/v1`. model: its name on the server.
        api_key: None: the variable named by `api_key_env`, else RECLM_API_KEY, else, for OpenAI's own server only,
            OPENAI_API_KEY; a key is for one server and is not sent to others. A local server needs none.
        name: of the model in the profile table; None: `model`, without its folders where it is a path.
        concurrency: requests under way at a time.
        max_retries: of one request, after 408, 409, 425, 429, 5xx, a broken connection or a reply that is cut off.
        timeout: seconds for a reply.
        backoff: seconds before the first retry; doubled for each further one, half of it drawn at random.
        longest_wait: seconds. A server that asks for a longer pause (Retry-After) ends the run.
        temperature: of the first attempt. sampling_temperature: of requests with `sample` > 0, and of second attempts.
        max_tokens: of one reply; None: 32 for each identity that is asked for.
        price_in, price_out: of a million tokens read and written, in any currency, for `meter.cost`.
        options: further fields of the request's body; None as a value leaves one of ours out.

    Attributes:
        generator: names the model and where it is served, never the address of a local server, never the key.
        meter: requests, retries, tokens and cost so far.

    Raises:
        ValueError: an address that is none, or holds a password or a query; a key that no header can carry.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        api_key_env: str | None = None,
        name: str | None = None,
        concurrency: int = 8,
        max_retries: int = 6,
        timeout: float = 120.0,
        backoff: float = 1.0,
        longest_wait: float = 120.0,
        temperature: float = 0.0,
        sampling_temperature: float = 0.7,
        max_tokens: int | None = None,
        price_in: float | None = None,
        price_out: float | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if concurrency < 1 or max_retries < 0:
            raise ValueError("concurrency must be at least 1, max_retries at least 0")
        address = endpoint(base_url)
        key = api_key if api_key is not None else _key_from_environment(api_key_env, address)
        self.chat = Chat(address, key, timeout=timeout, connections=concurrency)
        self.model = model
        self.concurrency = concurrency
        self.max_retries = max_retries
        self.backoff = backoff
        self.longest_wait = longest_wait
        self.temperature = temperature
        self.sampling_temperature = sampling_temperature
        self.max_tokens = max_tokens
        self.options = dict(options or {})
        self.meter = Meter(price_in, price_out)
        shown = name or (model.rstrip("/").rpartition("/")[2] if model.startswith(("/", "~", ".")) else model)
        asked = f", at most {max_tokens} tokens" if max_tokens else ""
        asked += f", {json.dumps(self.options, sort_keys=True, default=str)}" if self.options else ""
        self.generator = f"{shown} via {where(address)}; free text, temperature {temperature:g}{asked}"
        self._seeded = True
        self._jitter = random.Random()

    def generate(self, requests: Sequence[ProfileRequest]) -> list[GeneratedProfile]:
        """One profile for every request, in order; see the class.

        Raises:
            ServerError: a request could not be answered. What was under way then is waited for, nothing more is asked.
        """
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        for row in range(len(requests)):
            waiting.put(row)
        answered: queue.SimpleQueue[tuple[int, GeneratedProfile | Exception]] = queue.SimpleQueue()
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                try:
                    row = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    answered.put((row, self._profile(requests[row], stop)))
                except Exception as error:  # whatever it is, the thread that waits for this row must hear of it
                    stop.set()
                    answered.put((row, error))

        # Daemons, unlike an executor's threads: an interrupted program does not wait for replies that nobody will read.
        workers = [threading.Thread(target=work, daemon=True) for _ in range(min(self.concurrency, len(requests)))]
        for worker in workers:
            worker.start()
        try:
            for worker in workers:
                worker.join()
        except BaseException:
            stop.set()
            raise
        return _collect(answered, len(requests))

    def _profile(self, request: ProfileRequest, stop: threading.Event) -> GeneratedProfile:
        first = self._ask(request, False, stop)
        text = _normalised(first, request)
        if text is not None:
            return GeneratedProfile(text, first.tokens_in, first.tokens_out)
        if stop.is_set():
            raise Stopped
        second = self._ask(request, True, stop)
        text = _normalised(second, request)
        tokens_in, tokens_out = first.tokens_in + second.tokens_in, first.tokens_out + second.tokens_out
        said = first.text.removeprefix(request.begin)
        return GeneratedProfile(said if text is None else text, tokens_in, tokens_out)

    def _ask(self, request: ProfileRequest, again: bool, stop: threading.Event) -> Reply:
        """The server's reply. Passing trouble is waited out, `max_retries` times."""
        for attempt in range(self.max_retries + 1):
            try:
                return self._post(request, again)
            except PassingError as error:
                trouble = error
            if attempt == self.max_retries or trouble.wait > self.longest_wait:
                break
            step = min(self.backoff * 2**attempt, _LONGEST_BACKOFF)
            if stop.wait(max(step * self._jitter.uniform(0.5, 1.0), trouble.wait)):
                raise Stopped
            self.meter.add(retries=1)
        if trouble.wait > self.longest_wait:
            way_out = f"It asks to wait {trouble.wait:.0f} seconds: run the same again then, or raise longest_wait"
        else:
            way_out = "See whether the server is up, and base_url and timeout are right, then run the same again"
        raise ServerError(
            f"{self.chat.address} did not answer the request for {request.key!r}, asked {attempt + 1} times: "
            f"{trouble}. {way_out}"
        )

    def _post(self, request: ProfileRequest, again: bool) -> Reply:
        body = self._body(request, again)
        self.meter.add(requests=1)
        try:
            reply = self.chat.post(body)
        except ServerError as error:
            if "seed" not in body or "seed" in self.options or "seed" not in error.said.casefold():
                raise ServerError(f"{error} (request for {request.key!r})") from None
            if self._seeded:
                logger.warning("%s takes no seed: drawn profiles will differ from run to run", self.chat.address)
            self._seeded = False
            return self._post(request, again)
        uncounted = 0 if reply.tokens_in else 1
        self.meter.add(tokens_in=reply.tokens_in, tokens_out=reply.tokens_out, uncounted=uncounted)
        if reply.model and reply.model not in self.meter.models:
            self.meter.models.add(reply.model)
            if not reply.model.startswith(self.model):
                logger.warning("asked for %s, %s answers as %s", self.model, self.chat.address, reply.model)
        return reply

    def _body(self, request: ProfileRequest, again: bool) -> dict[str, Any]:
        drawn = again or request.sample > 0
        temperature = self.sampling_temperature if drawn else self.temperature
        messages = [{"role": m["role"], "content": m["content"]} for m in (*request.examples, *request.messages)]
        body: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "max_tokens": self.max_tokens or 2 * _TOKENS_AN_ITEM * request.size,
            "temperature": temperature,
        }
        if temperature > 0 and self._seeded:
            body["seed"] = _seed(request, again)
        return {field: value for field, value in (body | self.options).items() if value is not None}


def _collect(
    answered: queue.SimpleQueue[tuple[int, GeneratedProfile | Exception]], count: int
) -> list[GeneratedProfile]:
    """The profiles in order.

    Raises:
        ServerError: with the finished ones, when the server failed. Any other exception of a worker as it is.
    """
    finished: dict[int, GeneratedProfile] = {}
    failures: list[Exception] = []
    while not answered.empty():
        row, outcome = answered.get()
        if isinstance(outcome, GeneratedProfile):
            finished[row] = outcome
        elif not isinstance(outcome, Stopped):
            failures.append(outcome)
    for failure in failures:
        if isinstance(failure, ServerError):
            failure.finished = finished
        raise failure
    return [finished[row] for row in range(count)]


def _normalised(reply: Reply, request: ProfileRequest) -> str | None:
    """The rendered profile, or None where the reply holds no complete one."""
    # Thoughts may hold drafts of a profile; what is cut off may end in half a word.
    text = _MARKDOWN.sub("", reply.text.rpartition("</think>")[2])
    text = text.rpartition(",")[0] if reply.cut_off else text
    if request.begin:  # models that were tuned on dialogues may go on about similar people
        text = persons_part(text)
    profile = parse(text, request.size)
    return render(profile) if profile.is_complete(request.size) else None


def _seed(request: ProfileRequest, again: bool) -> int:
    # 31 bits: some servers hand the seed to generators that take no more.
    digest = hashlib.sha256(f"{request.key}\x00{request.sample}\x00{again}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _key_from_environment(name: str | None, address: str) -> str | None:
    if name is not None:
        if not os.environ.get(name):
            raise ValueError(f"the environment variable {name}, which should hold the API key, is not set")
        return os.environ[name]
    own = os.environ.get("OPENAI_API_KEY") if where(address) == "api.openai.com" else None
    return os.environ.get("RECLM_API_KEY") or own
