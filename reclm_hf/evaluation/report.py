"""The files of a report: Parquet tables hold everything, `report.md` and `report.svg` are rendered from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .beyond import BEYOND_COLUMNS
from .comparisons import COMPARISON_COLUMNS, Pairs, comparisons_table
from .rows import RESULT_COLUMNS, Row, results_table
from .statistics import DRAWS
from .strata import STRATA_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

NOTES = "notes.json"
"""The further sentences of a report, from which it is written anew; not there where a report has none."""

_COUNTS = ("n_seeds", "n_users", "n_targets", "n_candidates", "n_items", "place")
_WORDS = (
    *("dataset", "fingerprint", "split", "setting", "metric", "interval", "row", "kind", "backbone", "preset"),
    *("profile_mode", "reason", "family", "a", "b", "verdict", "by", "stratum"),
)
_ARROW = dict.fromkeys(_COUNTS, "int64") | dict.fromkeys(_WORDS, "string")


def write_report(
    folder: str | Path,
    rows: Sequence[Row],
    pairs: Pairs,
    *,
    dataset: str,
    fingerprint: str,
    beyond: pd.DataFrame | None = None,
    strata: pd.DataFrame | None = None,
    notes: Sequence[str] = (),
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compute both tables and write `results.parquet`, `comparisons.parquet`, `report.md` and `report.svg`.

    Args:
        folder: made if absent; each file appears whole or not at all.
        pairs: labels (a, b) to compare, or family -> such pairs; every one of them counts in the Holm correction of its
            family, so give only those asked.
        beyond, strata: from `beyond_table` and `strata_table`; each adds a section and is written as Parquet,
            `beyond.parquet` and `strata.parquet`.
        notes: further sentences for the end of the report.

    Returns:
        The results and the comparisons.
    """
    results = results_table(rows, dataset=dataset, fingerprint=fingerprint, draws=draws, seed=seed)
    comparisons = comparisons_table(rows, pairs, dataset=dataset, fingerprint=fingerprint, draws=draws, seed=seed)
    write_files(folder, results, comparisons, beyond=beyond, strata=strata, notes=notes, draws=draws)
    return results, comparisons


def write_files(
    folder: str | Path,
    results: pd.DataFrame,
    comparisons: pd.DataFrame,
    *,
    beyond: pd.DataFrame | None = None,
    strata: pd.DataFrame | None = None,
    notes: Sequence[str] = (),
    draws: int = DRAWS,
) -> None:
    """Write the files of a report from its tables, for example tables read back and joined.

    Those of an earlier report in the folder that this one does not have are removed.
    """
    from ..data.folder import write_json
    from ..data.tables import write_parquet
    from ..recommender.catalog import write_atomically
    from .forest_plot import render_svg
    from .report_text import render_markdown

    folder = Path(folder)
    texts = {
        "report.svg": render_svg(results),
        "report.md": render_markdown(results, comparisons, beyond=beyond, strata=strata, notes=notes, draws=draws),
    }
    tables = {
        "results": (results, RESULT_COLUMNS),
        "comparisons": (comparisons, COMPARISON_COLUMNS),
        "beyond": (beyond, BEYOND_COLUMNS),
        "strata": (strata, STRATA_COLUMNS),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*(f"{name}.parquet" for name, (table, _) in tables.items() if table is None), NOTES):
        (folder / name).unlink(missing_ok=True)
    for name, (table, columns) in tables.items():
        if table is not None:
            write_parquet(table, folder / f"{name}.parquet", _arrow_columns(columns))
    for name, text in texts.items():
        write_atomically(folder / name, partial(_write_text, text=text))
    if notes:
        write_json({"notes": list(notes)}, folder / NOTES)


def read_notes(folder: Path) -> list[str]:
    """The further sentences of the report in a folder; [] where it has none. Raises ValueError where broken."""
    path = folder / NOTES
    if not path.is_file():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["notes"]
        return [str(note) for note in found]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not hold the notes of a report: write the report again.") from error


def _arrow_columns(columns: Sequence[str]) -> dict[str, str]:
    return {name: _ARROW.get(name, "double") for name in columns}


def _write_text(path: str, text: str) -> None:
    Path(path).write_text(text, encoding="utf-8")
