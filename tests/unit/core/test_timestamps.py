"""Timestamps."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.timestamps import format_timestamp, parse_timestamp


@given(st.integers(0, 4_000_000_000_000))
def test_milliseconds_survive(milliseconds: int) -> None:
    assert round(parse_timestamp(format_timestamp(milliseconds / 1000)) * 1000) == milliseconds


def test_format_is_utc_with_milliseconds() -> None:
    assert format_timestamp(1_795_500_000.5) == "2026-11-24T06:00:00.500Z"


def test_datetimes_are_taken_and_naive_ones_refused() -> None:
    assert parse_timestamp(datetime(1970, 1, 2, tzinfo=UTC)) == 86_400
    with pytest.raises(ValueError, match="no offset"):
        parse_timestamp("2026-11-24T06:00:00")
