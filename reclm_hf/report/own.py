"""What in a folder is of its results: another command may have left its tables and its manifest there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.folder import file_sha256
from ..data.tables import read_parquet

if TYPE_CHECKING:
    import pandas as pd

RESULTS = "results.parquet"
TABLES = ("results", "comparisons", "beyond", "strata", "published")


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Name -> table: the results, and those others in the folder whose data and rows are those of the results.

    Raises:
        OSError, ValueError: a table is missing, which only the others may be, or broken.
    """
    results = read_parquet(folder / RESULTS)
    others = {name: read_parquet(path) for name in TABLES[1:] if (path := folder / f"{name}.parquet").is_file()}
    return {"results": results} | {name: table for name, table in others.items() if _is_of(name, table, results)}


def own_record(folder: Path, record: Mapping[str, Any], results: pd.DataFrame) -> Mapping[str, Any]:
    """The manifest of the folder, or {} where it is of other results than those that lie there now.

    Args:
        record: what `manifest.json` holds: of a run, or of a repository that was pulled. One that was written before
            manifests named their results counts as theirs where the data are the same.
    """
    files = record.get("files") or {}
    stated = record.get("results_sha256") or (files.get(RESULTS) or {}).get("sha256")
    if stated is not None:
        return record if stated == file_sha256(folder / RESULTS) else {}
    same = record.get("fingerprint") in (None, *results.get("fingerprint", ())[:1])
    return record if same else {}


def _is_of(name: str, table: pd.DataFrame, results: pd.DataFrame) -> bool:
    known = set(results["row"])
    rows = {row for column in ("row", "a", "b") if column in table.columns for row in table[column]}
    if not rows <= known:
        return False
    if name == "published":  # names no data, but repeats what the results hold
        return _repeats(table, results)
    return set(table["fingerprint"]) <= set(results["fingerprint"])


def _repeats(published: pd.DataFrame, results: pd.DataFrame) -> bool:
    """Whether each of our figures is that of the results."""
    places = ["row", "setting", "metric"]
    both = published.merge(results[[*places, "value"]], on=places, how="left")
    return bool(np.allclose(both["ours"], both["value"], rtol=0, atol=1e-9, equal_nan=True))
