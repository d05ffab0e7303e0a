"""Bounds of a replay as people write them."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.replay.record import check_id
from madhatter_provider.core.replay.request import ReplayRequest, parse_bound

offsets = st.integers(0, 2**63 - 1)


@given(offsets)
def test_one_offset(offset: int) -> None:
    assert parse_bound(f" {offset} ") == offset


@given(st.dictionaries(st.integers(0, 10_000), offsets, min_size=1))
def test_offsets_by_partition(wanted: dict[int, int]) -> None:
    assert parse_bound(", ".join(f"{p}:{o}" for p, o in wanted.items())) == wanted


@given(st.datetimes(timezones=st.just(UTC)), st.integers(-12, 14))
def test_times(when: datetime, hours: int) -> None:
    zone = timezone(timedelta(hours=hours))
    try:
        text = when.astimezone(zone).isoformat()
    except OverflowError:  # the ends of the calendar
        return
    assert parse_bound(text) == when


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("-1", "Negative offset"),
        ("0:5,1:-2", "Negative offset"),
        ("0:5,0:6", "stands twice"),
        ("2026-11-24", "no time zone"),
        ("2026-11-24T10:00:00", "no time zone"),
        ("", "neither offsets nor a time"),
        ("0:", "neither offsets nor a time"),
        ("1.5", "neither offsets nor a time"),
        ("latest", "neither offsets nor a time"),
    ],
)
def test_what_is_not_understood(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as refused:
        parse_bound(text)
    assert refused.value.remedy


@given(st.text(max_size=30))
def test_any_text_is_understood_or_refused_in_words(text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        assert isinstance(parse_bound(text), int | dict | datetime)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"start": "0", "end": "5", "reason": " "}, "needs a reason"),
        ({"start": "0", "reason": "x"}, "No range"),
        ({"reason": "x"}, "No range"),
        ({"start": "0", "end": "5", "run_id": "r1", "reason": "x"}, "Both a run and a range"),
    ],
)
def test_requests_that_are_none(given: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        ReplayRequest(who="ann", **given)  # type: ignore[arg-type]


def test_ids_can_name_tables() -> None:
    assert check_id("R20261124T093000_0AF3") == "R20261124T093000_0AF3"
    for bad in ("", "a", "R-1", "R 1", 'R"', "R" * 49):
        with pytest.raises(ConfigurationError, match="not a replay id"):
            check_id(bad)
