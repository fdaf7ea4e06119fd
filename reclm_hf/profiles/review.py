"""A person's verdicts on preference pairs, by way of a CSV file that any spreadsheet opens.

The reviewer sees what a profile was written from and the two profiles as A and B, in an order drawn for each pair, and
not which of them is the chosen one. What comes back is checked as a whole before anything is taken over.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.folder import write_text
from ..data.tables import PREFERENCE_COLUMNS, TableError, require_columns

if TYPE_CHECKING:
    import pandas as pd

REVIEW_COLUMNS = ("row", "user_id", "written_from", "A", "B", "verdict")
VERDICTS = ("A", "B", "neither", "skip")
_NEEDED = ("row", "A", "B", "verdict")
_NOTHING = "(nothing written)"
# A spreadsheet runs a cell that begins with one of these as a formula; the wide forms are folded into them by some.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")


@dataclass(frozen=True)
class ReviewImport:
    """What a file of verdicts came to.

    Attributes:
        table: the preferences with the verdicts in `accepted`: True where the reviewer prefers the chosen profile,
            False where the rejected one or neither is good, None without a verdict.
        verdicts: chosen, rejected, neither, skip, empty -> rows of the file.
        conflicts: one sentence for each row whose verdict is another than the one imported before.
    """

    table: pd.DataFrame
    verdicts: dict[str, int]
    conflicts: list[str] = field(default_factory=list)


def export_review(table: pd.DataFrame, path: str | Path, *, sample: int | None = None, seed: int = 0) -> int:
    """Write pairs without a verdict for a reviewer: UTF-8 with a byte order mark, commas, `REVIEW_COLUMNS`.

    Args:
        table: columns `PREFERENCE_COLUMNS`.
        sample: how many pairs, drawn by `seed`; None: all. The same seed draws the same pairs in the same order,
            whatever the order of the table.

    Returns:
        The number of pairs written.

    Raises:
        TableError: no pair is left without a verdict, the file is there already (it may hold a person's work), or it
            cannot be written.
        ValueError: sample < 1.
    """
    if sample is not None and sample < 1:
        raise ValueError(f"sample={sample}: ask for at least one pair.")
    path = Path(path)
    if path.exists():
        raise TableError(f"{path}: is there already and may hold verdicts. Import it first, or name another file.")
    require_columns(table, list(PREFERENCE_COLUMNS), "preferences")
    rows = {
        identity: row
        for identity, row in zip(row_ids(table), table.to_dict("records"), strict=True)
        if _verdict(row["accepted"]) is None and _plain(_shown(row, "chosen")) != _plain(_shown(row, "rejected"))
    }
    if not rows:
        raise TableError("preferences: no pair is left without a verdict; there is nothing to export.")
    order = sorted(rows, key=lambda identity: _digest(f"{seed}\x00{identity}"))[:sample]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(REVIEW_COLUMNS)
    for identity in order:
        row = rows[identity]
        pair = [_shown(row, "chosen"), _shown(row, "rejected")]
        if _digest(f"{seed}\x00side\x00{identity}")[-1] in "02468ace":
            pair.reverse()
        writer.writerow([identity, *map(_cell, (str(row["user_id"]), _written_from(row["prompt"]), *pair)), ""])
    write_text("\ufeff" + text.getvalue(), path)
    return len(order)


def import_review(table: pd.DataFrame, path: str | Path, *, replace: bool = False) -> ReviewImport:
    """Read a reviewed file back. Rows without a verdict, and `skip`, change nothing.

    A verdict that contradicts one imported before is reported and not taken over, unless `replace` is set.

    Args:
        table: the preferences that the file was exported from, verdicts of earlier imports included.
        path: as exported; UTF-8 with or without a byte order mark, with commas, semicolons or tabs.

    Raises:
        TableError: not a reviewed file, a verdict that is none, a row that is not in the table, was changed or stands
            there twice with different verdicts; names file and line. Nothing is taken over then.
    """
    require_columns(table, list(PREFERENCE_COLUMNS), "preferences")
    path = Path(path)
    places: dict[str, list[int]] = {}
    for position, identity in enumerate(row_ids(table)):
        places.setdefault(identity, []).append(position)
    records = table.to_dict("records")
    accepted = [_verdict(value) for value in table["accepted"]]
    given: dict[str, tuple[str, int]] = {}
    verdicts: Counter[str] = Counter()
    conflicts = []
    for line, cells in _records(path):
        identity = cells["row"].strip()
        if identity not in places:
            raise TableError(
                f"{path}, line {line}: row {identity!r} is not in the preferences. Import a file into the table that "
                "it was exported from."
            )
        outcome = _outcome(cells, records[places[identity][0]], path, line)
        if outcome != "empty" and given.setdefault(identity, (outcome, line))[0] != outcome:
            raise TableError(
                f"{path}, line {line}: row {identity!r} has another verdict in line {given[identity][1]}. Keep one."
            )
        verdicts[outcome] += 1
        if outcome in ("skip", "empty"):
            continue
        for position in places[identity]:
            if accepted[position] is not None and accepted[position] != (outcome == "chosen"):
                conflicts.append(
                    f"{path}, line {line}: user {records[position]['user_id']!r}, {outcome!r} now, accepted was "
                    f"{accepted[position]} before; {'replaced' if replace else 'kept as before'}"
                )
                if not replace:
                    continue
            accepted[position] = outcome == "chosen"
    return ReviewImport(_with_verdicts(table, accepted), dict(verdicts), conflicts)


def carry_verdicts(new: pd.DataFrame, old: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The verdicts of an earlier table on the pairs that a new one has too, and how many verdicts find no pair."""
    known = {
        identity: verdict
        for identity, value in zip(row_ids(old), old["accepted"], strict=True)
        if (verdict := _verdict(value)) is not None
    }
    identities = row_ids(new)
    return _with_verdicts(new, [known.get(identity) for identity in identities]), len(set(known) - set(identities))


def row_ids(table: pd.DataFrame) -> list[str]:
    """An id for every pair, from its content. It begins with a letter: spreadsheets would round a long number."""
    columns = ("prompt", "chosen", "rejected")
    return [
        "r"
        + _digest(
            json.dumps(
                [[[part["role"], part["content"]] for part in row[column]] for column in columns]
                + [str(row["rejected_kind"]), str(row["user_id"])]
            )
        )[:15]
        for row in table[[*columns, "rejected_kind", "user_id"]].to_dict("records")
    ]


def _outcome(cells: Mapping[str, str], row: Mapping[str, Any], path: Path, line: int) -> str:
    """chosen, rejected, neither, skip or empty."""
    chosen, rejected = (_plain(_cell(_shown(row, column))) for column in ("chosen", "rejected"))
    sides = {side: _plain(cells[side]) for side in ("A", "B")}
    if sorted(sides.values()) != sorted((chosen, rejected)) or chosen == rejected:
        raise TableError(
            f"{path}, line {line}: A and B of row {cells['row'].strip()!r} are not the two profiles that were "
            "exported. Undo the change, or remove the line."
        )
    verdict = cells["verdict"].strip().casefold()
    if not verdict:
        return "empty"
    named = {name.casefold(): name for name in VERDICTS}.get(verdict)
    if named is None:
        raise TableError(
            f"{path}, line {line}: {cells['verdict']!r} is no verdict. Write {', '.join(VERDICTS)}, or nothing."
        )
    if named in sides:
        return "chosen" if sides[named] == chosen else "rejected"
    return named


def _records(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line that it begins in, column -> cell) of every row of a reviewed file."""
    if not path.is_file():
        raise TableError(f"{path}: there is no such file.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: is not UTF-8 ({error.reason}). Save it as 'CSV UTF-8'.") from error
    header, delimiter = _header(text, path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    begin = 1
    try:
        for cells in reader:
            line, begin = begin, reader.line_num + 1
            if line == 1 or not any(cell.strip() for cell in cells):
                continue
            if len(cells) < len(header) or any(cell.strip() for cell in cells[len(header) :]):
                raise TableError(f"{path}, line {line}: {len(cells)} cells for {len(header)} columns. Repair the line.")
            yield line, dict(zip(header, cells, strict=False))
    except csv.Error as error:
        raise TableError(f"{path}, line {begin}: is not CSV ({error}). Export it again.") from error


def _header(text: str, path: Path) -> tuple[list[str], str]:
    first = text.splitlines()[0] if text else ""
    for delimiter in (",", ";", "\t"):
        header = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter), [])]
        if set(_NEEDED) <= set(header):
            return header, delimiter
    raise TableError(f"{path}: the first line must name the columns {', '.join(_NEEDED)}; it is {first[:80]!r}.")


def _shown(row: Mapping[str, Any], column: str) -> str:
    text = "\n".join(part["content"] for part in row[column]).strip()
    return text or _NOTHING


def _written_from(prompt: Sequence[Mapping[str, str]]) -> str:
    """The request itself on one line, without the system message."""
    lines = [line.strip() for part in prompt if part["role"] == "user" for line in part["content"].splitlines()]
    return " | ".join(line for line in lines if line)


def _cell(text: str) -> str:
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _plain(text: str) -> str:
    # Spreadsheets take the apostrophe away or leave it, and may change white space.
    return " ".join(text.split()).lstrip("'")


def _verdict(value: Any) -> bool | None:
    import pandas as pd

    return None if value is None or pd.isna(value) else bool(value)


def _with_verdicts(table: pd.DataFrame, accepted: Sequence[bool | None]) -> pd.DataFrame:
    import pandas as pd

    return table.assign(accepted=pd.Series(list(accepted), index=table.index, dtype=object))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
