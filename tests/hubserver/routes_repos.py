"""Repositories as such: who asks, create, delete, move, who may read, what is known about one."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from tests.hubserver import attributes, cards, describe, errors
from tests.hubserver.state import (
    Caller,
    Hub,
    Known,
    Open,
    Revision,
    State,
    Visible,
    Writable,
    Writer,
    check_write,
    visible_repo,
)
from tests.hubserver.storage import KINDS, Repo

MAIN = "main"
Type = Literal["model", "dataset", "space"]
Visibility = Literal["public", "private"]

router = APIRouter()


class RepoName(BaseModel):
    name: str
    organization: str | None = None
    type: Type | None = None


class NewRepo(RepoName):
    visibility: Visibility | None = None
    private: bool | None = None
    sdk: Literal["gradio", "docker", "static"] | None = None


class Move(BaseModel):
    fromRepo: str
    toRepo: str
    type: Type = "model"


class Settings(BaseModel):
    visibility: Visibility | None = None
    private: bool | None = None
    gated: Literal["auto", "manual", False] | None = None


class Grant(BaseModel):
    user: str


class Card(BaseModel):
    content: str
    repoType: Type = "model"


@router.get("/api/whoami-v2")
async def whoami(account: Known) -> dict[str, Any]:
    token = {"displayName": "test", "role": account.role}
    organizations = [{"type": "org", "name": name} for name in account.organizations]
    return {
        "type": "user",
        "id": account.name,
        "name": account.name,
        "fullname": account.name,
        "orgs": organizations,
        "auth": {"type": "access_token", "accessToken": token},
    }


@router.post("/api/validate-yaml")
async def validate_yaml(card: Card) -> Response:
    """What is wrong with the metadata of a README."""
    found = cards.problems(card.content, card.repoType)
    body = {
        "errors": [{"message": message} for message in found.errors],
        "warnings": [{"message": message} for message in found.warnings],
    }
    return JSONResponse(body, 400 if found.errors else 200)


@router.post("/api/repos/create")
async def create(hub: Hub, account: Writer, new: NewRepo) -> dict[str, str]:
    """A new repository with the commit that the Hub makes of itself."""
    namespace = new.organization or account.name
    if namespace not in account.namespaces:
        raise errors.forbidden(
            f"You don't have the rights to create a {new.type or 'model'} under the namespace {namespace!r}"
        )
    kind, repo_id = f"{new.type or 'model'}s", f"{namespace}/{new.name}"
    check_repo_name(new.name)
    if kind == "spaces" and new.sdk is None:
        raise errors.bad_request("a Space needs an sdk: gradio, docker or static")
    url = f"{hub.endpoint}/{'' if kind == 'models' else kind + '/'}{repo_id}"
    if hub.storage.exists(kind, repo_id):
        raise errors.conflict(f"You already created this {new.type or 'model'} repo: {repo_id}", url=url)
    repo = hub.storage.create(kind, repo_id, private=new.visibility == "private" or bool(new.private), sdk=new.sdk)
    first = {".gitattributes": repo.add_regular(attributes.default_attributes(kind))}
    repo.add_commit(MAIN, first, "initial commit", "", account.name)
    return {"url": url, "name": repo_id}


@router.delete("/api/repos/delete")
async def delete(hub: Hub, account: Writer, gone: RepoName) -> dict[str, str]:
    repo_id = f"{gone.organization or account.name}/{gone.name}"
    repo = visible_repo(hub, account, f"{gone.type or 'model'}s", repo_id)
    check_write(repo, account)
    hub.storage.delete(repo)
    return {}


@router.post("/api/repos/move")
async def move(hub: Hub, account: Writer, wish: Move) -> dict[str, str]:
    repo = visible_repo(hub, account, f"{wish.type}s", wish.fromRepo)
    check_write(repo, account)
    namespace, _, name = wish.toRepo.partition("/")
    if namespace not in account.namespaces:
        raise errors.forbidden(f"You have no write access to the namespace {namespace!r}")
    check_repo_name(name)
    if hub.storage.exists(repo.kind, wish.toRepo):
        raise errors.conflict(f"{wish.toRepo} exists already")
    hub.storage.move(repo, wish.toRepo)
    return {"url": f"{hub.endpoint}/{repo.prefix}{repo.repo_id}"}


@router.put("/api/{kind}/{namespace}/{name}/settings")
async def settings(repo: Writable, wish: Settings) -> dict[str, Any]:
    if wish.visibility is not None or wish.private is not None:
        repo.private = wish.visibility == "private" or bool(wish.private)
    if wish.gated is not None:
        repo.gated = wish.gated
    repo.save()
    return {"private": repo.private, "gated": repo.gated}


@router.post("/api/{kind}/{namespace}/{name}/user-access-request/grant")
async def grant(hub: Hub, repo: Writable, wish: Grant) -> dict[str, Any]:
    if not hub.accounts.user_exists(wish.user):
        raise errors.HubError(404, f"no user {wish.user}")
    if not repo.gated or wish.user in repo.granted:
        raise errors.bad_request(f"{repo.repo_id} is not gated, or {wish.user} has access already")
    repo.granted.append(wish.user)
    repo.save()
    return {}


@router.get("/api/{kind}/{namespace}/{name}/auth-check")
async def auth_check(repo: Open) -> dict[str, Any]:
    return {}


@router.get("/api/{kind}/{namespace}/{name}/auth-check/write")
async def auth_check_write(repo: Writable) -> dict[str, Any]:
    return {}


@router.get("/api/{kind}/{namespace}/{name}")
async def info(repo: Visible, blobs: bool = False) -> Response:
    return _info(repo, MAIN, blobs=blobs)


@router.get("/api/{kind}/{namespace}/{name}/revision/{revision}")
async def info_at(repo: Visible, revision: Revision, blobs: bool = False) -> Response:
    return _info(repo, revision, blobs=blobs)


def _info(repo: Repo, revision: str, *, blobs: bool) -> Response:
    commit = repo.resolve(revision)
    return JSONResponse(describe.info(repo, commit, blobs=blobs), headers={"X-Repo-Commit": commit.sha})


@router.get("/api/{kind}")
async def list_repos(
    request: Request,
    hub: Hub,
    account: Caller,
    kind: str,
    filter: Annotated[list[str] | None, Query()] = None,
    author: str | None = None,
    search: str = "",
    pipeline_tag: str | None = None,
    limit: int = 1000,
) -> list[dict[str, Any]]:
    """The repositories of a kind that the caller may see and that have all that he asks for."""
    if kind not in KINDS:
        raise errors.HubError(404, f"there is no /api/{kind}")
    told = [describe.info(repo, repo.resolve(MAIN), blobs=False) for repo in _seen(hub, account, kind)]
    wanted = {tag for each in filter or [] for tag in each.split(",")}
    return [
        each
        for each in told
        if wanted <= set(each["tags"])
        and author in (None, each["author"])
        and search.lower() in each["id"].lower()
        and pipeline_tag in (None, each.get("pipeline_tag"))
    ][:limit]


def _seen(hub: State, account: Caller, kind: str) -> list[Repo]:
    own = () if account is None else account.namespaces
    return [repo for repo in hub.storage.all(kind) if not repo.private or repo.namespace in own]


def check_repo_name(name: str) -> None:
    """Refuse a name that the Hub would not have."""
    plain = re.fullmatch(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?", name)
    if not plain or "--" in name or ".." in name or name.endswith((".git", ".ipynb")):
        raise errors.bad_request(
            f"Invalid repo name {name!r}: letters, digits, '-', '_', '.'; at most 96, no '--' or '..'"
        )
