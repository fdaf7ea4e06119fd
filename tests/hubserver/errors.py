"""What the Hub answers when it refuses: a status, a code in `X-Error-Code`, a sentence in `X-Error-Message`.

The clients tell their exceptions by these headers, so that a refusal without them would be taken for another.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

logger = logging.getLogger(__name__)


class HubError(Exception):
    """A refusal: `status`, the sentence of the answer, the code, further headers and keys of the body."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = dict(headers or {})
        self.body = dict(body or {})


def bad_request(message: str, **body: object) -> HubError:
    return HubError(400, message, body=body)


def bad_credentials() -> HubError:
    """A token that nobody has. The clients know this very sentence."""
    return HubError(401, "Invalid credentials in Authorization header")


def who_are_you() -> HubError:
    """A repository that is not there, or not public, asked for without a token: the Hub does not say which.

    The real one sends no code here. The clients conclude it from the address, but only of one with https; with the code
    they raise over http what they raise there.
    """
    return HubError(401, "Invalid username or password.", "RepoNotFound")


def forbidden(message: str) -> HubError:
    return HubError(403, message)


def gated(status: int, repo_id: str) -> HubError:
    return HubError(status, f"Access to {repo_id} is restricted. You must be granted access to its files.", "GatedRepo")


def no_repo() -> HubError:
    return HubError(404, "Repository not found", "RepoNotFound")


def no_revision(revision: str) -> HubError:
    return HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")


def no_entry(path: str, commit: str) -> HubError:
    """The commit is named: clients remember for it that the file does not exist."""
    return HubError(404, f"Entry not found: {path}", "EntryNotFound", headers={"X-Repo-Commit": commit})


def conflict(message: str, **body: object) -> HubError:
    return HubError(409, message, body=body)


def stale_parent() -> HubError:
    return HubError(412, "A commit has happened since. Please refresh and try again.")


async def answer_refusal(request: Request, error: Exception) -> JSONResponse:
    """The answer to a `HubError`."""
    assert isinstance(error, HubError)
    headers = {**error.headers, "X-Error-Message": _header_text(error.message)}
    if error.code is not None:
        headers["X-Error-Code"] = error.code
    return JSONResponse({"error": error.message, **error.body}, error.status, headers)


async def answer_malformed(request: Request, error: Exception) -> JSONResponse:
    """The answer to a body or a query that does not have the fields it must have."""
    assert isinstance(error, RequestValidationError)
    where = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
    return await answer_refusal(request, bad_request(where))


async def answer_unknown(request: Request, error: Exception) -> JSONResponse:
    """The answer to an address or a method that this Hub does not have."""
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    return await answer_refusal(request, HubError(error.status_code, message))


async def answer_bug(request: Request, error: Exception) -> JSONResponse:
    """The answer where a handler fails. Clients take it for a passing trouble and try again for half a minute, which
    looks like a hang: so it is logged, and kept for the fixture to fail on."""
    told = f"{request.method} {request.url.path}\n{''.join(traceback.format_exception(error))}"
    if not isinstance(error, ClientDisconnect):
        logger.error("bug of the test Hub: %s", told)
        request.app.state.hub.bugs.append(told)
    return await answer_refusal(request, HubError(500, "Internal Server Error"))


def _header_text(message: str) -> str:
    """A sentence as it may stand in a header: one line of Latin-1."""
    return " ".join(message.split()).encode("latin-1", "replace").decode("latin-1")
