"""What the Hub tells of a tree: entries with their folders, and which commit changed them last."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.hubserver.storage import Commit, Entry, Repo, Tree, pointer

Listing = list[dict[str, Any]]


def folders(tree: Tree) -> set[str]:
    """Every folder that has a file somewhere below it."""
    found: set[str] = set()
    for path in tree:
        parts = path.split("/")[:-1]
        found.update("/".join(parts[: length + 1]) for length in range(len(parts)))
    return found


def below(tree: Tree, folder: str) -> Tree:
    """The files under a folder; all of them for the root, which is empty."""
    return {path: entry for path, entry in tree.items() if not folder or path.startswith(f"{folder}/")}


def file_entry(path: str, entry: Entry) -> dict[str, Any]:
    """A file as /tree and /paths-info tell it. Its large-file hash is named `oid` here, elsewhere `sha256`."""
    told: dict[str, Any] = {"type": "file", "oid": entry.oid, "size": entry.size, "path": path}
    if entry.sha256 is not None:
        size = len(pointer(entry.sha256, entry.size))
        told["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": size}
    return told


def folder_entry(path: str, tree: Tree) -> dict[str, Any]:
    """A folder; its hash is one of all that is in it."""
    content = sorted((name, entry.oid) for name, entry in below(tree, path).items())
    return {"type": "directory", "oid": hashlib.sha1(repr(content).encode()).hexdigest(), "size": 0, "path": path}


def list_folder(tree: Tree, folder: str, *, recursive: bool) -> Listing:
    """What is in a folder, or anywhere under it, by path."""
    inside = below(tree, folder)
    start = f"{folder}/" if folder else ""
    told = {path: file_entry(path, entry) for path, entry in inside.items()}
    told |= {path: folder_entry(path, tree) for path in folders(tree) if path.startswith(start) and path != folder}
    return [told[path] for path in sorted(told) if recursive or "/" not in path[len(start) :]]


def describe_paths(tree: Tree, paths: list[str]) -> Listing:
    """The entries of the paths that are there; of the others nothing is said."""
    known = folders(tree)
    told = []
    for path in (path.strip("/") for path in paths):
        if path in tree:
            told.append(file_entry(path, tree[path]))
        elif path in known:
            told.append(folder_entry(path, tree))
    return told


def with_last_commits(repo: Repo, commit: Commit, listing: Listing) -> Listing:
    """Each entry with the commit that changed it last."""
    waiting = {entry["path"]: entry for entry in listing}
    history = [*repo.history(commit)]
    for later, earlier in zip(history, [*history[1:], None], strict=True):
        before: Tree = {} if earlier is None else earlier.tree
        for path in [*waiting]:
            if _content(later.tree, path) != _content(before, path):
                last = {"id": later.sha, "title": later.title, "date": later.date}
                waiting.pop(path)["lastCommit"] = last
    return listing


def _content(tree: Tree, path: str) -> object:
    """What tells whether a file or folder has changed."""
    return tree[path] if path in tree else below(tree, path)
