"""The configurations of a dataset repository, told by the files that its manifest lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..data.tables import (
    INSTRUCTION_COLUMNS,
    INTERACTION_COLUMNS,
    ITEM_COLUMNS,
    ITEM_PROFILE_COLUMNS,
    PREFERENCE_COLUMNS,
    PROFILE_COLUMNS,
)
from ..evaluation.beyond import BEYOND_COLUMNS
from ..evaluation.comparisons import COMPARISON_COLUMNS
from ..evaluation.rows import RESULT_COLUMNS
from ..evaluation.strata import STRATA_COLUMNS
from .card_format import is_number

DEFAULTS = ("items", "results")
"""What `load_dataset(repo)` opens without a name."""

_SCHEMAS: dict[str, Iterable[str]] = {
    "items": ITEM_COLUMNS,
    "interactions": INTERACTION_COLUMNS,
    "user_profiles": PROFILE_COLUMNS,
    "item_profiles": ITEM_PROFILE_COLUMNS,
    "instructions": INSTRUCTION_COLUMNS,
    "preferences": PREFERENCE_COLUMNS,
    "results": RESULT_COLUMNS,
    "comparisons": COMPARISON_COLUMNS,
    "strata": STRATA_COLUMNS,
    "beyond": BEYOND_COLUMNS,
}
_ORDER = tuple(_SCHEMAS)
_CONFIG = re.compile(r"[a-z]\w{0,60}", re.ASCII)
_SPLIT = re.compile(r"\w{1,60}", re.ASCII)
# config/split.parquet, config/split-00000-of-00002.parquet, config/split/part.parquet, config-split.parquet
_FOLDER = re.compile(r"(?P<config>[a-z]\w*)/(?P<split>\w+)(?P<shard>-\d+-of-\d+)?\.parquet", re.ASCII)
_DEEP = re.compile(r"(?P<config>[a-z]\w*)/(?P<split>\w+)/[\w.-]+\.parquet", re.ASCII)
_FLAT = re.compile(r"(?P<config>[a-z]\w*?)(-(?P<split>train|validation|test))?\.parquet", re.ASCII)


@dataclass(frozen=True)
class DataConfig:
    """One configuration: `splits` are split -> path or pattern of its files; rows and columns where they are known."""

    name: str
    splits: Mapping[str, str]
    rows: int | None
    columns: tuple[str, ...]
    default: bool

    def front_matter(self) -> dict[str, Any]:
        """As the Hub wants it in `configs`."""
        files = [{"split": split, "path": path} for split, path in self.splits.items()]
        return {"config_name": self.name, "data_files": files} | ({"default": True} if self.default else {})


def data_configs(manifest: Mapping[str, Any]) -> list[DataConfig]:
    """The configurations, in the order of a data folder and the default one marked.

    `details.configs` says which files they have; where it does not, the names of the files do.
    """
    files = manifest.get("files") or {}
    said = {name: entry for name, entry in _said(manifest).items() if _CONFIG.fullmatch(name)}
    told = {name: _told(entry, files) for name, entry in said.items()}
    found = {name: splits for name, splits in told.items() if splits} or _by_names(files)
    names = sorted(found, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
    default = next((name for name in DEFAULTS if name in found), names[0] if names else None)
    return [
        DataConfig(name, found[name], _rows(said.get(name, {})), _columns(name, said.get(name, {})), name == default)
        for name in names
    ]


def _told(entry: Mapping[str, Any], files: Mapping[str, Any]) -> dict[str, str]:
    """Split -> file as an entry of `details.configs` says, as far as the manifest lists the files."""
    parts = entry.get("data_files")
    pairs = [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []
    known = {str(part.get("split")): str(part.get("path")) for part in pairs if part.get("path") in files}
    return {split: known[split] for split in sorted(known, key=split_place) if _SPLIT.fullmatch(split)}


def _by_names(files: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Configuration -> split -> file or pattern, as the names of the files say."""
    found: dict[str, dict[str, set[str]]] = {}
    for name in sorted(files):
        part = _FOLDER.fullmatch(name) or _DEEP.fullmatch(name) or _FLAT.fullmatch(name)
        if part is not None:
            groups = part.groupdict()
            found.setdefault(groups["config"], {}).setdefault(groups["split"] or "train", set()).add(name)
    return {
        name: {split: _path(splits[split]) for split in sorted(splits, key=split_place)}
        for name, splits in found.items()
    }


def most_rows(manifest: Mapping[str, Any]) -> int | None:
    """Rows of the longest configuration; None where no count is known."""
    counts = ((manifest.get("data") or {}).get("counts") or {}).get("interactions")
    known = [config.rows for config in data_configs(manifest) if config.rows is not None]
    return max(known, default=counts if is_number(counts) and manifest["kind"] == "tables" else None)


def _path(paths: set[str]) -> str:
    """The file of a split, or the pattern of its shards."""
    if len(paths) == 1:
        return next(iter(paths))
    first = min(paths)
    return f"{first.rsplit('/', 1)[0]}/*.parquet" if _DEEP.fullmatch(first) else f"{first.split('-')[0]}-*.parquet"


def split_place(split: str) -> tuple[int, str]:
    """Orders splits as they follow each other in time."""
    order = ("train", "validation", "validation, items", "test", "test, items")
    return (order.index(split) if split in order else len(order), split)


def _said(manifest: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What `details.configs` says of each configuration; a mapping by name, or a list with the names in it."""
    said = (manifest.get("details") or {}).get("configs") or {}
    if isinstance(said, Mapping):
        return {str(name): entry for name, entry in said.items() if isinstance(entry, Mapping)}
    entries = [entry for entry in said if isinstance(entry, Mapping)] if isinstance(said, list) else []
    return {str(entry.get("config_name", entry.get("name"))): entry for entry in entries}


def _rows(said: Mapping[str, Any]) -> int | None:
    rows = said.get("rows")
    return int(rows) if isinstance(rows, int | float) and is_number(rows) else None


def _columns(name: str, said: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns in the order of their schema; the keys of a manifest have none."""
    columns = said.get("columns") or ()
    names = [str(column) for column in columns] if isinstance(columns, Mapping | list | tuple) else []
    order = list(_SCHEMAS.get(name, ()))
    return tuple(sorted(names, key=lambda column: (order.index(column) if column in order else len(order), column)))
