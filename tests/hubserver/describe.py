"""What the Hub knows about a repository from its files: metadata, tags, the model's configuration."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.hubserver import cards
from tests.hubserver.storage import Commit, Entry, Repo, pointer

_TAGGED = {"datasets": "dataset", "license": "license", "language": "language", "base_model": "base_model"}
_DATASET_FIELDS = ("license", "language", "size_categories", "task_categories", "task_ids", "annotations_creators")


def info(repo: Repo, commit: Commit, *, blobs: bool) -> dict[str, Any]:
    """The answer of `/api/KIND/NAMESPACE/NAME`; with `blobs` also size and hashes of the files."""
    readme = read_text(repo, commit, "README.md")
    data = cards.metadata(readme) if readme is not None else None
    told: dict[str, Any] = {
        "_id": commit.sha[:24],
        "id": repo.repo_id,
        "author": repo.namespace,
        "sha": commit.sha,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": tags(repo, commit, data or {}),
        "createdAt": repo.created,
        "lastModified": commit.date,
        "siblings": [_sibling(path, entry, blobs=blobs) for path, entry in sorted(commit.tree.items())],
    }
    if data is not None:
        told["cardData"] = data
    if repo.kind == "models":
        told |= {"modelId": repo.repo_id, **_model(repo, commit, data or {})}
    elif repo.kind == "spaces":
        told |= {"sdk": (data or {}).get("sdk", repo.sdk), "runtime": {"stage": "NO_APP_FILE", "hardware": {}}}
    return told


def tags(repo: Repo, commit: Commit, data: dict[str, Any]) -> list[str]:
    """The tags by which a repository is found: its own, and those made of other fields and of its files."""
    found = [str(tag) for tag in _as_list(data.get("tags"))]
    if repo.kind == "datasets":
        found += [f"{name}:{value}" for name in _DATASET_FIELDS for value in _as_list(data.get(name))]
    else:
        found += [f"{tag}:{value}" for name, tag in _TAGGED.items() for value in _as_list(data.get(name))]
        found += [str(data[name]) for name in ("library_name", "pipeline_tag", "sdk") if name in data]
    if any(path.endswith(".safetensors") for path in commit.tree):
        found.append("safetensors")
    relation = data.get("base_model_relation") or ("adapter" if "adapter_config.json" in commit.tree else None)
    if relation is not None:
        found += [f"base_model:{relation}:{base}" for base in _as_list(data.get("base_model"))]
    readme = read_text(repo, commit, "README.md") or ""
    found += [f"arxiv:{number}" for number in re.findall(r"arxiv\.org/(?:abs|pdf)/(\d{4}\.\d{4,5})", readme)]
    return [*dict.fromkeys([*found, "region:us"])]


def read_text(repo: Repo, commit: Commit, path: str) -> str | None:
    """The text of a regular file; None where there is none."""
    entry = commit.tree.get(path)
    if entry is None or entry.sha256 is not None:
        return None
    return repo.content(entry).read_text("utf-8", "replace")


def _model(repo: Repo, commit: Commit, data: dict[str, Any]) -> dict[str, Any]:
    """What only models have."""
    told: dict[str, Any] = {
        name: data[name] for name in ("library_name", "pipeline_tag", "model-index") if name in data
    }
    text = read_text(repo, commit, "config.json") or read_text(repo, commit, "adapter_config.json")
    try:
        config = json.loads(text or "{}")
    except ValueError:
        config = {}
    if isinstance(config, dict):
        kept = ("architectures", "model_type", "auto_map", "base_model_name_or_path", "task_type")
        told["config"] = {name: config[name] for name in kept if name in config}
    return told


def _sibling(path: str, entry: Entry, *, blobs: bool) -> dict[str, Any]:
    """A file; its large-file hash is named `sha256` here, elsewhere `oid`."""
    told: dict[str, Any] = {"rfilename": path}
    if blobs:
        told |= {"size": entry.size, "blobId": entry.oid}
        if entry.sha256 is not None:
            size = len(pointer(entry.sha256, entry.size))
            told["lfs"] = {"sha256": entry.sha256, "size": entry.size, "pointerSize": size}
    return told


def _as_list(value: object) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
