"""Branches, tags and the history."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote, urlencode

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from tests.hubserver import errors
from tests.hubserver.state import Hub, Revision, Visible, Writable

MAIN = "main"
COMMITS_PAGE = 50

router = APIRouter()


class NewBranch(BaseModel):
    startingPoint: str | None = None


class NewTag(BaseModel):
    tag: str
    message: str | None = None


@router.get("/api/{kind}/{namespace}/{name}/refs")
async def refs(repo: Visible) -> dict[str, list[dict[str, str]]]:
    def told(names: dict[str, str], folder: str) -> list[dict[str, str]]:
        return [{"name": name, "ref": f"{folder}/{name}", "targetCommit": names[name]} for name in sorted(names)]

    branches, tags = told(repo.branches, "refs/heads"), told(repo.tags, "refs/tags")
    return {"branches": branches, "tags": tags, "converts": [], "pullRequests": []}


@router.get("/api/{kind}/{namespace}/{name}/commits/{revision}")
async def commits(request: Request, hub: Hub, repo: Visible, revision: Revision, p: int = 0) -> Response:
    """The history of a revision, latest first, in pages."""
    history = list(repo.history(repo.resolve(revision)))
    start = p * COMMITS_PAGE
    told: list[dict[str, Any]] = [
        {
            "id": each.sha,
            "title": each.title,
            "message": each.message,
            "authors": [{"user": each.author}],
            "date": each.date,
        }
        for each in history[start : start + COMMITS_PAGE]
    ]
    headers = {"X-Total-Count": str(len(history))}
    if start + COMMITS_PAGE < len(history):
        query = urlencode({**request.query_params, "p": p + 1})
        headers["Link"] = f'<{hub.endpoint}{request.scope["path"]}?{query}>; rel="next"'
    return JSONResponse(told, headers=headers)


@router.post("/api/{kind}/{namespace}/{name}/branch/{branch}")
async def create_branch(repo: Writable, branch: str, new: NewBranch | None = None) -> dict[str, str]:
    name = unquote(branch)
    _check_name(name)
    if name in repo.branches:
        raise errors.conflict(f"Reference refs/heads/{name} already exists")
    start = new.startingPoint if new is not None and new.startingPoint is not None else MAIN
    repo.branches[name] = repo.resolve(unquote(start)).sha
    repo.save()
    return {"ref": f"refs/heads/{name}"}


@router.delete("/api/{kind}/{namespace}/{name}/branch/{branch}")
async def delete_branch(repo: Writable, branch: str) -> dict[str, str]:
    name = unquote(branch)
    if name == MAIN:
        raise errors.forbidden("The branch main cannot be deleted")
    if repo.branches.pop(name, None) is None:
        raise errors.no_revision(name)
    repo.save()
    return {}


@router.post("/api/{kind}/{namespace}/{name}/tag/{revision}")
async def create_tag(repo: Writable, revision: Revision, new: NewTag) -> dict[str, str]:
    _check_name(new.tag)
    if new.tag in repo.tags:
        raise errors.conflict(f"Tag reference exists already: refs/tags/{new.tag}")
    repo.tags[new.tag] = repo.resolve(revision).sha
    repo.save()
    return {"ref": f"refs/tags/{new.tag}"}


@router.delete("/api/{kind}/{namespace}/{name}/tag/{tag}")
async def delete_tag(repo: Writable, tag: str) -> dict[str, str]:
    name = unquote(tag)
    if repo.tags.pop(name, None) is None:
        raise errors.no_revision(name)
    repo.save()
    return {}


def _check_name(name: str) -> None:
    """A name that git has for a branch or a tag; one that looks like a commit would never be found again."""
    if not re.fullmatch(r"[\w][\w./+-]*", name) or ".." in name or name.endswith(("/", ".lock", ".")):
        raise errors.bad_request(f"invalid reference name {name!r}")
    if re.fullmatch(r"[0-9a-f]{40}", name):
        raise errors.bad_request(f"{name} looks like a commit")
