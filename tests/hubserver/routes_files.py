"""Looking into a repository and fetching its files."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlencode

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response

from tests.hubserver import errors, trees
from tests.hubserver.routes_lfs import STORAGE
from tests.hubserver.state import EntryPath, Hub, Open, Revision, State, Visible
from tests.hubserver.storage import Repo

router = APIRouter()


@router.get("/api/{kind}/{namespace}/{name}/tree/{revision}")
@router.get("/api/{kind}/{namespace}/{name}/tree/{revision}/{path:path}")
async def tree(
    request: Request,
    hub: Hub,
    repo: Visible,
    revision: Revision,
    folder: EntryPath,
    recursive: bool = False,
    expand: bool = False,
    limit: int | None = None,
    cursor: int = 0,
) -> Response:
    """What is in a folder, in pages. A path that is no folder is a 404, by which clients learn that it is not there."""
    commit = repo.resolve(revision)
    if folder and folder not in trees.folders(commit.tree):
        raise errors.no_entry(folder, commit.sha)
    listing = trees.list_folder(commit.tree, folder, recursive=recursive)
    size = min(limit or hub.page_size, hub.page_size)
    page = listing[cursor : cursor + size]
    if expand:
        trees.with_last_commits(repo, commit, page)
    headers = {"X-Repo-Commit": commit.sha}
    if cursor + size < len(listing):
        query = urlencode({**request.query_params, "cursor": cursor + size})
        headers["Link"] = f'<{hub.endpoint}{request.scope["path"]}?{query}>; rel="next"'
    return JSONResponse(page, headers=headers)


@router.post("/api/{kind}/{namespace}/{name}/paths-info/{revision}")
async def paths_info(request: Request, repo: Visible, revision: Revision) -> Response:
    """The entries of named paths. The body is a form, as the client sends it, or JSON."""
    paths, expand = await _paths_form(request)
    commit = repo.resolve(revision)
    listing = trees.describe_paths(commit.tree, paths)
    if expand:
        trees.with_last_commits(repo, commit, listing)
    return JSONResponse(listing, headers={"X-Repo-Commit": commit.sha})


async def _paths_form(request: Request) -> tuple[list[str], bool]:
    if request.headers.get("content-type", "").startswith("application/json"):
        content: dict[str, Any] = await request.json()
        return [str(path) for path in content.get("paths", [])], bool(content.get("expand"))
    form = parse_qs((await request.body()).decode())
    return form.get("paths", []), form.get("expand", ["false"])[0].lower() in ("true", "1")


@router.api_route("/{namespace}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
async def resolve_model(hub: Hub, repo: Open, revision: Revision, path: EntryPath) -> Response:
    return _resolve(hub, repo, revision, path)


@router.api_route("/{kind}/{namespace}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
async def resolve(hub: Hub, repo: Open, revision: Revision, path: EntryPath) -> Response:
    return _resolve(hub, repo, revision, path)


def _resolve(hub: State, repo: Repo, revision: str, path: str) -> Response:
    """The content of a regular file, or where that of a large file is: a signed address at another server.

    Whatever the answer, `X-Repo-Commit` says which commit it is about: clients keep files by commit.
    """
    commit = repo.resolve(revision)
    entry = commit.tree.get(path)
    if entry is None:
        raise errors.no_entry(path, commit.sha)
    headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{entry.etag}"', "Accept-Ranges": "bytes"}
    if entry.sha256 is None:
        return FileResponse(repo.content(entry), headers=headers, filename=path.rsplit("/", 1)[-1])
    address = hub.signed(hub.cdn, f"{STORAGE}/{repo.kind}/{repo.repo_id}/{entry.sha256}")
    headers |= {"Location": address, "X-Linked-Etag": f'"{entry.sha256}"', "X-Linked-Size": str(entry.size)}
    return PlainTextResponse("Found. Redirecting", 302, headers)
