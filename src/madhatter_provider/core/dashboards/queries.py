"""The SQL of a chart. Names were checked when the file was read, and are quoted; values are bindings."""

from __future__ import annotations

from typing import Any

from madhatter_provider.core.dashboards.definition import Chart, Field
from madhatter_provider.core.warehouse.sql import quote

Statement = tuple[str, list[Any]]
Where = tuple[tuple[str, tuple[str, ...]], ...]


def chart_query(chart: Chart, limit: int | None = None) -> Statement:
    """The rows of a chart; the columns are X, SERIES, and M0, M1, … for its fields.

    :param limit: instead of the chart's own.
    """
    picks, bindings = [], list[Any]()
    for i, field in enumerate(chart.fields):
        text, values = _measure(chart, field)
        picks.append(f"{text} AS M{i}")
        bindings += values
    condition, values = _condition(chart)
    bindings += values
    keys = [f"{text} AS {name}" for name, text in _keys(chart).items()]
    if chart.kind == "table" and any(f.shown_as == "run" for f in chart.fields):
        keys.append(f"{quote('DAG_ID')} AS DAG_ID")
    group = f" GROUP BY {', '.join(_keys(chart))}" if _keys(chart) else ""
    order = _order(chart)
    return (
        f"SELECT {', '.join([*keys, *picks])} FROM MARTS.{chart.mart} AS mart "
        f"WHERE {condition}{group}{order} LIMIT {int(limit or _most(chart))}",
        bindings,
    )


def _most(chart: Chart) -> int:
    return 5000 if chart.kind == "lines" else chart.limit


def _keys(chart: Chart) -> dict[str, str]:
    if chart.kind not in ("lines", "bars"):
        return {}
    column = quote(chart.x)
    keys = {"X": f"DATE_TRUNC('{chart.per}', {column})" if chart.per else column}
    return keys | ({"SERIES": quote(chart.series)} if chart.series else {})


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


def _condition(chart: Chart) -> Statement:
    condition, bindings = _matches(chart.where)
    parts = [condition] if condition else []
    if chart.since:
        number, unit = chart.since
        parts.append(f"{quote(chart.x)} >= DATEADD('{unit}', -{int(number)}, CURRENT_TIMESTAMP())")
    return " AND ".join(parts) or "TRUE", bindings
