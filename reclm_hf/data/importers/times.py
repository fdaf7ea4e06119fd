"""Times as other people write them -> microseconds in UTC."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..tables import TableError, bad_rows

if TYPE_CHECKING:
    import pandas as pd

_NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_COMPACT_DATE = r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_ZONE = r"[Tt ]\d{1,2}.*(?:[zZ]|[+-]\d{2}(?::?\d{2})?)$"
# Unix times between 1973 and 5138 lie below the bound of their unit and above that of the one before.
_LARGEST = 9e18  # int64
_UNITS = ((1e11, "s", 1e6), (1e14, "ms", 1e3), (1e17, "us", 1.0), (float("inf"), "ns", 1e-3))


def parse_times(
    values: pd.Series, source: str, column: str, *, timezone: str | None = None, time_format: str | None = None
) -> pd.Series:
    """Read a column of times.

    Args:
        values: Unix numbers (seconds, milliseconds, micro- or nanoseconds, told apart by their size), ISO 8601 texts,
            dates such as 20130228, or timestamps.
        timezone: the zone of times that name none (an IANA name); they are taken as UTC without it.
        time_format: a `strptime` format for texts that are not ISO 8601.

    Returns:
        datetime64[us, UTC], with the index of `values`.

    Raises:
        TableError: naming the first rows (by the index of `values`) that cannot be read; that are empty; that are in
            another unit; or that name a zone where others do not, while no `timezone` is given.
    """
    import pandas as pd

    _require_zone(timezone, source)
    if pd.api.types.is_datetime64_any_dtype(values):
        _require_all(values.notna(), source, column, "no time", "Fill it in or drop the row.")
        return _to_utc(values, timezone)
    texts = values.map(_text).astype(object)
    _require_all(texts != "", source, column, "no time", "Fill it in or drop the row.")
    if time_format is not None:
        return _from_format(texts, source, column, time_format, timezone)
    if texts.str.fullmatch(_COMPACT_DATE).all():
        return _to_utc(pd.to_datetime(texts.str.strip(), format="%Y%m%d"), timezone)
    numeric = texts.str.fullmatch(_NUMBER)
    if numeric.all():
        return _from_unix(texts, source, column)
    return _from_iso(texts, numeric, source, column, timezone)


def _text(value: object) -> str:
    import pandas as pd

    if isinstance(value, str):
        return value.strip()
    return "" if value is None or pd.isna(value) else str(value)


def _require_zone(timezone: str | None, source: str) -> None:
    from zoneinfo import ZoneInfo

    try:
        if timezone is not None:
            ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        raise TableError(
            f"{source}: there is no time zone {timezone!r}; write a name such as 'UTC' or 'Europe/Brussels'."
        ) from error


def _require_all(good: pd.Series, source: str, column: str, what: str, way_out: str) -> None:
    if not good.all():
        raise bad_rows(source, column, good.index[~good.to_numpy()], what, way_out)


def _to_utc(times: pd.Series, timezone: str | None) -> pd.Series:
    if times.dt.tz is None:
        # An hour that a clock change repeats is taken as its second pass (winter time), one that it skips is moved on.
        winter = np.zeros(len(times), dtype=bool)
        times = times.dt.tz_localize(timezone or "UTC", ambiguous=winter, nonexistent="shift_forward")
    return times.dt.tz_convert("UTC").astype("datetime64[us, UTC]")


def _from_unix(texts: pd.Series, source: str, column: str) -> pd.Series:
    import pandas as pd

    numbers = texts.astype("float64")
    _require_all(numbers.abs() < _LARGEST, source, column, "a number too large for a time", "Mend or drop the row.")
    bounds = np.array([bound for bound, _, _ in _UNITS])
    units = np.searchsorted(bounds, numbers.abs().to_numpy(), side="right")
    # Zero is a time in every unit and says nothing about which one it is.
    known = units[numbers.to_numpy() != 0]
    unit = int(np.bincount(known).argmax()) if len(known) else 0
    _require_all(
        pd.Series((units == unit) | (numbers.to_numpy() == 0), index=texts.index),
        source,
        column,
        f"a number that is not in Unix {_UNITS[unit][1]} as the others",
        "Convert the column to one unit.",
    )
    whole = texts.str.fullmatch(r"-?\d+")
    if whole.all():  # exact: nanoseconds do not fit into a float
        exact = texts.astype("int64")
        micros = exact * int(_UNITS[unit][2]) if _UNITS[unit][2] >= 1 else exact // 1000
    else:
        micros = (numbers * _UNITS[unit][2]).round().astype("int64")
    return pd.to_datetime(micros, unit="us", utc=True).astype("datetime64[us, UTC]")


def _from_format(texts: pd.Series, source: str, column: str, time_format: str, timezone: str | None) -> pd.Series:
    import pandas as pd

    aware = "%z" in time_format
    times = pd.to_datetime(texts, format=time_format, errors="coerce", utc=aware)
    way_out = "Change `--time-format` or mend the rows."
    _require_all(times.notna(), source, column, f"a time that is not {time_format!r}", way_out)
    return _to_utc(times, timezone)


def _from_iso(texts: pd.Series, numeric: pd.Series, source: str, column: str, timezone: str | None) -> pd.Series:
    import pandas as pd

    texts = texts.str.replace(r"\s*(?:UTC|GMT)$", "Z", regex=True)
    times = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True)
    readable = times.notna() & ~(numeric & ~texts.str.fullmatch(_COMPACT_DATE))
    shown = texts[~readable].iloc[0] if not readable.all() else ""
    _require_all(
        readable,
        source,
        column,
        f"a time that cannot be read ({shown!r})",
        "Use ISO 8601 (2013-02-28T12:00:00Z) or Unix seconds throughout, or give `--time-format`.",
    )
    aware = texts.str.contains(_ZONE, regex=True).to_numpy()
    if aware.all():
        return times.astype("datetime64[us, UTC]")
    if aware.any() and timezone is None:
        few, what = (aware, "a time with a zone") if aware.mean() <= 0.5 else (~aware, "a time without a zone")
        raise bad_rows(
            source,
            column,
            texts.index[few],
            f"{what}, unlike the other rows,",
            "Say with `--timezone` which zone the times without one are in.",
        )
    local = _to_utc(times.dt.tz_localize(None), timezone)
    return times.astype("datetime64[us, UTC]").where(pd.Series(aware, index=texts.index), local)
