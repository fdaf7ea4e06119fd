"""The files of a report: two Parquet tables hold everything, `report.md` and `report.svg` are rendered from them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .rows import COMPARISON_COLUMNS, RESULT_COLUMNS, Row, comparisons_table, results_table
from .statistics import DRAWS

if TYPE_CHECKING:
    import pandas as pd

_COUNTS = ("n_seeds", "n_users", "n_targets", "n_candidates")
_WORDS = (
    *("dataset", "fingerprint", "split", "setting", "metric", "interval", "row", "kind", "backbone", "preset"),
    *("profile_mode", "reason", "a", "b", "verdict"),
)
_ARROW = dict.fromkeys(_COUNTS, "int64") | dict.fromkeys(_WORDS, "string")


def write_report(
    folder: str | Path,
    rows: Sequence[Row],
    pairs: Sequence[tuple[str, str]],
    *,
    dataset: str,
    fingerprint: str,
    notes: Sequence[str] = (),
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compute both tables and write `results.parquet`, `comparisons.parquet`, `report.md` and `report.svg`.

    Args:
        folder: made if absent; each file appears whole or not at all.
        pairs: labels (a, b) to compare; every one of them counts in the Holm correction, so give only those asked.
        notes: further sentences for the end of the report.

    Returns:
        The results and the comparisons.
    """
    results = results_table(rows, dataset=dataset, fingerprint=fingerprint, draws=draws, seed=seed)
    comparisons = comparisons_table(rows, pairs, dataset=dataset, fingerprint=fingerprint, draws=draws, seed=seed)
    write_files(folder, results, comparisons, notes=notes, draws=draws)
    return results, comparisons


def write_files(
    folder: str | Path,
    results: pd.DataFrame,
    comparisons: pd.DataFrame,
    *,
    notes: Sequence[str] = (),
    draws: int = DRAWS,
) -> None:
    """Write the four files of a report from its two tables, for example tables read back and joined."""
    from ..data.tables import write_parquet
    from ..recommender.catalog import write_atomically
    from .forest_plot import render_svg
    from .report_text import render_markdown

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_parquet(results, folder / "results.parquet", _arrow_columns(RESULT_COLUMNS))
    write_parquet(comparisons, folder / "comparisons.parquet", _arrow_columns(COMPARISON_COLUMNS))
    texts = {
        "report.svg": render_svg(results),
        "report.md": render_markdown(results, comparisons, notes=notes, draws=draws),
    }
    for name, text in texts.items():
        write_atomically(folder / name, partial(_write_text, text=text))


def _arrow_columns(columns: Sequence[str]) -> dict[str, str]:
    return {name: _ARROW.get(name, "double") for name in columns}


def _write_text(path: str, text: str) -> None:
    Path(path).write_text(text, encoding="utf-8")
