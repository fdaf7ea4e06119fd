"""The sections about the run itself: training, the map, profiles, cost, certificates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from ..evaluation.report_blocks import Block, Paragraph, Table
from ..evaluation.report_format import number
from .figure_curves import curves_svg
from .figure_map import KINDS, map_svg
from .figures import Picture, draw
from .sections import NOT_KEPT, Section

if TYPE_CHECKING:
    import pandas as pd

    from .extras import Extras
    from .people_map import MapPoints
    from .samples import Sample


def curves_section(extras: Extras, strict: bool) -> Section:
    """Training curves, a picture for each backbone and preset, and the epochs that were chosen."""
    title, curves = "Training", extras.curves
    if curves is None:
        return Section("training", title, [_missing("Training curves", "curves", extras)])
    pictures = []
    for place, ((backbone, preset), members) in enumerate(curves.groupby(["backbone", "preset"])):
        make = partial(curves_svg, members, f"curves-{place}")
        pictures.append(draw(f"the training of {backbone}, {preset}", "", make, strict))
    measured = curves[curves["value"].notna().groupby([curves["row"], curves["seed"]]).transform("any")]
    if measured.empty:
        return Section("training", title, [Paragraph(_NOTHING_CHOSEN)], pictures)
    details = [("Chosen epochs as a table", [_chosen(measured)])]
    return Section("training", title, [Paragraph(_CHOSEN)], pictures, details=details)


def map_section(extras: Extras, strict: bool) -> Section:
    """Users, items and new items in one plane."""
    title, found = "A map of people and items", extras.map
    if found is None:
        return Section("map", title, [_missing("The map", "map", extras)])
    both = sum(found.shares)
    whose = f"Of {found.model}: principal" if found.model else "Principal"
    text = Paragraph(
        f"{whose} components of {found.space}, each at length 1. The two directions hold {100 * both:.1f} % of the "
        "variance, so what is far apart here differs, but what is near may differ in another direction. New items have "
        "no history: only their texts say where they stand."
    )
    pictures = [_map_picture(found, kind, strict) for kind in KINDS if found.totals[kind]]
    return Section("map", title, [text], pictures)


def samples_section(extras: Extras) -> Section:
    """A few profiles and what they were written from."""
    title = "Sample profiles"
    if not extras.samples:
        return Section("samples", title, [_missing("Sample profiles", "samples", extras)])
    text = Paragraph(
        f"{_counted(extras.samples)} drawn by the run's seed among all people, not chosen by a hand; below each, some "
        "of the items that it was written from."
    )
    return Section("samples", title, [text], samples=extras.samples)


def cost_section(record: Mapping[str, Any]) -> Section:
    """Seconds, memory and tokens."""
    lines = _recorded(record)
    if not lines:
        return Section("cost", "Cost", [Paragraph(f"The cost of the run: {NOT_KEPT}.")])
    head = ["stage", "seconds", "peak memory, MiB", "tokens read", "tokens written"]
    text: list[Block] = [Table([head, *lines], "Cost"), Paragraph(_VERSIONS.format(_versions(record)))]
    note = (
        "A run that was resumed has had other calls before, which are not counted here. What fitting and scoring one "
        "row took stands in the last column of the tables of results."
    )
    return Section("cost", "Cost", [*text[:1], Paragraph(note), *(text[1:] if record.get("versions") else ())])


def certificates_section(record: Mapping[str, Any]) -> Section:
    """What was checked so that no profile knows what it should not."""
    title, found = "Leak certificates", record.get("certificates") or []
    if not found:
        return Section("certificates", title, [Paragraph(f"Leak certificates: {NOT_KEPT}.")])
    head = ["split", "cut", "profiles", "later items", "titles looked for", "hits", "hits of decoys", "outcome"]
    text = (
        "Each table of profiles was checked against its cut: evidence from before it, no later date, and no title of "
        "an item first seen later. Decoys are earlier titles that a profile was not shown: how often the search errs."
    )
    lines = [head, *(_certificate(entry) for entry in found)]
    return Section("certificates", title, [Paragraph(text), Table(lines, title)])


_VERSIONS = "Made with {}."
_CHOSEN = (
    "The upper part is the mean of recall@20 in the catalogue and zero-shot on the validation period (among warm items "
    "where a level between warm and new items was chosen afterwards). The model of the report was then trained once "
    "more, on the whole train period, for as many epochs as the ring marks."
)
_NOTHING_CHOSEN = (
    "Nothing was measured on the validation period and nothing was chosen: each model was trained once, for a number "
    "of epochs that was fixed beforehand, and the last one is that of the report."
)


def _map_picture(found: MapPoints, kind: str, strict: bool) -> Picture:
    name = KINDS[kind].name
    make = partial(map_svg, found, kind, f"map-{kind}")
    return draw(f"the map of {name}", "", make, strict)


def _missing(what: str, part: str, extras: Extras) -> Paragraph:
    return Paragraph(f"{what}: {extras.missing.get(part, NOT_KEPT)}.")


def _counted(samples: Sequence[Sample]) -> str:
    return "One profile" if len(samples) == 1 else f"{len(samples)} profiles"


def _chosen(curves: pd.DataFrame) -> Table:
    lines = [["row", "seed", "epochs tried", "chosen", "before training", "at the chosen epoch"]]
    for (row, seed), members in curves.groupby(["row", "seed"], sort=False):
        value = members.set_index("epoch")["value"]
        best = int(members["best_epoch"].iloc[0])
        ends = [number(float(value.get(epoch, math.nan))) for epoch in (0, best)]
        lines.append([str(row), str(seed), str(int(members["epoch"].max())), str(best), *ends])
    return Table(lines, "Chosen epochs, with the value on validation")


def _cost_line(line: Mapping[str, Any]) -> list[str]:
    forms = {"seconds": ",.1f", "peak_rss_mib": ",.0f", "tokens_in": ",.0f", "tokens_out": ",.0f"}
    return [str(line["stage"]), *(number(float(line.get(name, math.nan)), form) for name, form in forms.items())]


def _recorded(record: Mapping[str, Any]) -> list[list[str]]:
    """What the manifest of a run, or that of published results, says of its cost."""
    cost = record.get("cost") or {}
    whole = {
        "stage": "the last call of the command",
        **{name: record.get(name, cost.get(name)) for name in ("seconds", "peak_rss_mib")},
    }
    lines = [whole] if any(whole[name] is not None for name in ("seconds", "peak_rss_mib")) else []
    for name, table in (record.get("profiles") or {}).items():
        if isinstance(table, Mapping) and "tokens_in" in table:
            stage = f"{table.get('rows', 0):,} profiles of the {name} cut, when they were written"
            lines.append({"stage": stage, **{key: table.get(key) for key in ("tokens_in", "tokens_out")}})
    return [_cost_line({key: math.nan if value is None else value for key, value in line.items()}) for line in lines]


def _versions(record: Mapping[str, Any]) -> str:
    own = {"reclm_hf": record["reclm_hf"]} if "reclm_hf" in record else {}
    return ", ".join(f"{name} {version}" for name, version in {**own, **(record.get("versions") or {})}.items())


def _certificate(entry: Mapping[str, Any]) -> list[str]:
    probe = entry.get("probe") or {}
    cut = entry.get("cut")
    day = "-" if cut is None else f"{datetime.fromtimestamp(cut / 1e6, UTC):%Y-%m-%d %H:%M} UTC"
    decoys = f"{probe['decoy_hits']:,} of {probe['decoys']:,}" if "decoys" in probe else "-"
    counts = [f"{entry[name]:,}" for name in ("rows", "items_after")]
    probed = [f"{probe[name]:,}" if name in probe else "-" for name in ("titles", "hits")]
    outcome = "no leak found" if entry.get("passed") else f"{entry.get('n_failures', 0):,} leaks"
    return [str(entry.get("split", "")), day, *counts, *probed, decoys, outcome]
