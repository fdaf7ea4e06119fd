"""Repositories on disk: one folder each, with the commits, the contents and the large files.

    models/NAMESPACE/NAME/repo.json         branches, tags, who may read
    models/NAMESPACE/NAME/commits/SHA.json  a commit with its whole tree; never changed once written
    models/NAMESPACE/NAME/objects/SHA1      contents of regular files, by git's hash
    models/NAMESPACE/NAME/lfs/SHA256        contents of large files, by their own hash

Nothing is kept in memory. There is no lock: all requests are handled on one event loop, and no handler waits for
anything between reading a repository and saving it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from tests.hubserver.errors import no_repo, no_revision

KINDS = ("models", "datasets", "spaces")
Tree = dict[str, "Entry"]


@dataclass(frozen=True)
class Entry:
    """A file of a tree. `oid` is git's hash: of the content, or of the pointer where the content is a large file."""

    oid: str
    size: int
    sha256: str | None = None

    @property
    def etag(self) -> str:
        """What the content is known by."""
        return self.sha256 or self.oid


@dataclass(frozen=True)
class Commit:
    """A commit; `tree` is path -> entry, without folders."""

    sha: str
    parent: str | None
    title: str
    message: str
    author: str
    date: str
    tree: Tree


@dataclass
class Repo:
    """A repository. Whoever changes a field calls `save`."""

    folder: Path
    kind: str
    repo_id: str
    private: bool = False
    gated: Literal[False, "auto", "manual"] = False
    granted: list[str] = field(default_factory=list)
    sdk: str | None = None
    created: str = ""
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        return self.repo_id.split("/")[0]

    @property
    def prefix(self) -> str:
        """What stands before the id in an address of a page or file."""
        return "" if self.kind == "models" else f"{self.kind}/"

    def save(self) -> None:
        content = {name: value for name, value in asdict(self).items() if name != "folder"}
        write_whole(self.folder / "repo.json", json.dumps(content).encode())

    def commit(self, sha: str) -> Commit:
        content = json.loads((self.folder / "commits" / f"{sha}.json").read_bytes())
        content["tree"] = {path: Entry(**entry) for path, entry in content["tree"].items()}
        return Commit(**content)

    def resolve(self, revision: str) -> Commit:
        """The commit that a branch, a tag or the (shortened) hash of a commit means."""
        sha = self.branches.get(revision) or self.tags.get(revision)
        if sha is None and re.fullmatch(r"[0-9a-f]{7,40}", revision):
            found = [path.stem for path in (self.folder / "commits").glob(f"{revision}*.json")]
            sha = found[0] if len(found) == 1 else None
        if sha is None:
            raise no_revision(revision)
        return self.commit(sha)

    def history(self, commit: Commit) -> Iterator[Commit]:
        """The commit and those before it, latest first."""
        yield commit
        while commit.parent is not None:
            commit = self.commit(commit.parent)
            yield commit

    def add_commit(self, branch: str, tree: Tree, title: str, message: str, author: str) -> Commit:
        """Let `branch` point to a new commit with this tree, on top of the one it points to."""
        parent = self.branches.get(branch)
        content = {
            "parent": parent,
            "title": title,
            "message": message,
            "author": author,
            "date": now(),
            "tree": {path: asdict(tree[path]) for path in sorted(tree)},
        }
        sha = hashlib.sha1(json.dumps([self.kind, self.repo_id, content]).encode()).hexdigest()
        write_whole(self.folder / "commits" / f"{sha}.json", json.dumps({"sha": sha, **content}).encode())
        self.branches[branch] = sha
        self.save()
        return self.commit(sha)

    def add_regular(self, content: bytes) -> Entry:
        """Keep the content of a regular file."""
        oid = git_hash(content)
        write_whole(self.folder / "objects" / oid, content)
        return Entry(oid, len(content))

    def large_entry(self, sha256: str) -> Entry | None:
        """The entry of a large file whose content has been uploaded; None where it has not."""
        path = self.large_file(sha256)
        if not path.is_file():
            return None
        size = path.stat().st_size
        return Entry(git_hash(pointer(sha256, size)), size, sha256)

    def large_file(self, sha256: str) -> Path:
        """Where the content of a large file is, or goes."""
        return self.folder / "lfs" / sha256

    def content(self, entry: Entry) -> Path:
        """Where the content of a file is."""
        return self.large_file(entry.sha256) if entry.sha256 is not None else self.folder / "objects" / entry.oid


class Storage:
    """All repositories under a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, kind: str, repo_id: str) -> Repo:
        folder = self._folder(kind, repo_id)
        path = folder / "repo.json"
        if kind not in KINDS or not path.is_file():
            raise no_repo()
        return Repo(folder=folder, **json.loads(path.read_bytes()))

    def exists(self, kind: str, repo_id: str) -> bool:
        return (self._folder(kind, repo_id) / "repo.json").is_file()

    def create(self, kind: str, repo_id: str, *, private: bool, sdk: str | None) -> Repo:
        folder = self._folder(kind, repo_id)
        for name in ("commits", "objects", "lfs"):
            (folder / name).mkdir(parents=True)
        return Repo(folder, kind, repo_id, private=private, sdk=sdk, created=now())

    def delete(self, repo: Repo) -> None:
        shutil.rmtree(repo.folder)

    def move(self, repo: Repo, repo_id: str) -> None:
        target = self._folder(repo.kind, repo_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        repo.folder.rename(target)
        repo.folder, repo.repo_id = target, repo_id
        repo.save()

    def all(self, kind: str) -> list[Repo]:
        """Every repository of a kind, by id."""
        found = sorted((self.root / kind).glob("*/*/repo.json"))
        return [self.get(kind, "/".join(path.parts[-3:-1])) for path in found]

    def _folder(self, kind: str, repo_id: str) -> Path:
        return self.root / kind / repo_id


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def git_hash(content: bytes) -> str:
    """The hash by which git knows a blob of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    """What git keeps in place of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader finds the old content or the new one."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    os.replace(part, path)
