"""`manifest.json` beside a recommender: the hashes of its files, written last and compared before anything is loaded.

A manifest may hold more, such as inputs and figures, which others write and read; only `format`, `kind`, `files` and
`config_sha256` are this module's. It imports no other part of the package, because it travels with the custom code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .files import write_atomically

MANIFEST = "manifest.json"
FORMAT = 1
KIND = "recommender"
CONFIG_FILE = "config.json"
_LIMIT = 16 * 2**20  # bytes: a manifest is read whole before anything of it is trusted
_WAY_OUT = "fetch it again, or save the model again where the change was meant"


def entries(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Name -> `sha256` and `size` (bytes) of the files of a folder."""
    return {name: _entry(folder / name) for name in sorted(names)}


def begin(folder: Path) -> dict[str, Any]:
    """Before the files of a folder change: its manifest, which is taken away if it states hashes.

    A save that is cut off then leaves a folder that states nothing, instead of one that states old hashes.

    Raises:
        ValueError: the manifest is broken.
    """
    content = read_manifest(folder / MANIFEST)
    if "files" in content:
        (folder / MANIFEST).unlink()
    return content


def write_manifest(folder: Path, names: Iterable[str], before: Mapping[str, Any] | None = None) -> None:
    """State the hashes of these files in the folder's manifest.

    Args:
        before: what the manifest said, see `begin`. Of a run, or of the same weights, all else in it stays; figures of
            other weights do not. None: what stands there stays.

    Raises:
        ValueError: the manifest there is broken. OSError: it could not be written.
    """
    files = entries(folder, names)
    kept = dict(read_manifest(folder / MANIFEST) if before is None else before)
    if before is not None and "files" in before and _weights(before["files"]) != _weights(files):
        kept = {}
    content = {"repo_id": "", **kept, "format": FORMAT, "kind": KIND, "files": files}  # no repository before a push
    content["config_sha256"] = files.get(CONFIG_FILE, {}).get("sha256")
    _write(content, folder)


def _weights(files: Any) -> dict[str, Any]:
    named = files if isinstance(files, dict) else {}
    return {name: entry for name, entry in named.items() if fnmatchcase(name, "model*.safetensors")}


def renew_hashes(folder: Path, names: Iterable[str]) -> None:
    """State these files anew where the folder's manifest states hashes; nothing happens where it does not."""
    content = read_manifest(folder / MANIFEST)
    if "files" in content:
        _write({**content, "files": {**stated_files(content, folder / MANIFEST), **entries(folder, names)}}, folder)


def read_manifest(path: Path) -> dict[str, Any]:
    """The content of a manifest; empty where there is none.

    Raises:
        ValueError: it is no JSON object, or too large to be one of ours.
    """
    if not path.is_file():
        return {}
    if path.stat().st_size > _LIMIT:
        raise ValueError(f"{path} is larger than {_LIMIT // 2**20} MiB: no manifest of ours is; {_WAY_OUT}")
    return read_object(path)


def read_object(path: Path) -> dict[str, Any]:
    """Names and values of a JSON file. Raises ValueError where it is broken."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}): {_WAY_OUT}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {type(content).__name__}, not names and values: {_WAY_OUT}")
    return content


def stated_files(content: Mapping[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    """The part `files` of a manifest. Raises ValueError, naming the entry, where it means nothing."""
    files = content["files"]
    if not isinstance(files, dict):
        raise ValueError(f"{path}: 'files' holds {type(files).__name__}, not names and hashes; {_WAY_OUT}")
    for name, entry in files.items():
        known = isinstance(entry, dict) and isinstance(entry.get("sha256"), str) and isinstance(entry.get("size"), int)
        if not known:
            raise ValueError(f"{path}: files[{name!r}] lacks sha256 or size; {_WAY_OUT}")
    return files


def check_files(manifest: Path | None, files: Mapping[str, Path]) -> None:
    """Compare the files that are about to be loaded with what their manifest states.

    Nothing is compared without a manifest, or with one that states no files: models saved by earlier versions, and
    runs, have such.

    Args:
        manifest: where the manifest lies, or None. files: name in it -> where the file lies.

    Raises:
        ValueError: a file differs in size or hash, or is not stated; names it. Or the manifest is broken.
        FileNotFoundError: a file is missing; names it.
    """
    content = {} if manifest is None else read_manifest(manifest)
    if manifest is None or "files" not in content:
        return
    stated = stated_files(content, manifest)
    for name, path in files.items():
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: {_WAY_OUT}")
        if name not in stated:
            raise ValueError(f"{path} is not among the files of {MANIFEST}: it was added since; {_WAY_OUT}")
        size, expected = path.stat().st_size, stated[name]["size"]
        if size != expected:
            raise ValueError(f"{path} has {size} bytes, {MANIFEST} says {expected}: changed or cut off; {_WAY_OUT}")
        if _sha256(path) != stated[name]["sha256"]:
            raise ValueError(f"{path} has another SHA-256 than {MANIFEST} says: it was changed since; {_WAY_OUT}")


def _entry(path: Path) -> dict[str, Any]:
    return {"sha256": _sha256(path), "size": path.stat().st_size}


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(content: Mapping[str, Any], folder: Path) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomically(folder / MANIFEST, lambda path: Path(path).write_text(text, encoding="utf-8"))
