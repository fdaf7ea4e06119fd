"""Repositories of profilers: what is fetched, how a folder's layout is told, and what is never read or written.

A repository stays plain. With the adapter layout it is PEFT's own (`adapter_config.json`, `adapter_model.safetensors`),
with the merged layout the base architecture's (`config.json`, safetensors), so that peft and transformers load it
without this package. `profiler_config.json` stands beside.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..bundles import BUNDLES, ResolvedModel, resolve_model, sha256_of
from .configuration_reclm_profiler import PROFILER_CONFIG, RecLMProfilerConfig

logger = logging.getLogger(__name__)

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
MANIFEST = "manifest.json"
REPOSITORY_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
"""What is ever fetched: weights as safetensors, settings and tokenizers. No code, no pickles, no subfolders."""

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
_READ = (
    "*config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "token*",
    "*tokens*.json",
    "vocab*",
    "merges.txt",
    "*.model",
    "*.jinja",
)
_WEIGHTS = ("model*.safetensors", "model*.safetensors.index.json", ADAPTER_WEIGHTS)


def fetch(
    source: str,
    revision: str | None = None,
    *,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    weights: bool = True,
) -> ResolvedModel:
    """A model's or adapter's files: a folder, the Hub or its cache at one commit, or a bundle that stands in.

    Where a `manifest.json` among them states hashes, as those of pushed repositories do, the files are compared.

    Args:
        weights: whether they are needed; without, only settings and tokenizer are fetched.

    Raises:
        OSError: nothing of that name could be found or fetched; says why and what to do.
        ValueError: a file differs from the manifest; names it.
        BundleError: neither could a bundle; see `resolve_model`.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    if Path(source).expanduser().is_dir():
        check_hashes(Path(source).expanduser())
        return ResolvedModel(source, None, str(Path(source).expanduser()))
    if source in BUNDLES and not (token or cache_dir or local_files_only):
        return resolve_model(source, revision)  # asks the Hub once and shortly
    try:
        folder = snapshot_download(
            source,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            allow_patterns=list(REPOSITORY_FILES),
            ignore_patterns=["*/*"] if weights else ["*/*", "*.safetensors"],
        )
    except HFValidationError as error:
        raise OSError(f"{source!r} is neither a folder nor a Hub id of the form owner/name") from error
    except OSError as error:
        if source in BUNDLES:
            return resolve_model(source, revision)
        reason = str(error).strip().splitlines()
        raise OSError(
            f"{source!r} could not be fetched ({type(error).__name__}: {reason[0] if reason else ''}); check the name, "
            "the revision, the network and, for a private one, the token, or pass the path of a folder"
        ) from error
    check_hashes(Path(folder))
    return ResolvedModel(source, Path(folder).name, folder)


def check_hashes(folder: Path) -> None:
    """Compare the files of a folder that are read with what its manifest states; without hashes there is nothing to do.

    Raises:
        ValueError: a file differs from the manifest, or is read and not stated; names it. Or the manifest is broken.
    """
    manifest = read_json(folder / MANIFEST) if (folder / MANIFEST).is_file() else {}
    if "files" not in manifest:
        return
    stated = manifest["files"]
    if not isinstance(stated, Mapping) or not all(isinstance(entry, Mapping) for entry in stated.values()):
        raise ValueError(f"{folder / MANIFEST}: 'files' does not hold names and hashes; fetch it again")
    absent = [name for name in stated if not (name.endswith(".safetensors") or (folder / name).is_file())]
    if any(_is_read(name) for name in absent):
        raise ValueError(f"{folder} lacks {min(filter(_is_read, absent))}, which {MANIFEST} states: fetch it again")
    for path in sorted(folder.iterdir()):
        if not _is_read(path.name) or not path.is_file():
            continue
        if path.name not in stated:
            raise ValueError(f"{path} is not among the files of {MANIFEST}: it was added since; fetch it again")
        if path.stat().st_size != stated[path.name].get("size") or sha256_of(path) != stated[path.name].get("sha256"):
            raise ValueError(
                f"{path} differs from what {MANIFEST} states: changed or cut off since it was pushed. Fetch it again; "
                f"or, where the change was meant, remove {MANIFEST}."
            )


def _is_read(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _READ)


def repository_files(found: ResolvedModel, token: str | bool | None = None) -> list[str]:
    """Names of all files of a fetched repository, for a message; empty for a folder, or where nobody can tell."""
    from huggingface_hub import list_repo_files

    if found.revision is None or found.bundle is not None:
        return []
    try:
        return list(list_repo_files(found.model_id, revision=found.revision, token=token))
    except (OSError, ValueError):
        return []


