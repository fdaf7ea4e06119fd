"""What a manifest says of one configuration of a data set repository."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def config_entry(
    place: Path, name: str, parts: Mapping[str, str], columns: Mapping[str, str] | None = None, default: bool = False
) -> dict[str, Any]:
    """One entry of `details.configs`: what `load_dataset(repo, name)` reads.

    Args:
        parts: split -> Parquet file below `place`. columns: name -> Arrow type; None: as the first file has them.
        default: whether it is what `load_dataset(repo)` reads; without one, that asks for a name.

    Returns:
        `config_name`, `data_files`, `rows` (of all splits), `splits` (their rows), `columns` and, if so, `default`.
    """
    import pyarrow.parquet as pq

    files = {split: pq.read_metadata(place / path) for split, path in parts.items()}
    rows = {split: int(found.num_rows) for split, found in files.items()}
    if columns is None:
        columns = {field.name: str(field.type) for field in next(iter(files.values())).schema.to_arrow_schema()}
    return {
        "config_name": name,
        "data_files": [{"split": split, "path": path} for split, path in parts.items()],
        "rows": sum(rows.values()),
        "splits": rows,
        "columns": dict(columns),
        **({"default": True} if default else {}),
    }
