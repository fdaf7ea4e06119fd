"""Plain HTTP, without any library of the Hub: each answer as it stands on the wire."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from typing import Any
from urllib.parse import urlsplit

from tests.hubserver.loopback import LoopbackHub


@dataclass(frozen=True)
class Answer:
    """An answer; no redirect has been followed."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """What the clients tell refusals by."""
        return self.headers["X-Error-Code"]


def call(url: str, method: str = "GET", body: object = None, headers: dict[str, str] | None = None) -> Answer:
    """One request. A body that is neither bytes nor text is sent as JSON."""
    parts = urlsplit(url)
    sent = dict(headers or {})
    if body is not None and not isinstance(body, (bytes, str)):
        body, sent["Content-Type"] = json.dumps(body), "application/json"
    connection = HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    try:
        connection.request(method, f"{parts.path}?{parts.query}".removesuffix("?"), body, sent)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


class Raw:
    """Requests to the Hub of a test, and one repository `ID` = namespace/name of its owner."""

    def __init__(self, hub: LoopbackHub, name: str = "repo", kind: str = "models", **options: object) -> None:
        self.hub = hub
        self.kind = kind
        self.id = f"{hub.namespace}/{name}"
        body = {"name": name, "organization": hub.namespace, "type": kind[:-1], **options}
        assert self("POST", "/api/repos/create", body).status == 200

    def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = "",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """A request as the owner, as the user of `token`, or as nobody (None). `ID` in the path is the repository,
        `API` its address in the API."""
        prefix = "" if self.kind == "models" else f"{self.kind}/"
        path = path.replace("API", f"/api/{self.kind}/{self.id}").replace("ID", prefix + self.id)
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token or self.hub.token}"
        return call(self.hub.endpoint + path, method, body, sent)

    def commit(self, *lines: dict[str, Any], token: str | None = "", branch: str = "main", **header: str) -> Answer:
        """A commit of the given lines."""
        start = {"key": "header", "value": {"summary": "change", "description": "", **header}}
        body = "\n".join(json.dumps(line) for line in (start, *lines))
        return self("POST", f"API/commit/{branch}", body, token=token, headers={"Content-Type": "application/x-ndjson"})

    def put(self, **files: str) -> str:
        """A commit of regular files (`a__b_txt` for the path a/b.txt); its hash."""
        lines = [regular(name.replace("__", "/").replace("_", "."), text.encode()) for name, text in files.items()]
        answer = self.commit(*lines)
        assert answer.status == 200, answer.body
        return str(answer.json["commitOid"])

    def upload(self, content: bytes) -> str:
        """Upload a large file; its hash."""
        oid = hashlib.sha256(content).hexdigest()
        told = self.batch(oid, len(content)).json["objects"][0]
        if "actions" in told:
            assert call(told["actions"]["upload"]["href"], "PUT", content).status == 200
        return oid

    def batch(self, oid: str, size: int, *, token: str | None = "", transfers: tuple[str, ...] = ("basic",)) -> Answer:
        """Ask where a large file goes."""
        body = {"operation": "upload", "transfers": transfers, "objects": [{"oid": oid, "size": size}]}
        return self("POST", "/ID.git/info/lfs/objects/batch", body, token=token)


def regular(path: str, content: bytes) -> dict[str, Any]:
    """The line of a commit that puts a regular file."""
    return {"key": "file", "value": {"path": path, "content": b64encode(content).decode(), "encoding": "base64"}}


def large(path: str, oid: str, size: int | None = None) -> dict[str, Any]:
    """The line of a commit that puts a large file."""
    value = {"path": path, "algo": "sha256", "oid": oid}
    return {"key": "lfsFile", "value": value if size is None else {**value, "size": size}}


def gone(path: str, key: str = "deletedFile") -> dict[str, Any]:
    """The line of a commit that deletes a file or a folder."""
    return {"key": key, "value": {"path": path}}
