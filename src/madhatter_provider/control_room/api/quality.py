"""Quality: gates, rules that fail, reports, and the quarantine with its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Response

from madhatter_provider.control_room.access import ViewerDep, without_hidden_dags
from madhatter_provider.control_room.api.dashboards import Span, drawn, may_see
from madhatter_provider.control_room.api.stream import Name, known_stream
from madhatter_provider.control_room.api.streams import Number
from madhatter_provider.control_room.dashboards import QUALITY
from madhatter_provider.control_room.json_values import (
    CSV_ROWS,
    csv_answer,
    fault_of,
    readable,
    row_of,
    rows_of,
)
from madhatter_provider.control_room.queries import quality as queries
from madhatter_provider.core.errors import StorageError

router = APIRouter()

_SHOWN_CHARACTERS = 4000
_ROW_COLUMNS = (
    "TOPIC_ID", "PARTITION_ID", "MESSAGE_OFFSET", "SENT_AT", "MESSAGE_KEY", "RULE", "COLUMN_NAME", "REASON",
    "RAW", "CONTRACT_VERSION", "RUN_ID",
)  # fmt: skip
_REPORT_CSP = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "frame-ancestors 'self'"
)

Part = Annotated[str, Query(max_length=256)]


@router.get("/api/quality")
def quality(one: ViewerDep) -> dict[str, Any]:
    """The tables of the page, the worst rows of each, and sums over all rows that this person may read."""
    dag_ids = one.readable_dags()
    questions = [table(dag_ids) for table in queries.TABLES.values()]
    answers = dict(zip(queries.TABLES, one.room.answers.gather(questions), strict=True))
    sums = {name: _sums(a.rows) for name, a in answers.items()}
    return {
        "as_of": min(a.as_of for a in answers.values()).isoformat(),
        "fault": next((fault_of(a.fault) for a in answers.values() if a.fault), None),
        "rows": {name: found.get("ALL_ROWS", 0) for name, found in sums.items()},
        "totals": {
            "failed_gates": sums["gates"].get("ALL_FAILED", 0),
            "not_yet": sums["gates"].get("ALL_NOT_YET", 0),
            "critical": sums["failing"].get("ALL_CRITICAL", 0),
            "held": sums["quarantined"].get("ALL_HELD", 0),
        },
        **{name: rows_of(_listed(a.rows, dag_ids)) for name, a in answers.items()},
    }


@router.get("/api/quality/charts")
def quality_charts(one: ViewerDep, period: Span = "") -> dict[str, Any]:
    """The charts of the page; none if no file defines them, or for people who may not see them."""
    defined = one.room.dashboards.find(QUALITY)
    if defined is None or not may_see(one, defined):
        return {"has_period": False, "fault": None, "charts": []}
    return drawn(one.room, defined, period)


@router.get("/api/quality/{part}.csv")
def quality_csv(one: ViewerDep, part: str) -> Response:
    """One table of the page, with up to 10,000 rows, the worst first."""
    if part not in queries.TABLES:
        raise HTTPException(404, f"There is no table {part!r}")
    dag_ids = one.readable_dags()
    rows = _listed(one.room.answers.get(*queries.TABLES[part](dag_ids, CSV_ROWS)).rows, dag_ids)
    return csv_answer(part, list(rows[0]) if rows else [], rows)


@router.get("/api/quarantine")
def quarantine(
    one: ViewerDep, stream: Name, rule: Part = "", column: Part = "", page: Number = 0
) -> dict[str, Any]:
    """One page of a stream's quarantined messages."""
    known_stream(one, stream, one.readable_dags())
    found = one.room.answers.get(*queries.quarantined_rows(stream, rule, column, page))
    return {
        "as_of": found.as_of.isoformat(),
        "fault": fault_of(found.fault),
        "page": page,
        "page_rows": queries.PAGE_ROWS,
        "total": int(found.rows[0]["TOTAL"]) if found.rows else 0,
        "rows": [row_of(r) | _message(r["RAW"]) for r in found.rows],
    }


@router.get("/api/quarantine.csv")
def quarantine_csv(one: ViewerDep, stream: Name, rule: Part = "", column: Part = "") -> Response:
    """The newest 10,000 quarantined messages of a stream, whole."""
    known_stream(one, stream, one.readable_dags())
    rows = one.room.answers.get(*queries.quarantined_rows(stream, rule, column, 0, CSV_ROWS)).rows
    shown = [r | {"RAW": readable(r["RAW"]) if r["RAW"] is not None else None} for r in rows]
    return csv_answer(f"quarantine-{stream}", _ROW_COLUMNS, shown)


@router.get("/report")
def report(one: ViewerDep, stream: Name, round_id: Annotated[str, Query(max_length=256)]) -> Response:
    """The page that a round of the deep gate has written. It runs no script here."""
    known_stream(one, stream, one.readable_dags())
    rows = one.room.answers.get(*queries.report(stream, round_id)).rows
    place = str(rows[0]["REPORT"] or "") if rows else ""
    content = _read(place) if place else None
    if content is None:
        raise HTTPException(404, f"There is no report of stream {stream} of round {round_id}")
    return Response(
        content, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": _REPORT_CSP}
    )


def _sums(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """What every row says of all of them; nothing, if there is none."""
    return {name: int(value or 0) for name, value in rows[0].items() if _is_sum(name)} if rows else {}


def _listed(rows: Sequence[Mapping[str, Any]], dag_ids: Sequence[str] | None) -> list[dict[str, Any]]:
    own = [{name: value for name, value in row.items() if not _is_sum(name)} for row in rows]
    return without_hidden_dags(own, dag_ids)


def _is_sum(name: str) -> bool:
    return name.startswith("ALL_")


def _read(place: str) -> bytes | None:
    from madhatter_provider.hooks.object_store import open_store

    folder, _, name = place.rpartition("/")
    try:
        return open_store(folder).read(name)
    except OSError as err:
        raise StorageError(
            f"The report cannot be read: {err.strerror}", where=place, remedy="Look at the storage."
        ) from err


def _message(raw: bytes | None) -> dict[str, Any]:
    text = readable(raw) if raw is not None else None
    return {
        "raw": text[:_SHOWN_CHARACTERS] if text else text,
        "cut": bool(text and len(text) > _SHOWN_CHARACTERS),
    }
