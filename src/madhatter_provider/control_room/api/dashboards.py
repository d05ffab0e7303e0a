"""Dashboards that are defined by files: every chart's rows, or why it has none."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Response

from madhatter_provider.control_room.access import Viewer, ViewerDep
from madhatter_provider.control_room.answers import Answer
from madhatter_provider.control_room.dashboards import QUALITY
from madhatter_provider.control_room.json_values import CSV_ROWS, csv_answer, fault_of, plain
from madhatter_provider.control_room.room import Room
from madhatter_provider.core.dashboards.definition import Chart, Dashboard
from madhatter_provider.core.dashboards.periods import Period, period_named
from madhatter_provider.core.dashboards.queries import bucket_minutes, chart_query
from madhatter_provider.core.errors import ConfigurationError, MadHatterError, SqlError

router = APIRouter()

Span = Annotated[str, Query(max_length=8)]
"""Name of a period."""


@router.get("/api/dashboards/{name}")
def dashboard(one: ViewerDep, name: str, period: Span = "") -> dict[str, Any]:
    """A dashboard with all its rows; without a period lines go back as far as its file says."""
    return drawn(one.room, readable(one, name), period)


def drawn(room: Room, found: Dashboard, period: str) -> dict[str, Any]:
    """All charts of a dashboard, asked side by side.

    :raises HTTPException: none has an answer, for now.
    """
    charts = _charts(room, found, period)
    newest = [c["as_of"] for c in charts if c["as_of"]]
    if charts and not newest and all(c["fault"] and c["fault"]["transient"] for c in charts):
        raise HTTPException(503, charts[0]["fault"])
    return {
        "title": found.title,
        "text": found.text,
        "has_period": any(c.since for c in found.charts),
        "as_of": min(newest, default=None),
        "fault": next((c["old"] for c in charts if c["old"]), None),
        "charts": charts,
    }


@router.get("/api/dashboards/{name}/{chart}.csv")
def chart_csv(one: ViewerDep, name: str, chart: str, period: Span = "") -> Response:
    """The rows of one chart: of all series, at most 10,000, the newest or the first in its order."""
    found = next((c for c in readable(one, name).charts if c.id == chart), None)
    if found is None:
        raise HTTPException(404, f"Dashboard {name} has no chart {chart!r}")
    rows = one.room.answers.get(*chart_query(found, CSV_ROWS, _period(period), series=None)).rows
    names = column_names(found)
    named = [{title: r.get(key) for key, title in names.items()} for r in rows]
    return csv_answer(f"{name}-{chart}", list(names.values()), named)


def readable(one: Viewer, name: str) -> Dashboard:
    """A dashboard.

    :raises HTTPException: it is not there, or not for this person; both look the same.
    """
    found = one.room.dashboards.find(name)
    if found is None or not may_see(one, found):
        raise HTTPException(404, f"There is no dashboard {name!r}, or you may not read its DAG")
    return found


def may_see(one: Viewer, found: Dashboard) -> bool:
    """Whether a dashboard is for this person. Charts of quality span all streams, so they are for those who
    may read all DAGs.
    """
    return one.may_read(found.dag) and (found.name != QUALITY or one.readable_dags() is None)


def _charts(room: Room, found: Dashboard, period: str) -> list[dict[str, Any]]:
    chosen = _period(period)
    answers = room.answers.try_gather([chart_query(c, None, chosen) for c in found.charts])
    spans = [bucket_minutes(c, chosen) if chosen and c.since else None for c in found.charts]
    return [_chart(c, a) | {"bucket": span} for c, a, span in zip(found.charts, answers, spans, strict=True)]


def _period(name: str) -> Period | None:
    return period_named(name) if name else None


def column_names(chart: Chart) -> dict[str, str]:
    """The columns of the chart's mart by the names in its rows."""
    keys = {"X": chart.x} if chart.kind in ("lines", "bars") else {}
    if chart.series:
        keys["SERIES"] = chart.series
    return keys | {f"M{i}": f.title for i, f in enumerate(chart.fields)}


def _chart(chart: Chart, answer: Answer | MadHatterError) -> dict[str, Any]:
    given = {
        "id": chart.id,
        "title": chart.title,
        "text": chart.text,
        "kind": chart.kind,
        "mart": chart.mart,
        "wide": chart.wide,
        "x": chart.x,
        "series": chart.series,
        "fields": [{"title": f.title, "unit": f.unit, "as": f.shown_as} for f in chart.fields],
        "rows": [],
        "as_of": None,
        "old": None,
        "fault": None,
    }
    if isinstance(answer, MadHatterError):
        return given | {"fault": fault_of(in_words(answer, chart.mart))}
    series = answer.rows[0].get("SERIES_COUNT") if answer.rows else None
    times = [f"M{i}" for i in range(len(chart.fields)) if _is_time(answer.rows, f"M{i}")]
    return given | {
        "rows": [{k.lower(): plain(v) for k, v in r.items() if k != "SERIES_COUNT"} for r in answer.rows],
        "series_count": int(series) if series else None,
        "times": [t.lower() for t in times],
        "as_of": answer.as_of.isoformat(),
        "old": fault_of(answer.fault),
    }


def _is_time(rows: Sequence[dict[str, Any]], name: str) -> bool:
    first = next((r[name] for r in rows if r.get(name) is not None), None)
    return isinstance(first, datetime | date)


def in_words(err: MadHatterError, mart: str) -> MadHatterError:
    """An error about a mart, for those who look at a chart."""
    if isinstance(err, SqlError) and "does not exist" in err.what:
        return ConfigurationError(
            f"MARTS.{mart} is not in Snowflake, or lacks a column of this chart",
            where=err.what[:300],
            remedy="Run `madhatter sql apply`, and grant the role of the connection SELECT on the mart.",
        )
    return err
