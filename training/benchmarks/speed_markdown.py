"""BENCHMARKS.md out of the JSON files of the benchmarks: every figure in it comes from them.

Kinds of files: `speed` (speed.py; of several, the last that holds a row counts), `peers` (peers.py), and `section` for
everything else: {"kind": "section", "title", "text", "columns": [...], "rows": [[...], ...], "notes": [...],
"command"}, of which `text`, `notes` and `command` may be left out. Sections stand in the order of the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from speed_rows import MEMORY_LIMIT, ROWS, WAYS, Row, seconds_text, shown_figure, shown_target, verdict

MISSING = "-"
TITLES = {"now": "now", "earlier": "earlier commit", "authors": "authors' way here"}


def merged(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """{"rows": row -> figures, "runs": the speed files without their rows}."""
    speed = [part for part in parts if part["kind"] == "speed"]
    rows: dict[str, Any] = {}
    for part in speed:
        rows |= part["rows"]
    return {"rows": rows, "runs": [{name: part[name] for name in part if name != "rows"} for part in speed]}


def write_markdown(parts: Sequence[dict[str, Any]], path: Path) -> None:
    """Write it. Raises ValueError for a file of an unknown kind."""
    unknown = {part.get("kind") for part in parts} - {"speed", "peers", "section"}
    if unknown:
        raise ValueError(f"unknown kind {unknown}: give JSON files of speed.py, peers.py, or sections.")
    path.write_text("\n".join(lines(parts)).rstrip() + "\n", encoding="utf-8")


def lines(parts: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The whole page."""
    found = merged(parts)
    peers = [peer for part in parts if part["kind"] == "peers" for peer in part["peers"]]
    yield "# Benchmarks"
    yield ""
    yield "Written by `training/benchmarks/speed.py --from ... --markdown`; change the measurements, not this page."
    yield ""
    if found["rows"]:
        yield from _speed(found["rows"], found["runs"], peers)
    if peers:
        yield from _peers(peers, [part for part in parts if part["kind"] == "peers"])
    for part in parts:
        if part["kind"] == "section":
            yield from _section(part)
    yield from _commands(parts)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """A Markdown table and an empty line."""
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |"
    yield ""


def _speed(rows: dict[str, Any], runs: Sequence[dict[str, Any]], peers: Sequence[dict[str, Any]]) -> Iterator[str]:
    known = [row for row in ROWS if row.name in rows]
    verdicts = [verdict(row, rows[row.name]) for row in known]
    reached, judged = sum(word in ("met", "stretch") for word in verdicts), sum(word != "" for word in verdicts)
    yield "## Speed"
    yield ""
    yield f"{reached} of {judged} rows meet their target. Processor seconds, medians; on one thread these equal wall"
    yield "seconds when the machine is idle. Preset `reference`, d = 32, batches of 4096. The ratios are medians of"
    yield "pairs measured in turn, and say how many times as long the other took. The authors' figure was measured with"
    yield "their own code on another machine; their way is restated in `authors_way.py` and measured here."
    yield ""
    heads = ("part", "for one", "target", "stretch", "authors' figure", "authors' way here", "earlier commit", "now")
    cells = [_speed_cells(row, rows[row.name], peers) for row in known]
    yield from table((*heads, "ratio to authors' way", "ratio to earlier", "target met", "peers"), cells)
    yield "### Beside it"
    yield ""
    yield from table(
        ("part", "way", "processor s, median", "min", "wall s, median", "samples", "load", "peak MiB", "before, MiB"),
        [line for row in known for line in _details(row, rows[row.name])],
    )
    limited = ", ".join(row.title for row in known if row.memory)
    if limited:
        yield "Peak memory is that of the row's own process, data and libraries included; `before` is that before the"
        yield f"first step. Limit {MEMORY_LIMIT} MiB: {limited}."
        yield ""
    for row in known:
        yield from _notes(row, rows[row.name])
    yield from _data(known, rows)
    yield ""
    yield "### Machine"
    yield ""
    for run in runs:
        yield from _machine(run)
    yield ""


def _speed_cells(row: Row, found: dict[str, Any], peers: Sequence[dict[str, Any]]) -> list[str]:
    figures = {way: _figure(row, found.get(way, {})) for way in WAYS}
    ratios = found.get("ratios", {})
    near = [f"{peer['peer']} {shown_figure(row, peer['cpu']['median'])}" for peer in peers if peer["row"] == row.name]
    theirs = MISSING if row.authors is None else f"{row.authors:.3g}{'/s' if row.kind == 'rate' else ' s'}"
    return [
        row.title,
        row.unit,
        shown_target(row, row.target),
        shown_target(row, row.stretch),
        theirs,
        figures["authors"],
        figures["earlier"],
        f"**{figures['now']}**",
        *(f"{ratios[way]:.2f} x" if way in ratios else MISSING for way in ("authors", "earlier")),
        verdict(row, found) or MISSING,
        "; ".join(near) or MISSING,
    ]


