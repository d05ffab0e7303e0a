"""The list of streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Response

from madhatter_provider.control_room.access import ViewerDep
from madhatter_provider.control_room.answers import Answer
from madhatter_provider.control_room.json_values import CSV_ROWS, csv_answer, fault_of, row_of
from madhatter_provider.control_room.queries import streams as queries
from madhatter_provider.control_room.room import Room
from madhatter_provider.control_room.stream_list import Wanted, lag_of, pairs_of
from madhatter_provider.core.errors import ConfigurationError, MadHatterError, SqlError, TopicError

router = APIRouter()

PAGE_ROWS: Final = 50
_CSV_COLUMNS = (
    "STREAM", "TOPIC", "TOPIC_ID", "DAG_ID", "PARTITIONS", "RANGES", "LAG", "NEWEST_EVENT", "LAST_LOAD",
    "ROWS_LOADED", "ROWS_QUARANTINED", "ROWS_10M", "UNFINISHED", "LATE", "LOST", "FAILED_GATES", "GAPS",
    "ROWS_BY_MINUTE",
)  # fmt: skip

Search = Annotated[str, Query(max_length=128)]
Number = Annotated[int, Query(ge=0, le=10_000)]
Row = Mapping[str, Any]


@router.get("/api/streams")
def streams(
    one: ViewerDep,
    search: Search = "",
    state: str = "",
    sort: str = "state",
    direction: str = "",
    page: Number = 0,
) -> dict[str, Any]:
    """One page of streams, the sums over all that match, and the lag of those on the page."""
    wanted = Wanted(one.readable_dags(), search.strip(), state, sort, direction)
    listed, loads = asked(one.room, queries.summary(), queries.loads())
    found = wanted.among(listed.rows)
    rows = _in_order(one.room, wanted, found)[page * PAGE_ROWS :][:PAGE_ROWS]
    minutes = {r["STREAM"]: r["LOADS"] for r in loads.rows}
    return {
        "as_of": listed.as_of.isoformat(),
        "fault": fault_of(listed.fault),
        "page": page,
        "page_rows": PAGE_ROWS,
        "sort": sort,
        "descending": wanted.descending,
        "totals": _totals(found),
        "streams": [_shown(one.room, r, minutes.get(r["STREAM"])) for r in rows],
        "broker": broker_state(one.room, [r["TOPIC"] for r in (found if sort == "lag" else rows)]),
    }


@router.get("/api/streams.csv")
def streams_csv(
    one: ViewerDep, search: Search = "", state: str = "", sort: str = "state", direction: str = ""
) -> Response:
    """All streams that match. ROWS_BY_MINUTE: rows loaded in each of the last 30 minutes, oldest first."""
    wanted = Wanted(one.readable_dags(), search.strip(), state, sort, direction)
    listed, loads = asked(one.room, queries.summary(), queries.loads())
    rows = _in_order(one.room, wanted, wanted.among(listed.rows))[:CSV_ROWS]
    lags = _lags(one.room, rows)
    minutes = {r["STREAM"]: _per_minute(pairs_of(r["LOADS"])) for r in loads.rows}
    none = _per_minute({})
    given = [
        {
            **r,
            "LAG": lags.get(r["STREAM"]),
            "ROWS_BY_MINUTE": " ".join(map(str, minutes.get(r["STREAM"], none))),
        }
        for r in rows
    ]
    return csv_answer("streams", _CSV_COLUMNS, given)


def asked(room: Room, *questions: queries.Statement) -> list[Answer]:
    """Answers about all streams.

    :raises MadHatterError: there is none; of views that are missing it says what to do.
    """
    try:
        return room.answers.gather(questions)
    except SqlError as err:
        if "does not exist" not in err.what:
            raise
        raise ConfigurationError(
            "OPS.STREAM_SUMMARY or OPS.STREAM_LOADS is not in Snowflake",
            where=err.what[:300],
            remedy="Run `madhatter sql apply`, and grant the role of the connection SELECT on views of OPS.",
        ) from err


def broker_state(room: Room, topics: Sequence[str | None]) -> dict[str, Any]:
    """Whether the brokers are asked, what they say against it, and how old what is shown of them is. What is
    wrong with one topic is said beside its stream.
    """
    known = room.broker.look([str(t) for t in topics if t])
    faults: list[MadHatterError] = [e.fault for e in known.values() if e.fault is not None]
    worst = next((f for f in faults if not isinstance(f, TopicError)), None)
    told = [e.told_at for e in known.values() if e.told_at is not None]
    return {
        "asked": room.broker.asked,
        "pending": any(e.pending for e in known.values()),
        "as_of": min(told).isoformat() if told else None,
        "fault": fault_of(worst),
    }


def _in_order(room: Room, wanted: Wanted, rows: Sequence[Row]) -> list[Row]:
    return wanted.ordered(rows, _lags(room, rows) if wanted.sort == "lag" else {})


def _lags(room: Room, rows: Sequence[Row]) -> dict[str, int | None]:
    known = room.broker.look([str(r["TOPIC"]) for r in rows if r["TOPIC"]])
    return {str(r["STREAM"]): lag_of(r, known.get(str(r["TOPIC"])))[0] for r in rows}


def lag_and_fault(room: Room, row: Row) -> tuple[int | None, dict[str, Any] | None]:
    """A stream's lag, or what is wrong with its topic: that it is gone, say."""
    topic = str(row["TOPIC"] or row["STREAM"])
    lag, fault = lag_of(row, room.broker.look([topic]).get(topic))
    return lag, fault_of(fault) if isinstance(fault, TopicError) else None


def _shown(room: Room, row: Row, loads: str | None) -> dict[str, Any]:
    lag, fault = lag_and_fault(room, row)
    own = row_of({name: value for name, value in row.items() if name != "CLAIMED"})
    return own | {"lag": lag, "topic_fault": fault, "loads": _per_minute(pairs_of(loads))}


def _totals(rows: Sequence[Row]) -> dict[str, int]:
    return {
        "streams": len(rows),
        "problem": sum(r["SEVERITY"] == 2 for r in rows),
        "late": sum(r["SEVERITY"] == 1 for r in rows),
        **{
            c.lower(): sum(int(r[c] or 0) for r in rows)
            for c in ("ROWS_10M", "ROWS_LOADED", "ROWS_QUARANTINED")
        },
    }


def _per_minute(loads: Mapping[int, int]) -> list[int]:
    """Rows loaded in each of the last minutes, the oldest first."""
    return [loads.get(ago, 0) for ago in reversed(range(queries.MINUTES))]
