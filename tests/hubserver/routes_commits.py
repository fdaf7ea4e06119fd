"""Changing a repository: what is to be uploaded how, and the commit itself."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from tests.hubserver import attributes, cards, errors, trees
from tests.hubserver.state import Hub, Revision, Writable, Writer
from tests.hubserver.storage import Repo, Tree

ATTRIBUTES = ".gitattributes"

router = APIRouter()


class Candidate(BaseModel):
    path: str
    size: int
    sample: str


class Preupload(BaseModel):
    files: list[Candidate]


@router.post("/api/{kind}/{namespace}/{name}/preupload/{revision}")
async def preupload(repo: Writable, revision: Revision, request: Preupload) -> dict[str, Any]:
    """How each file is to be sent, and what it is now: a client leaves out what has not changed."""
    tree = repo.resolve(revision).tree
    rules = repo.content(tree[ATTRIBUTES]).read_text() if ATTRIBUTES in tree else ""
    told = []
    for file in request.files:
        check_path(file.path)
        large = attributes.is_large(file.path, file.size, _decode(file.sample), rules)
        mode = "lfs" if large else "regular"
        oid = tree[file.path].etag if file.path in tree else None
        told.append({"path": file.path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return {"files": told}


@router.post("/api/{kind}/{namespace}/{name}/commit/{revision}")
async def commit(
    request: Request, hub: Hub, repo: Writable, account: Writer, revision: Revision, create_pr: bool = False
) -> dict[str, Any]:
    """Apply the lines of a commit. Either all of them become the branch's new tree, or nothing changes."""
    lines = list(_lines(await request.body()))
    if create_pr:
        raise errors.bad_request("this test Hub has no pull requests")
    # While the body came in, others may have committed. From here on nothing is awaited.
    repo = hub.storage.get(repo.kind, repo.repo_id)
    if revision not in repo.branches:
        raise errors.no_revision(revision)
    if not lines or lines[0][0] != "header" or not isinstance(lines[0][1].get("summary"), str):
        raise errors.bad_request("a commit begins with a header that has a summary")
    header = lines[0][1]
    parent = repo.resolve(revision)
    if header.get("parentCommit") not in (None, parent.sha):
        raise errors.stale_parent()
    tree = dict(parent.tree)
    for key, value in lines[1:]:
        _apply(repo, tree, parent.sha, key, value)
    _check_tree(tree)
    made = repo.add_commit(revision, tree, header["summary"], header.get("description") or "", account.name)
    return {
        "success": True,
        "commitOid": made.sha,
        "commitUrl": f"{hub.endpoint}/{repo.prefix}{repo.repo_id}/commit/{made.sha}",
    }


def _lines(body: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines of a commit as (key, value)."""
    for number, line in enumerate(body.splitlines(), 1):
        try:
            content = json.loads(line)
            key, value = content["key"], content["value"]
        except (ValueError, KeyError, TypeError) as error:
            raise errors.bad_request(f"line {number} is not JSON with a key and a value") from error
        if not isinstance(value, dict):
            raise errors.bad_request(f"line {number}: the value is not an object")
        yield key, value


def _apply(repo: Repo, tree: Tree, parent: str, key: str, value: dict[str, Any]) -> None:
    """Change `tree` by one line."""
    path = value.get("path")
    check_path(path)
    assert isinstance(path, str)
    if key == "file":
        content = _decode(value.get("content")) if value.get("encoding") == "base64" else str(value["content"]).encode()
        _add_regular(repo, tree, path, content)
    elif key == "lfsFile":
        _add_large(repo, tree, path, value)
    elif key == "deletedFile":
        if tree.pop(path, None) is None:
            raise errors.no_entry(path, parent)
    elif key == "deletedFolder":
        gone = trees.below(tree, path.rstrip("/"))
        if not gone:
            raise errors.no_entry(path, parent)
        for name in gone:
            del tree[name]
    else:
        raise errors.bad_request(f"unknown operation {key!r}")


def _add_regular(repo: Repo, tree: Tree, path: str, content: bytes) -> None:
    if len(content) > attributes.LARGEST_REGULAR:
        raise errors.bad_request(f"{path} has {len(content)} bytes: files of more than 10 MiB must be sent through LFS")
    if path == "README.md":
        problems = cards.problems(content.decode("utf-8", "replace"), repo.kind.removesuffix("s"))
        if problems.errors:
            raise errors.bad_request("Invalid metadata in README.md: " + "; ".join(problems.errors))
    tree[path] = repo.add_regular(content)


def _add_large(repo: Repo, tree: Tree, path: str, value: dict[str, Any]) -> None:
    """The content must have been uploaded before. A copy inside the repository names no size."""
    oid = str(value.get("oid"))
    entry = repo.large_entry(oid) if len(oid) == 64 and oid.isalnum() else None
    if value.get("algo") != "sha256" or entry is None:
        raise errors.bad_request(f"{path}: the LFS object {oid} does not exist in this repository")
    if value.get("size") not in (None, entry.size):
        raise errors.bad_request(f"{path}: the LFS object {oid} has {entry.size} bytes, not {value['size']}")
    tree[path] = entry


def check_path(path: object) -> None:
    """Refuse a path that git would not have, or that leads out of the repository."""
    parts = path.rstrip("/").split("/") if isinstance(path, str) else [""]
    if (
        any(part in ("", ".", "..") or part.lower() == ".git" for part in parts)
        or "\\" in str(path)
        or "\0" in str(path)
    ):
        raise errors.bad_request(f"invalid path {path!r}")


def _check_tree(tree: Tree) -> None:
    """A name is a file or a folder, not both."""
    both = trees.folders(tree) & set(tree)
    if both:
        raise errors.bad_request(f"{sorted(both)[0]} would be a file and a folder")


def _decode(content: object) -> bytes:
    try:
        return base64.b64decode(str(content), validate=True)
    except binascii.Error as error:
        raise errors.bad_request("a content is not base64") from error
