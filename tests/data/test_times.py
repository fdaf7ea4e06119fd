"""Times: units, zones, and what is said about those that cannot be read."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reclm_hf.data.importers.times import parse_times
from reclm_hf.data.tables import TableError

NOON = pd.Timestamp("2013-04-01T12:00:00Z")


def parse(values: list[object], **options: str) -> list[pd.Timestamp]:
    """The times of a column of objects."""
    parsed = parse_times(pd.Series(values, dtype=object), "file.csv", "when", **options)
    assert str(parsed.dtype) == "datetime64[us, UTC]"
    return parsed.tolist()


def error(values: list[object], **options: str) -> str:
    """The message of the error that these times end in."""
    with pytest.raises(TableError) as caught:
        parse(values, **options)
    message = str(caught.value)
    assert "file.csv" in message
    return message


@pytest.mark.parametrize(
    "written",
    [
        "1364817600",
        "1364817600000",
        "1364817600000000",
        "1364817600000000000",
        "1364817600.0",
        "1.3648176e9",
        1364817600,
        1364817600.0,
        "2013-04-01T12:00:00Z",
        "2013-04-01 12:00:00",
        "2013-04-01T12:00",
        "2013-04-01 14:00:00+02:00",
        "2013-04-01T07:00:00-0500",
        "2013-04-01T14:00+02",
        "2013-04-01 12:00:00 UTC",
        "2013-04-01T12:00:00.000000Z",
        pd.Timestamp("2013-04-01T12:00:00"),
        pd.Timestamp("2013-04-01T14:00:00+02:00"),
    ],
    ids=str,
)
def test_one_moment_in_many_writings(written: object) -> None:
    assert parse([written, written]) == [NOON, NOON]


@pytest.mark.parametrize("written", ["2013-04-01", "20130401"])
def test_days_begin_at_midnight(written: str) -> None:
    assert parse([written]) == [pd.Timestamp("2013-04-01", tz="UTC")]


def test_different_zones_become_one() -> None:
    assert parse(["2013-04-01T14:00:00+02:00", "2013-04-01T07:00:00-05:00", "2013-04-01T12:00:00Z"]) == [NOON] * 3


def test_with_and_without_a_zone_needs_a_word() -> None:
    mixed: list[object] = ["2013-04-01T14:00:00+02:00", "2013-04-01T14:00:00", "2013-04-01T12:00:00Z"]
    message = error(mixed)
    assert "a time without a zone, unlike the other rows, in row 2" in message
    assert "--timezone" in message
    assert parse(mixed, timezone="Europe/Brussels") == [NOON] * 3
    assert "a time with a zone, unlike the other rows, in row 3" in error(["2013-04-01", "2013-04-02", mixed[0]])


def test_timezone_of_times_that_name_none() -> None:
    assert parse(["2013-04-01T14:00:00"], timezone="Europe/Brussels") == [NOON]
    twice, skipped = parse(["2013-10-27T02:30:00", "2013-03-31T02:30:00"], timezone="Europe/Brussels")
    assert twice == pd.Timestamp("2013-10-27T01:30:00Z")
    assert skipped == pd.Timestamp("2013-03-31T01:00:00Z")
    assert "no time zone 'Mars/Base'" in error(["2013-04-01"], timezone="Mars/Base")


def test_own_format() -> None:
    assert parse(["4/1/2013 12:00"], time_format="%m/%d/%Y %H:%M") == [NOON]
    assert "row 2" in error(["4/1/2013 12:00", "13/1/2013 12:00"], time_format="%m/%d/%Y %H:%M")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["2013-04-01", "soon", "2013-04-02"], "cannot be read ('soon') in row 2"),
        (["2013-04-01", "1364817600"], "cannot be read ('1364817600') in row 2"),
        (["1364817600", "1364817600", "1364817600000"], "not in Unix s as the others in row 3"),
        (["1364817600", ""], "no time in row 2"),
        (["1364817600", None], "no time in row 2"),
        (["1e300", "1364817600"], "too large for a time in row 1"),
        (["01/02/2013 10:00"], "--time-format"),
    ],
)
def test_errors_name_the_rows(values: list[object], expected: str) -> None:
    message = error(values)
    assert "'when'" in message
    assert expected in message


def test_a_lone_zero_is_a_time() -> None:
    assert parse(["0", "1364817600000"]) == [pd.Timestamp(0, tz="UTC"), NOON]


@given(
    st.lists(st.integers(1_200_000_000, 4_000_000_000), min_size=1, max_size=5),
    st.sampled_from([1, 10**3, 10**6, 10**9]),
)
def test_every_unit_gives_the_same_microseconds(seconds: list[int], factor: int) -> None:
    values = pd.Series([str(second * factor) for second in seconds])
    assert parse_times(values, "f", "t").astype("int64").tolist() == [second * 10**6 for second in seconds]
