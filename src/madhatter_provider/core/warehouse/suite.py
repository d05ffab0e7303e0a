"""The deep gate's suite: a contract as Great Expectations expectations, and what their results mean.

Only dicts: nothing here needs Great Expectations. The suite says everything that the contract says, so it
repeats the row rules of the landing on what really is in the table, and adds what only a set of rows can
show.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from madhatter_provider.core.contracts.contract import Column, Contract, Metric
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.core.warehouse.gate import Decision
from madhatter_provider.core.warehouse.ledger import LedgerRow, Statement
from madhatter_provider.core.warehouse.sql import literal, quote

TABLE: Final = "OPS.QUALITY_RESULTS"
# Identifiers that begin with an underscore are quoted by clients that mean well: other names in the checked
# query.
COORDINATE_NAMES: Final = {"_TOPIC_ID": "TOPIC_ID", "_PARTITION": "PARTITION_ID", "_OFFSET": "KAFKA_OFFSET"}


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation: Great Expectations' type name and arguments, under an id of ours."""

    id: str
    type: str
    arguments: Mapping[str, Any]
    critical: bool

    @property
    def severity(self) -> str:
        """``critical`` or ``warning``."""
        return "critical" if self.critical else "warning"

    @property
    def columns(self) -> str | None:
        """Column or columns concerned."""
        named = self.arguments.get("column") or ",".join(self.arguments.get("column_list", ()))
        return str(named) or None

    def as_dict(self) -> dict[str, Any]:
        """As Great Expectations reads it."""
        return {
            "type": self.type,
            "kwargs": dict(self.arguments),
            "severity": self.severity,
            "meta": {"id": self.id},
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one expectation found. ``observed`` is text; counts are rows."""

    expectation: Expectation
    passed: bool
    observed: str = ""
    checked: int | None = None
    unexpected: int | None = None


@dataclass(frozen=True, slots=True)
class StreamRound:
    """One stream in one round of the deep gate: the ranges looked at, what came out, where the page is."""

    contract: Contract
    rows: tuple[LedgerRow, ...]
    outcomes: tuple[Outcome, ...] = field(default=())
    report: str = ""

    @property
    def decision(self) -> Decision:
        """Fail when a critical expectation failed, warn when another did."""
        failed = [o.expectation for o in self.outcomes if not o.passed]
        if any(e.critical for e in failed):
            return "fail"
        return "warn" if failed else "pass"

    @property
    def broken(self) -> list[str]:
        """Ids of the expectations that failed, critical ones first."""
        failed = sorted((o for o in self.outcomes if not o.passed), key=lambda o: not o.expectation.critical)
        return [o.expectation.id for o in failed]


def compile_suite(contract: Contract) -> list[Expectation]:
    """The contract's expectations."""
    suite = [e for column in contract.columns for e in _of_column(column)]
    suite += [_of_metric(contract, metric) for metric in contract.metrics]
    coordinates = {"column_list": [name.lower() for name in COORDINATE_NAMES.values()]}
    suite.append(
        Expectation("loaded_once", "expect_compound_columns_to_be_unique", coordinates, critical=True)
    )
    return suite


def _of_column(column: Column) -> Iterator[Expectation]:
    name = column.name.lower()

    def expect(rule: str, kind: str, **arguments: Any) -> Expectation:
        return Expectation(f"{name}.{rule}", kind, {"column": name, **arguments}, critical=True)

    if column.required:
        yield expect("nulls", "expect_column_values_to_not_be_null")
    if column.values:
        yield expect("unknown", "expect_column_values_to_be_in_set", value_set=list(column.values))
    if column.minimum is not None or column.maximum is not None:
        bounds = {"min_value": column.minimum, "max_value": column.maximum}
        yield expect("outside", "expect_column_values_to_be_between", **bounds)
    if column.min_length is not None or column.max_length is not None:
        bounds = {"min_value": column.min_length, "max_value": column.max_length}
        yield expect("length", "expect_column_value_lengths_to_be_between", **bounds)
    if column.pattern is not None:
        yield expect("pattern", "expect_column_values_to_match_regex", regex=column.pattern)


def _of_metric(contract: Contract, metric: Metric) -> Expectation:
    columns = [c.lower() for c in metric.columns or contract.primary_key]
    allowed = metric.high if metric.high is not None else 0.0
    mostly = 1.0 - allowed / 100.0 if metric.unit == "percent" else 1.0
    kind, arguments = _METRICS[metric.metric](metric, columns, mostly)
    return Expectation(metric.id, kind, arguments, metric.critical)


def _row_count(metric: Metric, columns: list[str], mostly: float) -> tuple[str, dict[str, Any]]:
    return "expect_table_row_count_to_be_between", {"min_value": metric.low, "max_value": metric.high}


def _duplicates(metric: Metric, columns: list[str], mostly: float) -> tuple[str, dict[str, Any]]:
    if len(columns) > 1:
        return "expect_compound_columns_to_be_unique", {"column_list": columns, "mostly": mostly}
    share = {"column": columns[0], "min_value": mostly, "max_value": 1.0}
    return "expect_column_proportion_of_unique_values_to_be_between", share


def _nulls(metric: Metric, columns: list[str], mostly: float) -> tuple[str, dict[str, Any]]:
    return "expect_column_values_to_not_be_null", {"column": columns[0], "mostly": mostly}


def _invalid(metric: Metric, columns: list[str], mostly: float) -> tuple[str, dict[str, Any]]:
    values = {"column": columns[0], "value_set": list(metric.values), "mostly": mostly}
    return "expect_column_values_to_be_in_set", values


_METRICS: Final = {
    "rowCount": _row_count,
    "duplicateValues": _duplicates,
    "nullValues": _nulls,
    "invalidValues": _invalid,
}


def rows_query(contract: Contract, rows: Sequence[LedgerRow], schema: str = "RAW") -> str:
    """The rows of these ranges, and nothing else. Ranges that touch are taken together."""
    conditions = []
    for topic_id in dict.fromkeys(r.topic_id for r in rows):
        ranges = tuple(
            OffsetRange(r.partition_id, r.start_offset, r.end_offset) for r in rows if r.topic_id == topic_id
        )
        parts = " OR ".join(
            f"(_PARTITION = {r.partition} AND _OFFSET >= {r.start} AND _OFFSET < {r.end})"
            for r in Slice(contract.topic, topic_id, ranges)
        )
        conditions.append(f"(_TOPIC_ID = {literal(topic_id)} AND ({parts or '1 = 0'}))")
    names = [quote(c.name) for c in contract.columns]
    names += [f"{name} AS {alias}" for name, alias in COORDINATE_NAMES.items()]
    return f"SELECT {', '.join(names)} FROM {schema}.{contract.table} WHERE {' OR '.join(conditions)}"


_RESULT_COLUMNS: Final = {
    "ROUND_ID": "VARCHAR",
    "STREAM": "VARCHAR",
    "CONTRACT_VERSION": "VARCHAR",
    "EXPECTATION_ID": "VARCHAR",
    "EXPECTATION": "VARCHAR",
    "COLUMN_NAME": "VARCHAR",
    "SEVERITY": "VARCHAR",
    "SUCCESS": "BOOLEAN",
    "OBSERVED": "VARCHAR",
    "ROWS_CHECKED": "NUMBER(38,0)",
    "ROWS_UNEXPECTED": "NUMBER(38,0)",
    "RANGES": "NUMBER(10,0)",
    "DAG_ID": "VARCHAR",
    "REPORT": "VARCHAR",
    "CHECKED_AT": "TIMESTAMP_TZ(6)",
}
_RESULT_KEY: Final = ("ROUND_ID", "STREAM", "EXPECTATION_ID")


def record_results(done: StreamRound, dag_id: str, round_id: str) -> Statement:
    """One MERGE of a stream's results; the same round again replaces its results."""
    now = datetime.now(UTC).isoformat()
    rows = [
        {
            "ROUND_ID": round_id,
            "STREAM": done.contract.stream,
            "CONTRACT_VERSION": done.contract.version,
            "EXPECTATION_ID": o.expectation.id,
            "EXPECTATION": o.expectation.type,
            "COLUMN_NAME": o.expectation.columns,
            "SEVERITY": o.expectation.severity,
            "SUCCESS": o.passed,
            "OBSERVED": o.observed[:1024] or None,
            "ROWS_CHECKED": o.checked,
            "ROWS_UNEXPECTED": o.unexpected,
            "RANGES": len(done.rows),
            "DAG_ID": dag_id,
            "REPORT": done.report or None,
            "CHECKED_AT": now,
        }
        for o in done.outcomes
    ]
    picks = ", ".join(f"r.VALUE:{c}::{kind} AS {c}" for c, kind in _RESULT_COLUMNS.items())
    sets = ", ".join(f"{c} = s.{c}" for c in _RESULT_COLUMNS if c not in _RESULT_KEY)
    statement = (
        f"MERGE INTO {TABLE} AS t USING (\n"
        f"  SELECT {picks} FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) AS r\n"
        f") AS s ON {' AND '.join(f't.{c} = s.{c}' for c in _RESULT_KEY)}\n"
        f"WHEN MATCHED THEN UPDATE SET {sets}\n"
        f"WHEN NOT MATCHED THEN INSERT ({', '.join(_RESULT_COLUMNS)}) "
        f"VALUES ({', '.join(f's.{c}' for c in _RESULT_COLUMNS)})"
    )
    return statement, [json.dumps(rows, separators=(",", ":"))]


def recorded_decisions(round_id: str) -> Statement:
    """What a round has decided so far: STREAM, DECISION, BROKEN (ids, comma-separated), RANGES, REPORT."""
    return (
        "SELECT STREAM, CASE WHEN COUNT_IF(NOT SUCCESS AND SEVERITY = 'critical') > 0 THEN 'fail' "
        "WHEN COUNT_IF(NOT SUCCESS) > 0 THEN 'warn' ELSE 'pass' END AS DECISION, "
        "LISTAGG(IFF(SUCCESS, NULL, EXPECTATION_ID), ',') AS BROKEN, "
        "MAX(RANGES) AS RANGES, MAX(REPORT) AS REPORT "
        f"FROM {TABLE} WHERE ROUND_ID = ? GROUP BY STREAM ORDER BY STREAM",
        [round_id],
    )
