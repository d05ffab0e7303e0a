"""The fast gate: a contract's critical rules and metrics, measured by one aggregated SQL over exactly one
slice.

1. :func:`compile_gate` writes the statement. Its first column, ``ROW_COUNT``, also proves the load.
2. Whoever has a connection runs it; it returns one row.
3. :func:`judge` compares the row with the contract's bounds.

Row rules were enforced when the slice landed, so a hit here means that landing or load went wrong; the
dataset rules (duplicates, nulls, row counts, the share of quarantined rows) can only be judged here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal

from madhatter_provider.core.contracts.contract import Column, Contract, Metric
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.warehouse.sql import literal, quote

Decision = Literal["pass", "warn", "fail"]
Severity = Literal["critical", "warning"]
OffsetRange = tuple[int, int, int]
"""Partition, start, end: ``[start, end)``."""

ROW_COUNT: Final = "ROW_COUNT"


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What one rule measured. ``measured`` must lie in [``low``, ``high``]; ``unit`` is ``rows`` or
    ``percent``.
    """

    id: str
    metric: str
    column: str | None
    measured: float
    low: float | None
    high: float | None
    unit: str
    severity: Severity
    passed: bool

    @property
    def bound(self) -> str:
        """The bound in words."""
        if self.low is not None and self.high is not None:
            return f"= {self.low:g}" if self.low == self.high else f"between {self.low:g} and {self.high:g}"
        return f"<= {self.high:g}" if self.high is not None else f">= {self.low:g}"

    def __str__(self) -> str:
        sign = "%" if self.unit == "percent" else " rows"
        return f"{self.id}: {self.measured:g}{sign}, must be {self.bound}"


@dataclass(frozen=True, slots=True)
class GateResult:
    """The decision on one slice, and why."""

    stream: str
    decision: Decision
    row_count: int
    results: tuple[RuleResult, ...]

    @property
    def broken(self) -> tuple[RuleResult, ...]:
        """The rules that did not hold, critical ones first."""
        return tuple(sorted((r for r in self.results if not r.passed), key=lambda r: r.severity))

    def as_dict(self) -> dict[str, Any]:
        """Small and JSON-safe, for XCom and asset-event extra: the decision and only the broken rules."""
        return {
            "stream": self.stream,
            "decision": self.decision,
            "row_count": self.row_count,
            "rules": len(self.results),
            "broken": [
                {"id": r.id, "measured": r.measured, "bound": r.bound, "severity": r.severity}
                for r in self.broken
            ],
        }


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule with the SQL aggregate that measures it (a count of rows) and the name of its result column."""

    id: str
    metric: str
    column: str | None
    alias: str
    aggregate: str
    low: float | None
    high: float | None
    unit: str
    severity: Severity


def coordinates(topic_id: str, ranges: Sequence[OffsetRange]) -> tuple[str, list[Any]]:
    """A WHERE condition for exactly the rows of a slice, and its bindings.

    :raises ConfigurationError: no range, or a number is not an integer.
    """
    if not ranges:
        raise ConfigurationError(
            "A slice without ranges has no rows to look at", where=topic_id, remedy="Skip the slice."
        )
    parts = [
        f"(_PARTITION = {int(partition)} AND _OFFSET >= {int(start)} AND _OFFSET < {int(end)})"
        for partition, start, end in ranges
    ]
    return f"_TOPIC_ID = ? AND ({' OR '.join(parts)})", [topic_id]


def compile_gate(
    contract: Contract, topic_id: str, ranges: Sequence[OffsetRange], *, schema: str = "RAW"
) -> tuple[str, list[Any]]:
    """One statement that measures every rule of ``contract`` over the slice's rows, and its bindings."""
    where, bindings = coordinates(topic_id, ranges)
    measures = [f"COUNT(*) AS {ROW_COUNT}", *(f"{r.aggregate} AS {r.alias}" for r in _rules(contract))]
    return f"SELECT {', '.join(measures)}\nFROM {schema}.{contract.table}\nWHERE {where}", bindings


