"""`manifest.json` of a repository: its files and their hashes, what it came from, every figure that its card shows.

The same content gives the same bytes: keys are sorted, and nothing in it tells when or from where it was pushed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from ..data.folder import file_sha256, write_text
from .kinds import ALWAYS, KINDS
from .safety import require_plain

MANIFEST = "manifest.json"
FORMAT = 1
"""Counts up when a reader of the older form would misunderstand the file."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
LIMIT = 16 * 2**20
"""Bytes: a manifest is read whole before anything of it is trusted."""

_MAPPINGS = ("settings", "versions", "cost", "profiles", "measures", "details")
_EMPTY: dict[str, Any] = {
    "inputs": [],
    "config_sha256": None,
    "seed": None,
    "settings": {},
    "versions": {},
    "cost": {},
    "data": None,
    "profiles": {},
    "certificates": [],
    "figures": [],
    "test_opened": None,
    "measures": {},
    "details": {},
}
_TEXTS = ("config_sha256", "test_opened", "license", "title", "reclm_hf")
_FIGURE = ("split", "kind", "row", "setting", "metric")


def new_manifest(kind: str, repo_id: str, **parts: Any) -> dict[str, Any]:
    """A manifest without `files`; what is not given is empty, which a card shows as "not recorded".

    Args:
        parts: keys of the manifest; `title` is the repository's name unless given.
    """
    content = {
        "format": FORMAT,
        "kind": kind,
        "repo_id": repo_id,
        "title": repo_id.split("/")[-1],
        "reclm_hf": __version__,
        "license": None,
        **{name: value.copy() if isinstance(value, dict | list) else value for name, value in _EMPTY.items()},
    }
    unknown = set(parts) - set(content)
    if unknown:
        raise ValueError(f"{sorted(unknown)[0]}: a manifest has no such part.")
    return content | parts


def input_entry(
    role: str, name: str, repo_id: str | None = None, revision: str | None = None, sha256: str | None = None
) -> dict[str, Any]:
    """One entry of `inputs`: what went in, by Hub id and commit or by checksum."""
    return {"role": role, "name": name, "repo_id": repo_id, "revision": revision, "sha256": sha256}


