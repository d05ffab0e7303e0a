"""The SQL of a chart. Names were checked when the file was read, and are quoted; values are bindings."""

from __future__ import annotations

from typing import Any, Final

from madhatter_provider.core.dashboards.definition import Chart, Field
from madhatter_provider.core.dashboards.periods import UNIT_MINUTES, Period, bucket_of
from madhatter_provider.core.warehouse.sql import quote

Statement = tuple[str, list[Any]]
Where = tuple[tuple[str, tuple[str, ...]], ...]

MOST_SERIES: Final = 12
"""A chart of a thousand lines says nothing, and takes long to make."""


def chart_query(
    chart: Chart, limit: int | None = None, period: Period | None = None, series: int | None = MOST_SERIES
) -> Statement:
    """The rows of a chart; the columns are X, SERIES, and M0, M1, … for its fields. Of series also
    PLACE, 1 for the greatest, and SERIES_COUNT, how many there are.

    :param limit: instead of the chart's own.
    :param period: instead of the chart's own, if it is lines that go back for a while.
    :param series: only this many, the greatest; ``None``: all, without PLACE and SERIES_COUNT.
    """
    if not chart.since:
        period = None
    picks, bindings = [], list[Any]()
    for i, field in enumerate(chart.fields):
        text, values = _measure(chart, field)
        picks.append(f"{text} AS M{i}")
        bindings += values
    condition, values = _condition(chart, period)
    bindings += values
    key_columns = _keys(chart, period)
    keys = [f"{text} AS {name}" for name, text in key_columns.items()]
    if chart.kind == "table" and any(f.shown_as == "run" for f in chart.fields):
        keys.append(f"{quote('DAG_ID')} AS DAG_ID")
    group = f" GROUP BY {', '.join(key_columns)}" if key_columns else ""
    rows = f"SELECT {', '.join([*keys, *picks])} FROM MARTS.{chart.mart} AS mart WHERE {condition}{group}"
    if chart.series and series:
        rows = _greatest(rows, series, chart.fields[0])
    return f"{rows}{_order(chart)} LIMIT {int(limit or _most(chart))}", bindings


def _greatest(rows: str, series: int, field: Field) -> str:
    # Sums add up over time; of shares, averages and extremes the highest point counts.
    weight = "SUM" if field.aggregate in ("sum", "count") else "MAX"
    return (
        "SELECT X, SERIES, M0, PLACE, MAX(PLACE) OVER () AS SERIES_COUNT FROM ("
        "SELECT *, DENSE_RANK() OVER (ORDER BY WEIGHT DESC NULLS LAST, SERIES) AS PLACE FROM ("
        f"SELECT *, {weight}(M0) OVER (PARTITION BY SERIES) AS WEIGHT FROM ({rows}) AS points"
        f") AS weighed) AS placed QUALIFY PLACE <= {int(series)}"
    )


def _most(chart: Chart) -> int:
    return 5000 if chart.kind == "lines" else chart.limit


def _keys(chart: Chart, period: Period | None) -> dict[str, str]:
    if chart.kind not in ("lines", "bars"):
        return {}
    column = quote(chart.x)
    minutes = bucket_minutes(chart, period)
    keys = {"X": bucket_of(column, minutes) if minutes else column}
    return keys | ({"SERIES": quote(chart.series)} if chart.series else {})


def bucket_minutes(chart: Chart, period: Period | None = None) -> int | None:
    """What one point of lines stands for: the period's minutes, but never finer than the chart's own;
    ``None`` if it is a row of the mart.
    """
    if not chart.per:
        return None
    own = UNIT_MINUTES[chart.per]
    return max(own, period.bucket) if period else own


def _order(chart: Chart) -> str:
    if chart.kind == "lines":
        return " ORDER BY X DESC"
    if chart.kind == "bars":
        return " ORDER BY M0 DESC NULLS LAST, X"
    if chart.sort:
        column, _, way = chart.sort.partition(" ")
        return f" ORDER BY {quote(column)} {way.upper() or 'ASC'} NULLS LAST"
    return ""


def _measure(chart: Chart, field: Field) -> Statement:
    column = quote(field.name)
    if chart.kind == "table":
        return column, []
    condition, bindings = _matches(field.where)
    if field.of:
        part, whole = _only(column, condition), _only(quote(field.of), condition)
        return f"100.0 * SUM({part}) / NULLIF(SUM({whole}), 0)", bindings * 2
    if field.aggregate == "latest":
        return f"MAX_BY({_only(column, condition)}, {quote(chart.x)})", bindings
    return f"{field.aggregate.upper()}({_only(column, condition)})", bindings


def _only(column: str, condition: str) -> str:
    return f"IFF({condition}, {column}, NULL)" if condition else column


def _matches(where: Where) -> Statement:
    parts = [f"{quote(column)} IN ({', '.join('?' * len(values))})" for column, values in where]
    return " AND ".join(parts), [v for _, values in where for v in values]


def _condition(chart: Chart, period: Period | None) -> Statement:
    condition, bindings = _matches(chart.where)
    parts = [condition] if condition else []
    since = (period.hours, "hour") if period else chart.since
    if since:
        number, unit = since
        parts.append(f"{quote(chart.x)} >= DATEADD('{unit}', -{int(number)}, CURRENT_TIMESTAMP())")
    return " AND ".join(parts) or "TRUE", bindings
