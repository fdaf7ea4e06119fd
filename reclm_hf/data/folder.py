"""A data set as a folder: `items.parquet`, `interactions.parquet` and `dataset.json`, which says what they are.

On the Hub the interactions are divided by split, `interactions/train.parquet` and so on; such a folder is read alike.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .interactions import Interactions
from .tables import INTERACTION_COLUMNS, ITEM_COLUMNS, SPLIT_NAMES, TableError, read_parquet, write_parquet

if TYPE_CHECKING:
    import pandas as pd

ITEMS_FILE = "items.parquet"
INTERACTIONS_FILE = "interactions.parquet"
INFO_FILE = "dataset.json"
PART_FILES = {part: f"interactions/{part}.parquet" for part in ("train", "validation", "test")}
_FORMAT = 1
_log = logging.getLogger(__name__)


def write_dataset(
    data: Interactions,
    folder: str | Path,
    info: Mapping[str, Any] | None = None,
    parts: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Write both tables, then `dataset.json` as the last file: where it stands, the tables are whole.

    Args:
        info: what is known about the data: `licence`, `attribution`, `source`, `test_cut` (int64 microseconds UTC), ...
        parts: train, validation and test -> [n] bool, its rows: a table for each instead of one for all.

    Returns:
        The content of `dataset.json`: `info` with name, rating rule, counts, fingerprint and the files' SHA-256.

    Raises:
        TableError: a file could not be written (disk full, no permission).
    """
    folder = Path(folder)
    write_parquet(data.items, folder / ITEMS_FILE, ITEM_COLUMNS)
    rows = interaction_table(data)
    columns = {name: kind for name, kind in INTERACTION_COLUMNS.items() if name in rows.columns}
    chosen = {INTERACTIONS_FILE: slice(None)} if parts is None else _by_file(parts)
    for name, kept in chosen.items():
        write_parquet(rows[kept], folder / name, columns)
    content = {
        "format": _FORMAT,
        "name": data.name,
        **(info or {}),
        "min_rating": data.min_rating,
        "counts": {"users": data.n_users, "items": data.n_items, "interactions": len(data.user)},
        "fingerprint": data.fingerprint(),
        "sha256": {name: file_sha256(folder / name) for name in (ITEMS_FILE, *chosen)},
    }
    write_json(content, folder / INFO_FILE)
    return content


def _by_file(parts: Mapping[str, np.ndarray]) -> dict[str, Any]:
    if set(parts) != set(PART_FILES) or not (np.sum(list(parts.values()), axis=0) == 1).all():
        raise ValueError(f"parts: give masks for {', '.join(PART_FILES)} that hold every row once.")
    return {name: parts[part] for part, name in PART_FILES.items()}


def read_dataset(folder: str | Path) -> tuple[Interactions, dict[str, Any]]:
    """Read a folder written by `write_dataset`, or made by hand: `dataset.json` is optional.

    Returns:
        The interactions, and the content of `dataset.json` (empty where there is none).

    Raises:
        TableError: a table is absent, broken or invalid.
    """
    folder = Path(folder)
    info = read_info(folder)
    for name, expected in info.get("sha256", {}).items():
        if (folder / name).is_file() and file_sha256(folder / name) != expected:
            _log.warning("%s: differs from the file that %s describes; it was changed since.", folder / name, INFO_FILE)
    name = str(info.get("name", folder.resolve().name))
    items, interactions = read_parquet(folder / ITEMS_FILE), read_interactions(folder)
    data = Interactions.from_tables(items, interactions, name)
    # The rating rule was applied when the folder was written; it belongs to the fingerprint all the same.
    return replace(data, min_rating=info.get("min_rating")), info


def read_interactions(folder: Path) -> pd.DataFrame:
    """The interactions of a folder, in one file or divided by split; to divide them loses nothing, not even order.

    Raises:
        TableError: a file is absent or broken; of a divided table no part may be missing.
    """
    import pandas as pd

    parts = [folder / name for name in PART_FILES.values()]
    if (folder / INTERACTIONS_FILE).is_file() or not any(part.is_file() for part in parts):
        return read_parquet(folder / INTERACTIONS_FILE, categorical=("user_id", "item_id", "split"))
    return pd.concat([read_parquet(part) for part in parts], ignore_index=True)


def read_info(folder: Path) -> dict[str, Any]:
    """The content of `dataset.json`; empty where the file is absent.

    Raises:
        TableError: the file is not a JSON object.
    """
    path = folder / INFO_FILE
    if not path.is_file():
        return {}
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TableError(f"{path}: is not JSON ({error}). Repair it, or remove it to do without.") from error
    if not isinstance(info, dict):
        raise TableError(f"{path}: holds {type(info).__name__}, not an object. Repair it, or remove it to do without.")
    return info


def interaction_table(data: Interactions) -> pd.DataFrame:
    """The interactions as a frame in order of time: `user_id`, `item_id` and, where known, `timestamp` and `split`."""
    import pandas as pd

    columns: dict[str, Any] = {"user_id": data.user_ids[data.user], "item_id": data.item_ids[data.item]}
    if data.timestamp is not None:
        columns["timestamp"] = pd.to_datetime(data.timestamp, unit="us", utc=True)
    if data.in_test is not None:
        train, test = SPLIT_NAMES
        columns["split"] = [test if given else train for given in data.in_test]
    return pd.DataFrame(columns)


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write JSON atomically; what JSON does not know (paths, times) is written as text. Raises as `write_text`."""
    write_text(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n", path)


def write_text(text: str, path: Path) -> None:
    """Write UTF-8 atomically, line ends as they are.

    Raises:
        TableError: the file could not be written; nothing half-written is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise TableError(f"{path}: could not be written ({error.strerror or error}). Free some space.") from error


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
