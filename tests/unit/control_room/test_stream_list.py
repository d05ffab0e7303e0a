"""The list of streams: search, order, rights, lag."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from madhatter_provider.control_room.broker import TopicEnds
from madhatter_provider.control_room.stream_list import Wanted, lag_of, pairs_of
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.slices.claims import TopicBounds


def row(stream: str, **changes: Any) -> dict[str, Any]:
    """A stream in order."""
    counts = dict.fromkeys(("LOST", "GAPS", "FAILED_GATES", "LATE", "SEVERITY", "ROWS_QUARANTINED"), 0)
    own = {"STREAM": stream, "DAG_ID": f"land_{stream}", "TOPIC_ID": "id", "CLAIMED": "0:10,1:20"}
    return {**counts, **own, "LAST_LOAD": None, "ROWS_10M": 0, **changes}


def names(wanted: Wanted, rows: list[dict[str, Any]], lags: dict[str, int | None] | None = None) -> list[str]:
    return [r["STREAM"] for r in wanted.ordered(wanted.among(rows), lags or {})]


def test_the_worst_comes_first_and_equals_by_name() -> None:
    rows = [row("b"), row("a"), row("late", SEVERITY=1, LATE=3), row("gap", SEVERITY=2, GAPS=1)]
    assert names(Wanted(), rows) == ["gap", "late", "a", "b"]
    assert names(Wanted(direction="asc"), rows) == ["a", "b", "late", "gap"]


def test_what_is_not_known_comes_last_either_way() -> None:
    rows, lags = [row("a"), row("b"), row("c")], {"a": None, "b": 1, "c": 2}
    assert names(Wanted(sort="lag"), rows, lags) == ["c", "b", "a"]
    assert names(Wanted(sort="lag", direction="asc"), rows, lags) == ["b", "c", "a"]


def test_the_oldest_load_is_the_least_fresh() -> None:
    rows = [row(f"day {d}", LAST_LOAD=datetime(2026, 11, d, tzinfo=UTC)) for d in (2, 1, 3)]
    assert names(Wanted(sort="freshness"), rows) == ["day 1", "day 2", "day 3"]


def test_rights_search_and_state() -> None:
    rows = [row("Clicks", SEVERITY=2), row("click_log"), row("orders", DAG_ID=None)]
    assert names(Wanted(search="CLICK"), rows) == ["Clicks", "click_log"]
    assert names(Wanted(state="ok"), rows) == ["click_log", "orders"]
    assert names(Wanted(["land_Clicks"]), rows) == ["Clicks"]
    for wrong in ({"state": "x"}, {"sort": "x"}, {"direction": "x"}):
        with pytest.raises(ConfigurationError, match="x"):
            Wanted(**wrong)


def test_lag_is_what_nobody_has_claimed_and_the_log_still_has() -> None:
    ends = TopicEnds(TopicBounds("t", "id", {0: 0, 1: 25, 2: 3}, {0: 15, 1: 30, 2: 4}))
    assert lag_of(row("t"), ends) == (5 + 5 + 1, None)
    lag, fault = lag_of(row("t", TOPIC_ID="earlier"), ends)
    assert lag is None
    assert fault is not None
    assert fault.what == "The topic was created again; no run has claimed any of it yet"
    assert lag_of(row("t"), None) == (None, None)
    assert pairs_of(None) == {}