def read_config(found: ResolvedModel, base_model: str | None = None) -> RecLMProfilerConfig:
    """The configuration of a fetched profiler; a stock adapter and a plain model get the usual one.

    Args:
        base_model: takes the place of the base model that an adapter names.

    Raises:
        FileNotFoundError: there is nothing to tell by what it is.
        ValueError: a broken configuration, or one that names another base than the adapter.
    """
    folder = Path(found.path)
    if (folder / PROFILER_CONFIG).is_file():
        config = RecLMProfilerConfig.load(folder)
    elif (folder / ADAPTER_CONFIG).is_file():
        config = _of_stock_adapter(folder, base_model)
        logger.warning(
            "%s has no %s: a stock adapter on %s, read with the usual prompts; what it was tuned on is not known",
            found.model_id,
            PROFILER_CONFIG,
            config.base_model,
        )
    elif (folder / "config.json").is_file():
        of_hub = found.revision if found.bundle is None else None
        # Of a folder its name only: where it lies on this machine is nobody's business.
        name, label = (found.model_id, found.label) if found.revision is not None else (folder.resolve().name, "")
        config = RecLMProfilerConfig(name, of_hub, label, layout="merged", prompts={}, versions={})
        logger.info("%s has no %s: a model that was not tuned for profiles", found.model_id, PROFILER_CONFIG)
    else:
        raise FileNotFoundError(
            f"{found.model_id} is no profiler: it has neither {PROFILER_CONFIG} nor {ADAPTER_CONFIG} nor config.json"
        )
    if config.layout == "merged":
        return config
    if base_model is not None:
        return replace(config, base_model=base_model, base_revision=None, base_label="")
    if (folder / ADAPTER_CONFIG).is_file():
        _require_one_base(folder, config)
    return config


def _of_stock_adapter(folder: Path, base_model: str | None) -> RecLMProfilerConfig:
    settings = read_json(folder / ADAPTER_CONFIG)
    try:
        return RecLMProfilerConfig(
            base_model or settings.get("base_model_name_or_path") or "",
            settings.get("revision"),
            layout="adapter",
            prompts={},
            versions={},
        )
    except ValueError as error:
        raise ValueError(f"{folder / ADAPTER_CONFIG}: base_model_name_or_path and revision: {error}") from error


def require_weights(folder: Path, layout: str, names: Callable[[], Iterable[str]] = tuple) -> None:
    """Check that the files of a layout are there.

    Args:
        names: asked, where a file is missing, for all files of the repository, of which some were not fetched.

    Raises:
        FileNotFoundError: one is missing. ValueError: the weights are there as a pickle only, or an adapter stands
            beside a whole model.
    """
    if layout == "adapter":
        for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
            if not (folder / name).is_file():
                raise _missing(folder, name, names)
    else:
        if (folder / ADAPTER_CONFIG).is_file():
            raise ValueError(
                f"{folder} is to hold a whole model, and holds {ADAPTER_CONFIG} too: an adapter would change what is "
                "loaded; merge it, or remove that file"
            )
        if not (folder / "config.json").is_file():
            raise _missing(folder, "config.json", names)
        if not any(folder.glob("*.safetensors")):
            raise _missing(folder, "model.safetensors", names)


def _missing(folder: Path, name: str, names: Callable[[], Iterable[str]]) -> Exception:
    there = {path.name for path in folder.iterdir()} | set(names())
    pickles = sorted(entry for entry in there if any(fnmatchcase(entry, pattern) for pattern in _PICKLES))
    if name.endswith(".safetensors") and pickles:
        return ValueError(
            f"{folder} has its weights as {', '.join(pickles)}: pickles can run code and are not read; save them as "
            f"safetensors ({name})"
        )
    return FileNotFoundError(f"{folder / name} is missing: the folder does not hold a whole profiler")


def _require_one_base(folder: Path, config: RecLMProfilerConfig) -> None:
    named = read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    if named != config.base_model:
        raise ValueError(
            f"{folder}: {PROFILER_CONFIG} names the base model {config.base_model!r}, {ADAPTER_CONFIG} {named!r}; "
            "correct the one that is wrong, or pass base_model"
        )


def read_json(path: Path) -> dict[str, Any]:
    """Names and values of a JSON file. Raises ValueError where it is broken."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}): save or fetch it again") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds {type(values).__name__}, not names and values: save or fetch it again")
    return values


def write_folder(path: str | Path, write: Callable[[Path], None], *, layout: str) -> Path:
    """Let `write` fill a fresh folder, then move its files to `path`: no reader sees half a file.

    Files of other names that stand at `path`, a card or other tensors for instance, are left alone; weights of an
    earlier save go. `profiler_config.json` is the first to go and the last to come: a folder without it was not
    finished. A manifest that states hashes, of a repository that was pulled there, goes too: they would be old ones.

    Raises:
        FileExistsError: `path` holds a model of the other layout.
        OSError: it could not be written; names `path`.
    """
    path = Path(path)
    other = "config.json" if layout == "adapter" else ADAPTER_CONFIG
    if (path / other).exists():
        raise FileExistsError(f"{path} holds a model of another layout ({other}); choose another folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".saving-", dir=path))
        try:
            write(fresh)
            written = {entry.name for entry in fresh.iterdir()}
            (path / PROFILER_CONFIG).unlink(missing_ok=True)
            if (path / MANIFEST).is_file() and "files" in read_json(path / MANIFEST):
                (path / MANIFEST).unlink()
            for pattern in _WEIGHTS:
                for old in path.glob(pattern):
                    if old.name not in written:
                        old.unlink()
            for name in sorted(written, key=lambda name: (name == PROFILER_CONFIG, name)):
                os.replace(fresh / name, path / name)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise OSError(f"{path} could not be written ({error}): free some space or choose another folder") from error
    return path