def file_entries(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Name -> `sha256` and `size` (bytes) of files; the manifest itself and the card are not listed."""
    return {
        name: {"sha256": file_sha256(folder / name), "size": (folder / name).stat().st_size}
        for name in sorted(names)
        if name not in ALWAYS
    }


def check_files(folder: Path, manifest: Mapping[str, Any], names: Iterable[str] | None = None) -> None:
    """Compare files with what their manifest says.

    Args:
        names: those to look at; None: all that it lists.

    Raises:
        ValueError: a file is missing, differs in size or hash, or is not listed; names it.
    """
    listed = manifest["files"]
    for name in sorted(listed if names is None else names):
        path = folder / name
        if name not in listed:
            raise ValueError(f"{path} is not in {MANIFEST}: it is not what was pushed. Fetch it again.")
        if not path.is_file():
            raise ValueError(f"{path} is missing, though {MANIFEST} lists it. Fetch it again.")
        size, expected = path.stat().st_size, listed[name]["size"]
        if size != expected:
            raise ValueError(f"{path} has {size} bytes, but {MANIFEST} says {expected}: changed or cut off.")
        if file_sha256(path) != listed[name]["sha256"]:
            raise ValueError(f"{path} differs from what {MANIFEST} says (SHA-256): it was changed since the push.")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The validated manifest of a folder.

    Raises:
        FileNotFoundError: there is none. ValueError: it is broken; names the key.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: the folder is no copy of a repository that `reclm push` wrote.")
    if path.stat().st_size > LIMIT:
        raise ValueError(f"{path} is larger than {LIMIT // 2**20} MiB: no manifest of ours is.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}): fetch it again.") from error
    try:
        return validate_manifest(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write_manifest(content: Mapping[str, Any], folder: Path) -> str:
    """Validate and write `manifest.json`; returns its text. Values that JSON has no number for become null."""
    tidy = validate_manifest(without_nan(content))
    text = json.dumps(tidy, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(text, folder / MANIFEST)
    return text


def validate_manifest(content: Any) -> dict[str, Any]:
    """Check the shape of a manifest, and fill what an older one lacks.

    Raises:
        ValueError: a key that is absent or means nothing; names it.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"holds {type(content).__name__}, not names and values.")
    if content.get("format") != FORMAT:
        told = "is no manifest of a repository" if "format" not in content else "is of another form"
        raise ValueError(f"format={content.get('format')!r}: {told}; this package reads {FORMAT}.")
    _require(content.get("kind") in KINDS, "kind", content.get("kind"), f"one of {', '.join(KINDS)}")
    _require(isinstance(content.get("repo_id"), str), "repo_id", content.get("repo_id"), "a Hub id")
    _check_listed(content.get("files"))
    found = {**_EMPTY, "title": content["repo_id"], "license": None, "reclm_hf": "", **content}
    for name in _MAPPINGS:
        _require(isinstance(found[name], Mapping), name, found[name], "names and values")
    for name in _TEXTS:
        _require(found[name] is None or isinstance(found[name], str), name, found[name], "text or null")
    _require(found["seed"] is None or type(found["seed"]) is int, "seed", found["seed"], "a whole number or null")
    _check_object(found["data"], "data")
    for name in ("cuts", "counts"):
        _check_object((found["data"] or {}).get(name), f"data.{name}")
    for name in ("inputs", "certificates", "figures"):
        entries = found[name]
        fine = isinstance(entries, list) and all(isinstance(entry, Mapping) for entry in entries)
        _require(fine, name, entries, "a list of objects")
    for number, entry in enumerate(found["inputs"], start=1):
        _check_input(entry, number)
    for number, entry in enumerate(found["certificates"], start=1):
        _check_object(entry.get("probe"), f"certificates, entry {number}, probe")
    for number, entry in enumerate(found["figures"], start=1):
        for name in _FIGURE:
            _require(isinstance(entry.get(name), str), f"figures, entry {number}, {name}", entry.get(name), "a text")
    return found


def _check_object(value: Any, name: str) -> None:
    _require(value is None or isinstance(value, Mapping), name, value, "an object or null")


def _check_listed(files: Any) -> None:
    _require(isinstance(files, Mapping), "files", files, "an object")
    for name, entry in files.items():
        require_plain(name)
        fine = isinstance(entry, Mapping) and type(entry.get("size")) is int and entry["size"] >= 0
        fine = fine and isinstance(entry.get("sha256"), str) and _SHA256.fullmatch(entry["sha256"]) is not None
        _require(fine, f"files[{name!r}]", entry, "sha256 (64 hexadecimal digits) and size")


def _check_input(entry: Mapping[str, Any], number: int) -> None:
    revision = entry.get("revision")
    _require(isinstance(entry.get("role"), str), f"inputs, entry {number}, role", entry.get("role"), "a text")
    _require(
        revision is None or (isinstance(revision, str) and _COMMIT.fullmatch(revision) is not None),
        f"inputs, entry {number} ({entry.get('role')}), revision",
        revision,
        "a full commit (40 hexadecimal digits), or null",
    )
    for name in ("repo_id", "name", "sha256"):
        value = entry.get(name)
        fine = isinstance(value, str) or (value is None and name in entry)
        _require(fine, f"inputs, entry {number} ({entry['role']}), {name}", value, "a text, or null,")


def _require(fine: bool, name: str, value: Any, wanted: str) -> None:
    if not fine:
        raise ValueError(f"{name}={str(value)[:80]!r}: {wanted} is needed.")


def without_nan(value: Any) -> Any:
    """A copy of plain values with NaN and infinities as None, and numbers of numpy as Python's own."""
    if isinstance(value, Mapping):
        return {str(name): without_nan(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(entry) for entry in value]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