def judge(contract: Contract, measured: Mapping[str, Any], quarantined: int = 0) -> GateResult:
    """Compare what :func:`compile_gate`'s statement returned with the contract.

    :param measured: the row, by upper-case column name.
    :param quarantined: rows of this slice that went to quarantine when it landed.
    """
    rows = int(measured[ROW_COUNT])
    results = [_result(rule, float(measured[rule.alias] or 0), rows) for rule in _rules(contract)]
    results.append(_quarantine(contract, rows, quarantined))
    decision: Decision = "pass"
    if any(not r.passed for r in results):
        decision = "fail" if any(not r.passed and r.severity == "critical" for r in results) else "warn"
    return GateResult(stream=contract.stream, decision=decision, row_count=rows, results=tuple(results))


def _result(rule: _Rule, count: float, rows: int) -> RuleResult:
    measured = count if rule.unit == "rows" else (100.0 * count / rows if rows else 0.0)
    return RuleResult(
        id=rule.id,
        metric=rule.metric,
        column=rule.column,
        measured=measured,
        low=rule.low,
        high=rule.high,
        unit=rule.unit,
        severity=rule.severity,
        passed=_within(measured, rule.low, rule.high),
    )


def _quarantine(contract: Contract, rows: int, quarantined: int) -> RuleResult:
    total = rows + quarantined
    share = 100.0 * quarantined / total if total else 0.0
    high = contract.max_quarantine_percent
    return RuleResult(
        id="quarantined",
        metric="quarantined",
        column=None,
        measured=share,
        low=None,
        high=high,
        unit="percent",
        severity="critical",
        passed=share <= high,
    )


def _within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _rules(contract: Contract) -> list[_Rule]:
    rules = [rule for column in contract.columns for rule in _column_rules(column)]
    rules += [_metric_rule(contract, metric, i) for i, metric in enumerate(contract.metrics)]
    return rules


def _column_rules(column: Column) -> list[_Rule]:
    name, rules = quote(column.name), []

    def never(kind: str, metric: str, condition: str) -> _Rule:
        return _Rule(
            id=f"{column.name}.{kind.lower()}",
            metric=metric,
            column=column.name,
            alias=f"{kind}_{column.name.upper()}",
            aggregate=f"COUNT_IF({condition})",
            low=0.0,
            high=0.0,
            unit="rows",
            severity="critical",
        )

    if column.required:
        rules.append(never("NULLS", "nullValues", f"{name} IS NULL"))
    if column.values:
        rules.append(never("UNKNOWN", "invalidValues", f"{name} NOT IN ({_list(column.values)})"))
    outside = [
        f"{name} {sign} {_number(bound)}"
        for sign, bound in (("<", column.minimum), (">", column.maximum))
        if bound is not None
    ]
    if outside:
        rules.append(never("OUTSIDE", "range", " OR ".join(outside)))
    return rules


def _metric_rule(contract: Contract, metric: Metric, index: int) -> _Rule:
    columns = metric.columns or (contract.primary_key if metric.metric == "duplicateValues" else ())
    return _Rule(
        id=metric.id,
        metric=metric.metric,
        column=",".join(columns) or None,
        alias=f"METRIC_{index}",
        aggregate=_aggregate(contract, metric, columns),
        low=metric.low,
        high=metric.high,
        unit=metric.unit,
        severity="critical" if metric.critical else "warning",
    )


def _aggregate(contract: Contract, metric: Metric, columns: tuple[str, ...]) -> str:
    names = [quote(c) for c in columns]
    if metric.metric == "rowCount":
        return "COUNT(*)"
    if not names:
        raise ConfigurationError(
            f"Rule {metric.id}: {metric.metric} names no column",
            where=contract.path or contract.stream,
            remedy="Add arguments.properties to the rule.",
        )
    if metric.metric == "duplicateValues":
        key = names[0] if len(names) == 1 else " || '|' || ".join(f"{n}::VARCHAR" for n in names)
        return f"COUNT({key}) - COUNT(DISTINCT {key})"
    if metric.metric == "nullValues":
        return f"COUNT_IF({' OR '.join(f'{n} IS NULL' for n in names)})"
    return f"COUNT_IF({' OR '.join(f'{n} NOT IN ({_list(metric.values)})' for n in names)})"


def _list(values: Sequence[str]) -> str:
    return ", ".join(literal(v) for v in values)


def _number(bound: float) -> str:
    """A number without exponent or binary noise."""
    return format(Decimal(str(bound)), "f")
