"""Configurations on their way out: models named by Hub id and commit, never by where files lie on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.folder import write_json
from ..profiler.configuration_reclm_profiler import PROFILER_CONFIG
from ..profiler.files import ADAPTER_CONFIG
from .manifest import input_entry
from .records import is_hub_id, nameless, read_record, repository_input

if TYPE_CHECKING:
    from .staging import PushOptions

REWARD_CONFIG = "reward_config.json"
_FROM_DISK = ("_name_or_path", "name_or_path", "_commit_hash")
"""Keys by which libraries note where files lay when they were loaded."""


def clean_config(source: Path, name: str) -> dict[str, Any]:
    """The content of a configuration without the places on this machine that libraries note in it."""
    config = read_record(source / name)
    return {key: value for key, value in config.items() if key not in _FROM_DISK}


def write_changed(config: Mapping[str, Any], source: Path, place: Path, name: str) -> None:
    """Write a configuration where it differs from the one that was taken: otherwise its bytes stay."""
    if config != json.loads((source / name).read_text(encoding="utf-8")):
        write_json(config, place / name)


def rebase_adapter(source: Path, place: Path, options: PushOptions) -> dict[str, Any]:
    """Let the configurations of an adapter name its base model by Hub id; returns the entry of the manifest.

    Raises:
        ValueError: nobody else could find the base model.
    """
    adapter = read_record(source / ADAPTER_CONFIG)
    named, revision = str(adapter.get("base_model_name_or_path") or ""), adapter.get("revision")
    if options.base_model is None:
        if not is_hub_id(named):
            raise ValueError(
                f"{source}: the adapter belongs on {named or 'a model that it does not name'}, which is no Hub id, so "
                f"nobody else could load it. Push that model first (`reclm push {named or 'MODEL'} ORG/BASE`), then "
                "this one with --base-model ORG/BASE."
            )
        return _hub_entry(named, revision, _base_label(source))
    entry = repository_input("base_model", options.base_model)
    adapter |= {"base_model_name_or_path": entry["repo_id"], "revision": entry["revision"]}
    write_changed(adapter, source, place, ADAPTER_CONFIG)
    for name in (PROFILER_CONFIG, REWARD_CONFIG):
        _name_base(source, place, name, entry)
    return entry


def rename_base(source: Path, place: Path, name: str, options: PushOptions) -> dict[str, Any] | None:
    """Of a whole model: name what it was made from by Hub id where one is known, else by its folder's name."""
    config = read_record(source / name)
    if options.base_model is not None:
        entry = repository_input("base_model", options.base_model)
        _name_base(source, place, name, entry)
        return entry
    if not config:
        return None
    named = str(config.get("base_model", ""))
    if is_hub_id(named):
        return _hub_entry(named, config.get("base_revision"), str(config.get("base_label") or ""))
    config["base_model"] = Path(named).name
    write_changed(config, source, place, name)
    return input_entry("base_model", config.get("base_label") or config["base_model"])


def _name_base(source: Path, place: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Put the base model's id and commit into one of our configurations, if it is there."""
    config = read_record(source / name)
    if not config:
        return
    config |= {"base_model": entry["repo_id"], "base_revision": entry["revision"], "base_label": _pinned(entry)}
    write_changed(config, source, place, name)


def _hub_entry(repo_id: str, revision: Any, label: str) -> dict[str, Any]:
    """A base model on the Hub; its label is its name unless a push wrote it, which says nothing more."""
    known = revision if isinstance(revision, str) and len(revision) == 40 else None
    entry = input_entry("base_model", repo_id, repo_id, known)
    return entry if label in ("", _pinned(entry)) else {**entry, "name": label}


def _pinned(entry: Mapping[str, Any]) -> str:
    return f"{entry['repo_id']}@{entry['revision']}" if entry["revision"] else str(entry["repo_id"])


def _base_label(source: Path) -> str:
    found = read_record(source / PROFILER_CONFIG) or read_record(source / REWARD_CONFIG)
    return str(nameless(found.get("base_label") or ""))
