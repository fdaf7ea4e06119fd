"""The sections of a page: what is shown at once, and the tables behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..evaluation.forest_plot import render_svg, shown_settings
from ..evaluation.report_blocks import Block, Bullets, Heading, Paragraph, Table
from ..evaluation.report_format import PRIMARY, SHORT, TITLES, interval_cell, ordered_settings, sort_rows
from ..evaluation.report_sections import beyond_section, comparison_section, strata_section
from ..evaluation.report_text import setting_section
from .figure_differences import comparison_svg, strata_svg
from .figures import WIDTH, Picture, draw

if TYPE_CHECKING:
    import pandas as pd

    from .samples import Sample

NOT_KEPT = "not kept by this run"


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: its id. text: shown at once. pictures: side by side where there is room; layout: `pictures` in lines,
            `large` ones, or `stacked` in columns where heights differ. samples: profiles to show.
        details: (what is behind it, blocks) to be opened.
    """

    anchor: str
    title: str
    text: Sequence[Block] = ()
    pictures: Sequence[Picture] = ()
    samples: Sequence[Sample] = ()
    details: Sequence[tuple[str, Sequence[Block]]] = ()
    layout: str = "pictures"


def how_to_read() -> Section:
    """The words that the rest of the page uses."""
    lines = [
        "recall@20: of what people went on to choose, the share that stood among their first twenty recommendations. "
        "A point is a row's mean over people, a line its 95 % interval: another sample of people, or of items, would "
        "most likely have given a value in it.",
        "Catalogue: all items are ranked together, the test of daily use; warm and new count only the targets that "
        "had, or had not, been chosen by anybody before. Zero-shot: only new items are ranked.",
        "Floors are simple methods without a language model. The dashed line is the best of them: what stays left of "
        "it adds nothing.",
        "A hollow circle is a backbone without profiles, a filled one the same backbone with them. Hollow triangles "
        "are placebos, profiles that carry less than the real ones: drawn at random, the mean one, another person's, "
        "the plain texts of the person's own items, or written without titles. A gain that a placebo has too is not "
        "the real profile's. Diamonds are models that rank alike for everybody. In the plots of differences, filled "
        "triangles mark `better` and `worse`.",
        "Compare pairs by their differences, which are paired and far less uncertain than the rows: `better` and "
        "`worse` are said only where both intervals and a test corrected for the number of questions (Holm) agree. "
        "`not shown` is no proof of equality.",
    ]
    return Section("how", "How to read this", [Bullets(lines)])


def results_section(results: pd.DataFrame, strict: bool) -> Section:
    """A forest plot and a table for each setting."""
    pictures = [
        draw(
            f"the rows of {SHORT.get(setting, setting)}",
            f"{TITLES.get(setting, setting)}.",
            partial(render_svg, results, [setting], WIDTH, f"forest-{place}"),
            strict,
        )
        for place, setting in enumerate(shown_settings(results))
    ]
    details = []
    for setting in ordered_settings(results):
        heading, *blocks = setting_section(results, setting)
        details.append((_text(heading), blocks))
    first = "The best row of each kind. It is flattered by having been looked for; the differences below were not."
    return Section(
        "results",
        "Base and augmented, floors and placebo",
        [Paragraph(first), _best(results)],
        pictures,
        details=details,
        layout="large",
    )


def differences_section(comparisons: pd.DataFrame | None, strict: bool) -> Section:
    """A plot of each family of comparisons in each setting, and their tables."""
    title = "Differences and verdicts"
    if comparisons is None:
        return Section("differences", title, [Paragraph(f"Comparisons: {NOT_KEPT}.")])
    _, *blocks = comparison_section(comparisons)
    pictures: list[Picture] = []
    for family in dict.fromkeys(comparisons["family"]):
        for setting in dict.fromkeys(comparisons[comparisons["family"] == family]["setting"]):
            make = partial(comparison_svg, comparisons, family, setting, f"difference-{len(pictures)}")
            pictures.append(draw(f"{family}, {SHORT.get(setting, setting)}", "", make, strict))
    if not pictures:
        return Section("differences", title, blocks)
    tables = [("All comparisons as tables", blocks[1:])]
    text = [*blocks[:1], Paragraph("Each picture has its own scale: read its numbers before comparing lengths.")]
    return Section("differences", title, text, pictures, details=tables, layout="stacked")


def strata_page(strata: pd.DataFrame | None, strict: bool) -> Section:
    """Gains by history length and by item popularity."""
    title = "Where the difference comes from"
    if strata is None:
        text = Paragraph("Differences by history length and item popularity were not computed for this run.")
        return Section("strata", title, [text])
    _, *blocks = strata_section(strata)
    pictures = []
    for place, pair in enumerate(strata.drop_duplicates(["a", "b"])[["a", "b"]].to_dict("records")):
        make = partial(strata_svg, strata, pair["a"], pair["b"], f"strata-{place}")
        said = f"{pair['a']} minus {pair['b']}"
        pictures.append(draw(f"{said} by strata", "", make, strict))
    if not pictures:
        return Section("strata", title, blocks)
    views = ", ".join(SHORT.get(view, view) for view in dict.fromkeys(strata["setting"]))
    text = Paragraph(
        f"Differences within parts of the people and of the items ({views}). A part's weight is what its "
        "difference counts for in the whole one, which is not its share of the people. All pictures here have one "
        "scale. They describe; nothing here is tested."
    )
    return Section("strata", title, [text], pictures, details=[("All strata as tables", blocks)])


def beyond_page(beyond: pd.DataFrame | None, results: pd.DataFrame) -> Section:
    """Coverage, concentration, novelty and popularity of the lists."""
    if beyond is None:
        text = Paragraph("Coverage, novelty and popularity of the lists were not computed for this run.")
        return Section("beyond", "Beyond accuracy", [text])
    _, *blocks = beyond_section(beyond, results)
    return Section("beyond", "Beyond accuracy", [blocks[-1]], details=[("The lists as tables", blocks[:-1])])


def _best(results: pd.DataFrame) -> Table:
    """The best row of each kind in each setting that has values."""
    kinds = {
        "floor": ("floor", None),
        "without profiles": ("model", True),
        "with profiles": ("model", False),
        "placebo": ("placebo", None),
    }
    lines = [["view", *(f"best {kind}" for kind in kinds)]]
    for setting in shown_settings(results):
        rows = sort_rows(results, setting)
        cells = [_best_cell(rows, group, base) for group, base in kinds.values()]
        lines.append([SHORT.get(setting, setting), *cells])
    return Table(lines, f"The best row of each kind, {PRIMARY} with its 95 % interval")


def _best_cell(rows: list[dict[str, Any]], group: str, base: bool | None) -> str:
    # Rows of a group come by falling value.
    for row in rows:
        if row["group"] == group and (base is None or (row["profile_mode"] == "none") == base):
            return f"{row['row']}: {interval_cell(row)}"
    return "-"


def _text(block: Block) -> str:
    return block.text if isinstance(block, Heading | Paragraph) else ""
