"""`report.html`: one page without any request to elsewhere, from the tables of a folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.folder import write_text
from ..evaluation.plots import plain
from ..evaluation.report import read_notes
from ..evaluation.report_text import notes_section
from ..hub.records import read_record
from .extras import Extras
from .own import RESULTS, own_record, read_tables
from .published_section import published_section
from .run_sections import certificates_section, cost_section, curves_section, map_section, samples_section
from .sections import (
    Section,
    beyond_page,
    differences_section,
    how_to_read,
    results_section,
    strata_page,
)

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Environment

REPORT = "report.html"
_STRONG = re.compile(r"\*\*(better|worse)\*\*")
_LONGEST = 4000  # characters of one text in the page


def write_html(
    folder: str | Path,
    extras: Extras | None = None,
    *,
    record: Mapping[str, Any] | None = None,
    strict: bool = False,
) -> Path:
    """Write `report.html` beside the tables of a report, whole or not at all.

    A plot that cannot be made is named in the page with the reason, and the rest stands.

    Args:
        folder: with `results.parquet` and, if there, `comparisons.parquet`, `beyond.parquet`, `strata.parquet`,
            `published.parquet`, `notes.json` and `manifest.json`; those of other results are left aside.
        extras: what these do not hold; see `extras.gather`.
        record: the manifest to read cost and certificates from; None reads the folder's.
        strict: raise where a plot cannot be made.

    Returns:
        The path of the page.

    Raises:
        OSError, ValueError: `results.parquet` is missing, a table is broken, or the page cannot be written.
    """
    folder = Path(folder)
    if not (folder / RESULTS).is_file():
        raise FileNotFoundError(f"{folder} has no results.parquet: run `reclm evaluate` or `reclm demo` into it first.")
    tables, found = read_tables(folder), extras or Extras()
    if record is None:
        record = own_record(folder, read_record(folder / "manifest.json"), tables["results"])
    if not found.notes:
        found = replace(found, notes=read_notes(folder))
    write_text(render_html(tables, record, found, strict=strict), folder / REPORT)
    return folder / REPORT


def render_html(
    tables: Mapping[str, pd.DataFrame], record: Mapping[str, Any], extras: Extras, *, strict: bool = False
) -> str:
    """The whole page. Equal arguments give equal text.

    Args:
        tables: `results` and any other of `own.TABLES`, all of the same rows. record: a manifest, or {}.
    """
    results = tables["results"]
    _, *notes = notes_section(results, extras.notes)
    sections = [
        how_to_read(),
        results_section(results, strict),
        *([published_section(tables["published"])] if "published" in tables else []),
        differences_section(tables.get("comparisons"), strict),
        strata_page(tables.get("strata"), strict),
        beyond_page(tables.get("beyond"), results),
        curves_section(extras, strict),
        map_section(extras, strict),
        samples_section(extras),
        cost_section(record),
        certificates_section(record),
        Section("notes", "Notes", notes),
    ]
    first = results.iloc[0]
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=f"Results on {first['dataset']}, {first['split']} split",
            fingerprint=first["fingerprint"],
            data=_about(record.get("data") or {}),
            sections=sections,
        )
    )


def _about(data: Mapping[str, Any]) -> list[str]:
    """What the manifest says of the data, in sentences."""
    counts = ", ".join(f"{count:,} {name}" for name, count in (data.get("counts") or {}).items())
    licence = f"Licence of the data: {data['licence']}." if data.get("licence") else ""
    attribution = f"{data['attribution']}." if data.get("attribution") else ""
    return [text for text in (f"{counts}." if counts else "", licence, attribution) if text]


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(marked=_marked, cell=_cell, picture=_picture)
    return environment


def _shown(value: Any) -> Any:
    # Titles and ids are anybody's text. Markup is ours, and no plain string any more.
    return plain(value, _LONGEST) if type(value) is str else value


def _marked(text: str) -> Any:
    """Text with `code` in backticks, escaped."""
    from markupsafe import Markup, escape

    parts = plain(text, _LONGEST).split("`")
    if len(parts) % 2 == 0:
        return escape("`".join(parts))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


def _cell(text: str) -> Any:
    """A cell of a table: a verdict is strong, all else is plain."""
    from markupsafe import Markup, escape

    found = _STRONG.fullmatch(text)
    return Markup("<strong>{}</strong>").format(found[1]) if found else escape(plain(text, _LONGEST))


def _picture(svg: str) -> Any:
    """An SVG of `plots.to_svg`, which wrote it from elements and escaped all texts."""
    from markupsafe import Markup

    return Markup(svg)
