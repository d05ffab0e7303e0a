"""The list of streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from madhatter_provider.control_room.access import ViewerDep
from madhatter_provider.control_room.broker import TopicEnds
from madhatter_provider.control_room.json_values import csv_answer, fault_of, plain, row_of
from madhatter_provider.control_room.queries import streams as queries
from madhatter_provider.control_room.room import Room
from madhatter_provider.core.errors import ConfigurationError, MadHatterError

router = APIRouter()

_CSV_ROWS = 10_000
_MINUTES = 30
_CSV_COLUMNS = (
    "STREAM", "TOPIC", "TOPIC_ID", "DAG_ID", "PARTITIONS", "RANGES", "NEWEST_EVENT", "LAST_LOAD",
    "ROWS_LOADED", "ROWS_QUARANTINED", "ROWS_10M", "UNFINISHED", "LATE", "LOST", "FAILED_GATES", "GAPS",
)  # fmt: skip

Search = Annotated[str, Query(max_length=128)]
Number = Annotated[int, Query(ge=0, le=10_000)]


@router.get("/api/streams")
def streams(
    one: ViewerDep, search: Search = "", state: str = "", sort: str = "state", page: Number = 0
) -> dict[str, Any]:
    """One page of streams, the sums over all of them, and the lag of those on the page."""
    wanted = queries.Wanted(one.readable_dags(), search.strip(), state)
    answers = one.room.answers
    listed = answers.get(*queries.page(wanted, sort, page))
    sums = {name: listed.rows[0][name] if listed.rows else 0 for name in queries.TOTALS}
    names = [r["STREAM"] for r in listed.rows]
    loads = answers.get(*queries.throughput(names, _MINUTES)).rows if names else []
    return {
        "as_of": listed.as_of.isoformat(),
        "fault": fault_of(listed.fault),
        "page": page,
        "page_rows": queries.PAGE_ROWS,
        "totals": {name.removeprefix("ALL_").lower(): plain(value) for name, value in sums.items()},
        "streams": [r | {"loads": _per_minute(r["stream"], loads)} for r in _with_lag(listed.rows, one.room)],
        "broker": broker_state(one.room, [r["TOPIC"] for r in listed.rows]),
    }


@router.get("/api/streams.csv")
def streams_csv(one: ViewerDep, search: Search = "", state: str = "", sort: str = "state") -> Response:
    """All streams that match."""
    wanted = queries.Wanted(one.readable_dags(), search.strip(), state)
    rows = one.room.answers.get(*queries.page(wanted, sort, 0, _CSV_ROWS)).rows
    return csv_answer("streams", _CSV_COLUMNS, rows)


def _with_lag(rows: Sequence[Mapping[str, Any]], room: Room) -> list[dict[str, Any]]:
    """The rows of the list, with what the broker has and no run has claimed."""
    known = room.broker.look([str(r["TOPIC"]) for r in rows if r["TOPIC"]])
    claimed = _claimed_ends(room, [r for r in rows if r["TOPIC"] in known]) if known else {}
    return [_own(r) | _lag(known.get(str(r["TOPIC"])), r, claimed.get(r["STREAM"], {})) for r in rows]


def _own(row: Mapping[str, Any]) -> dict[str, Any]:
    """A stream's row without the sums over all."""
    return row_of({name: value for name, value in row.items() if name not in queries.TOTALS})


def _claimed_ends(room: Room, rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, int]]:
    found: dict[str, dict[int, int]] = {}
    for r in room.answers.get(*queries.claimed_ends([(r["STREAM"], r["TOPIC_ID"]) for r in rows])).rows:
        found.setdefault(r["STREAM"], {})[int(r["PARTITION_ID"])] = int(r["LAST_OFFSET"])
    return found


def _lag(ends: TopicEnds | None, row: Mapping[str, Any], claimed: Mapping[int, int]) -> dict[str, Any]:
    if ends is None or ends.bounds is None:
        return {"lag": None, "broker_fault": ends.fault.what if ends and ends.fault else None}
    bounds = ends.bounds
    if bounds.topic_id != row["TOPIC_ID"]:
        return {"lag": None, "broker_fault": "The topic was created again; no run has claimed any of it yet"}
    lag = sum(max(0, end - max(claimed.get(p, 0), bounds.starts.get(p, 0))) for p, end in bounds.ends.items())
    return {"lag": lag, "broker_fault": None}


def broker_state(room: Room, topics: Sequence[str | None]) -> dict[str, Any]:
    """Whether the brokers are asked, and what they say against it."""
    known = room.broker.look([str(t) for t in topics if t])
    faults: list[MadHatterError] = [e.fault for e in known.values() if e.fault is not None]
    # One topic that is gone is said beside its stream.
    worst = next((f for f in faults if f.transient or isinstance(f, ConfigurationError)), None)
    return {
        "asked": room.broker.asked,
        "pending": any(e.pending for e in known.values()),
        "fault": fault_of(worst),
    }


def _per_minute(stream: str, loads: Sequence[Mapping[str, Any]]) -> list[int]:
    """Rows loaded in each of the last minutes, the oldest first."""
    counts = [0] * (_MINUTES + 1)
    for row in loads:
        if row["STREAM"] == stream:
            counts[_MINUTES - min(_MINUTES, int(row["MINUTES_AGO"]))] += int(row["LOADED"] or 0)
    return counts[1:]
