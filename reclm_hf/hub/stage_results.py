"""Tables of results, and their report, as a data set repository."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.folder import write_json, write_text
from ..data.tables import read_parquet, write_parquet
from ..evaluation.report import NOTES, read_notes
from .dataset_configs import config_entry
from .manifest import new_manifest
from .records import (
    FIGURE_COLUMNS,
    RESULTS,
    data_of,
    is_place,
    nameless,
    of_seed,
    repository_input,
    run_record,
    with_earlier,
)

if TYPE_CHECKING:
    import pandas as pd

    from .staging import PushOptions

_REPORTS = ("report.md", "report.svg", "published.md")
_MEAN_USER = " (mean user)"
_LEFT_OUT = "left out where results are shared; the folder of the run has it"


def stage_results(source: Path, place: Path, repo_id: str, options: PushOptions) -> dict[str, Any]:
    """Bring the tables of an evaluation and its report into the empty folder `place`.

    Rows that are named by a folder of this machine are named by the run instead, in the report as well. The page with
    plots is made anew from the tables, so that no single person's profile travels with results.

    Args:
        source: a folder with `results.parquet`, of `reclm evaluate`, `reclm demo` or `reclm reproduce`.

    Returns:
        The manifest without `files`.

    Raises:
        ValueError: `results.parquet` is no table of results, or two folders would have one name.
    """
    from ..report.extras import Extras
    from ..report.own import own_record, read_tables
    from ..report.page import REPORT, write_html

    _require_results(read_parquet(source / RESULTS), source / RESULTS)
    tables = read_tables(source)
    results = tables["results"]
    record = own_record(source, run_record(source), results)
    names = _row_names(results["row"])
    _take_results(source, place, tables, names)
    figures = results[list(FIGURE_COLUMNS)].assign(row=[_renamed(row, names) for row in results["row"]])
    settings = nameless(record.get("options", {}))
    verdicts = tables["comparisons"]["verdict"].value_counts() if "comparisons" in tables else {}
    manifest = new_manifest(
        "results",
        repo_id,
        inputs=[repository_input("tables", options.tables)] if options.tables else [],
        seed=of_seed((settings.get("seed"),)),
        settings=settings,
        versions=record.get("versions", {}),
        cost={"seconds": record["seconds"]} if "seconds" in record else {},
        data=data_of(record),
        profiles=record.get("profiles", {}),
        certificates=record.get("certificates", []),
        figures=figures.to_dict("records"),
        test_opened=record.get("test_opened"),
        details={
            "configs": [
                config_entry(place, name, {"train": f"{name}.parquet"}, default=name == "results") for name in tables
            ],
            "verdicts": {str(verdict): int(number) for verdict, number in dict(verdicts).items()},
        },
    )
    found = with_earlier(source, manifest)
    found = {
        **found,
        "data": found["data"] or _data(results),
        "test_opened": _opened(results, found["test_opened"]),
        "title": options.title or found["title"],
        "license": options.license or found["license"],
    }
    if (source / REPORT).is_file():
        write_html(place, Extras(missing=dict.fromkeys(("curves", "map", "samples"), _LEFT_OUT)), record=found)
    return found


def _require_results(results: pd.DataFrame, file: Path) -> None:
    missing = [name for name in (*FIGURE_COLUMNS, "fingerprint") if name not in results.columns]
    if missing or not len(results):
        lack = ", ".join(missing) or "rows"
        raise ValueError(f"{file}: no table of results, it lacks {lack}. `reclm evaluate` writes one.")


def _data(results: pd.DataFrame) -> dict[str, Any]:
    """What the rows say of the data, for results whose run left no manifest."""
    first = results.iloc[0]
    return {"dataset": first["dataset"], "fingerprint": first["fingerprint"], "cuts": {}, "counts": {}}


def _opened(results: pd.DataFrame, said: str | None) -> str | None:
    if said in (None, "no") and (results["split"] == "test").any():
        return "by `reclm evaluate`, after training"
    return said


def _row_names(rows: pd.Series) -> dict[str, str]:
    """Rows that are places on this machine -> what they are called elsewhere: `runs/NAME/model` is NAME."""
    places = [row for row in map(str, rows.drop_duplicates()) if is_place(row.removesuffix(_MEAN_USER))]
    names: dict[str, str] = {}
    for row in sorted({row.removesuffix(_MEAN_USER) for row in places}, key=len, reverse=True):
        path = Path(row).expanduser().resolve()
        name = path.parent.name if path.name == "model" else path.name
        if name in names.values() or name in set(rows):
            raise ValueError(f"two rows of {RESULTS} would be called {name!r}: evaluate {row} under another name.")
        names[row] = name
    return names


def _renamed(text: str, names: Mapping[str, str]) -> str:
    for place, name in names.items():
        text = text.replace(place, name)
    return text


def _take_results(source: Path, place: Path, tables: Mapping[str, pd.DataFrame], names: Mapping[str, str]) -> None:
    from .staging import take

    wanted = [name for name in _REPORTS if "published" in tables or name != "published.md"]
    reports = [name for name in wanted if (source / name).is_file()]
    notes = read_notes(source)
    if not names:
        take(source, place, [*(f"{name}.parquet" for name in tables), *reports, *([NOTES] if notes else [])])
        return
    if notes:
        write_json({"notes": [_renamed(note, names) for note in notes]}, place / NOTES)
    for name, table in tables.items():
        texts = {column: table[column] for column in ("row", "a", "b", "reason") if column in table.columns}
        kept = {
            column: [_renamed(value, names) if isinstance(value, str) else value for value in values]
            for column, values in texts.items()
        }
        write_parquet(table.assign(**kept), place / f"{name}.parquet")
    for name in reports:
        write_text(_renamed((source / name).read_text(encoding="utf-8"), names), place / name)
