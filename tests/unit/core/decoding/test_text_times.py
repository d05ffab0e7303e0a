"""Times as text: zones, digits, dates, and rows that are no time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.contracts.columns import Column, parse_column
from madhatter_provider.core.decoding.text_times import parse_times


def column(logical_type: str = "timestamp", **options: Any) -> Column:
    return parse_column({"name": "t", "logicalType": logical_type, "logicalTypeOptions": options}, "c")


def parse(texts: list[str | None], of: Column) -> tuple[list[Any], dict[int, str]]:
    times, faults = parse_times(pa.chunked_array([pa.array(texts, pa.string())]), of)
    return times.to_pylist(), {row: fault.rule for row, fault in faults.items()}


NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["2026-11-24T12:00:00Z", "2026-11-24T12:00:00.000000Z", "2026-11-24 12:00:00Z", "2026-11-24T12:00Z",
     "2026-11-24T13:00:00+01:00", "2026-11-24T13:00:00+0100", "2026-11-24T06:30:00-05:30"],
)  # fmt: skip
def test_one_moment_has_many_spellings(text: str) -> None:
    assert parse([text], column()) == ([NOON], {})
    assert parse([text], column(defaultTimezone="Asia/Tokyo")) == ([NOON], {})


@pytest.mark.parametrize(
    ("text", "rule"),
    [("2026-11-24T12:00:00", "no_zone"), ("2026-11-24", "no_zone"), ("noon", "wrong_type"),
     ("", "wrong_type"), ("2026-11-24T12:00:00.1234567Z", "wrong_type"), ("1764000000", "wrong_type"),
     ("2026-02-30T12:00:00Z", "wrong_type"), ("2026-11-24T12:00:60Z", "wrong_type"),
     ("10000-01-01T00:00:00Z", "wrong_type")],
)  # fmt: skip
def test_what_is_no_time_is_a_fault_of_its_row(text: str, rule: str) -> None:
    assert parse(["2026-11-24T12:00:00Z", text, None], column()) == ([NOON, None, None], {1: rule})


def test_the_contract_may_give_a_zone() -> None:
    berlin = column(defaultTimezone="Europe/Berlin")
    texts = ["2026-11-24T13:00:00", "2026-07-01T12:00:00", "2026-11-24T12:00:00Z", "2026-11-24"]
    winter, summer, zoned, day = parse(list(texts), berlin)[0]
    assert (winter, zoned) == (NOON, NOON)
    assert summer == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert day == datetime(2026, 11, 23, 23, tzinfo=UTC)
    # On these nights the clock is set: one hour is not there, another is there twice.
    faults = parse(["2026-03-29T02:30:00", "2026-10-25T02:30:00"], berlin)[1]
    assert faults == {0: "wrong_type", 1: "wrong_type"}


def test_dates() -> None:
    texts = ["2026-11-24", "2026-11-24T00:00:00Z", "2026-2-1", "20261124", "7", None]
    values, faults = parse(list(texts), column("date"))
    assert values == [date(2026, 11, 24), *[None] * 5]
    assert faults == dict.fromkeys(range(1, 5), "wrong_type")


offsets = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))


@given(st.lists(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=offsets), max_size=5))
def test_any_moment_is_read_exactly(moments: list[datetime]) -> None:
    assert parse([m.isoformat() for m in moments], column()) == (moments, {})