def _figure(row: Row, found: dict[str, Any]) -> str:
    return shown_figure(row, found["cpu"]["median"]) if "cpu" in found else MISSING


def _details(row: Row, found: dict[str, Any]) -> Iterator[list[str]]:
    for way in WAYS:
        figures = found.get(way, {})
        if "cpu" not in figures:
            continue
        cpu, wall = figures["cpu"], figures["wall"]
        seconds = [f"{value:.4g}" for value in (cpu["median"], cpu["min"], wall["median"])]
        memory = [f"{figures[name]:,.0f}" for name in ("peak_mib", "loaded_mib")]
        yield [row.title, TITLES[way], *seconds, str(len(cpu["all"])), f"{max(figures['load']['all']):.1f}", *memory]


def _notes(row: Row, found: dict[str, Any]) -> Iterator[str]:
    """What the figures of a row are, where that is not plain."""
    for way in WAYS:
        figures = found.get(way, {})
        said = []
        if "skipped" in figures:
            said.append(f"skipped ({figures['skipped']})")
        if "extrapolated" in figures:
            said.append(figures["extrapolated"])
        if "whole" in figures:
            said.append(f"the whole: {figures['whole']['cpu']:.3g} s processor, {figures['whole']['wall']:.3g} s wall")
        if "prompt_tokens" in figures and way == "now":
            said.append(f"prompts of {figures['prompt_tokens']:.0f} tokens on average, {figures['model']}")
        if said:
            yield f"- {row.title}, {TITLES[way]}: {'; '.join(said)}."
    apart = (found.get("disagreement") or {}).get("authors")
    if apart is not None:
        yield f"- {row.title}: the authors' way gives the same figures within {apart:.1g} (relative)."
    if row.other and "authors" in found:
        yield f"- {row.title}, authors' way: {row.other}."


def _data(known: Sequence[Row], rows: dict[str, Any]) -> Iterator[str]:
    """Which data the rows were measured on."""
    by_data: dict[str, list[str]] = {}
    for row in known:
        by_data.setdefault(rows[row.name].get("now", {}).get("data", ""), []).append(row.title)
    for data, titles in by_data.items():
        if data:
            yield f"- Data {data}: {'; '.join(titles)}."


def _machine(run: dict[str, Any]) -> Iterator[str]:
    found = run["machine"]
    versions = ", ".join(f"{name} {value}" for name, value in found["versions"].items() if value)
    commits = run["commits"]
    against = f", against {commits['earlier']}" if commits["earlier"] else ""
    quick = " **Quick run on tiny data: no figures to compare.**" if run["quick"] else ""
    yield f"- {found['cpu']}, {found['cores']} cores; {found['threads']} thread(s); load {found['load']:.1f};"
    yield f"  Python {found['python']}, {versions}; commit {commits['now'] or 'unknown'}{against}.{quick}"


def _peers(peers: Sequence[dict[str, Any]], parts: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "## Peers"
    yield ""
    yield "One epoch over the same train interactions, d = 32, measured in turn with ours; processor seconds, medians."
    yield "Other models and losses: what is compared is the price of an epoch. Ours also learns from item texts."
    yield ""
    heads = ("peer", "model", "settings", "an epoch", "min", "wall", "ours", "ratio", "samples", "load")
    yield from table(heads, [_peer_cells(peer) for peer in peers])
    where = [f"{part['machine']}, {part['threads']} thread(s); data {part['data']}" for part in parts]
    for said in dict.fromkeys([*where, *map(_installed, peers)]):
        yield f"- {said}."
    for part in parts:
        yield from (f"- {name}: not measured, {why}." for name, why in part.get("missing", {}).items())
    yield ""


def _peer_cells(peer: dict[str, Any]) -> list[str]:
    seconds = [peer["cpu"]["median"], peer["cpu"]["min"], peer["wall"]["median"], peer["now"]["cpu"]["median"]]
    counted = [f"{peer['ratio']:.2f} x", str(len(peer["cpu"]["all"])), f"{max(peer['load']['all']):.1f}"]
    return [peer["peer"], peer["model"], peer["settings"], *map(seconds_text, seconds), *counted]


def _installed(peer: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in peer["versions"].items() if value)
    return f"{peer['peer']}: Python {peer['python']}, {versions}"


def _section(part: dict[str, Any]) -> Iterator[str]:
    yield f"## {part['title']}"
    yield ""
    if part.get("text"):
        yield from (part["text"], "")
    yield from table(part["columns"], part["rows"])
    notes = part.get("notes", [])
    yield from (f"- {note}" for note in notes)
    yield from ([""] if notes else [])


def _commands(parts: Sequence[dict[str, Any]]) -> Iterator[str]:
    commands = list(dict.fromkeys(part["command"] for part in parts if part.get("command")))
    if not commands:
        return
    yield "## To repeat"
    yield ""
    yield from (f"    {command}" for command in commands)
