"""Evaluate checks: measurements in, states and changes out. Pure SQL text and bindings, and the fold between.

A view of measurements has the columns ``CHECK_NAME, SUBJECT, AS_OF, MEASURED, OBSERVED, EXPECTED, CATEGORY,
LOCATION, DETAIL``; a view of checks has the limits. The protocol of one evaluation:

1. :func:`new_measurements`: those that are newer than what ``OPS.HEALTH`` has seen, with limits and state.
   Of a quiet check (one with very many subjects) only subjects that are, or may become, other than ok.
2. :func:`evaluate`: fold them, subject by subject.
3. :func:`record`: the changes into the outbox ``OPS.HEALTH_CHANGES`` and the states into ``OPS.HEALTH``, in
   one transaction. A change has a number of its subject's own, so it is recorded once however often this
   runs, and a state is never overwritten by an older one.

One evaluation of a view at a time; several views may be evaluated at once if they share no check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.operations.health import Health, Limits, observe
from madhatter_provider.core.warehouse.sql import literal

HEALTH: Final = "OPS.HEALTH"
CHANGES: Final = "OPS.HEALTH_CHANGES"
_LIMITS: Final = (
    "WARNING_ENTER", "WARNING_LEAVE", "CRITICAL_ENTER", "CRITICAL_LEAVE", "WORSE_AFTER", "BETTER_AFTER",
)  # fmt: skip
_FACTS: Final = {
    "MEASURED": "FLOAT",
    "LIMIT_VALUE": "FLOAT",
    "OBSERVED": "FLOAT",
    "EXPECTED": "FLOAT",
    "CATEGORY": "VARCHAR(64)",
    "LOCATION": "VARCHAR(64)",
    "DETAIL": "VARCHAR(1024)",
    "DAG_ID": "VARCHAR(256)",
    "RUN_ID": "VARCHAR(256)",
}
_KEY: Final = {"CHECK_NAME": "VARCHAR(64)", "SUBJECT": "VARCHAR(256)"}
_STATE: Final = {
    **_KEY,
    "STATE": "VARCHAR(8)",
    "PENDING_STATE": "VARCHAR(8)",
    "PENDING_SINCE": "TIMESTAMP_TZ(6)",
    "CHANGES": "NUMBER(18,0)",
    "CHANGED_AT": "TIMESTAMP_TZ(6)",
    "CHECKED_AT": "TIMESTAMP_TZ(6)",
    **_FACTS,
}
_CHANGE: Final = {
    **_KEY,
    "CHANGE_NUMBER": "NUMBER(18,0)",
    "FROM_STATE": "VARCHAR(8)",
    "TO_STATE": "VARCHAR(8)",
    "CHANGED_AT": "TIMESTAMP_TZ(6)",
    **_FACTS,
}
_NAME: Final = re.compile(r"\w+(\.\w+){0,2}")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Rows of ``OPS.HEALTH`` and of ``OPS.HEALTH_CHANGES``."""

    states: Sequence[Row]
    changes: Sequence[Row]


def new_measurements(measurements: str, checks: str = "OPS.CHECKS") -> str:
    """Step 1.

    :param measurements: view of measurements.
    :param checks: view of the checks.
    :raises ConfigurationError: one of them is no name of a view.
    """
    for name in (measurements, checks):
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} is no name of a view", remedy="Give it as SCHEMA.VIEW.")
    limits = ", ".join(f"c.{name}" for name in _LIMITS)
    return f"""SELECT m.CHECK_NAME, m.SUBJECT, m.AS_OF, m.MEASURED, m.OBSERVED, m.EXPECTED, m.CATEGORY,
  m.LOCATION, m.DETAIL, {limits},
  h.STATE, h.PENDING_STATE, h.PENDING_SINCE, h.CHANGES, h.CHANGED_AT, h.CHECKED_AT
FROM {measurements} AS m
JOIN {checks} AS c ON c.CHECK_NAME = m.CHECK_NAME
LEFT JOIN {HEALTH} AS h ON h.CHECK_NAME = m.CHECK_NAME AND h.SUBJECT = m.SUBJECT
WHERE m.MEASURED IS NOT NULL AND (h.CHECKED_AT IS NULL OR m.AS_OF > h.CHECKED_AT)
QUALIFY NOT c.QUIET OR COALESCE(h.STATE, 'ok') <> 'ok' OR h.PENDING_STATE IS NOT NULL
  OR MAX(m.MEASURED) OVER (PARTITION BY m.CHECK_NAME, m.SUBJECT) >= c.WARNING_ENTER
ORDER BY m.CHECK_NAME, m.SUBJECT, m.AS_OF"""


def evaluate(rows: Iterable[Row], dag_id: str, run_id: str) -> Evaluation:
    """Step 2.

    :param rows: what :func:`new_measurements` gave, in its order.
    :raises ConfigurationError: the limits of a check contradict each other.
    """
    states: list[Row] = []
    changes: list[Row] = []
    run = {"DAG_ID": dag_id, "RUN_ID": run_id}
    for key, of_subject in groupby(rows, key=lambda r: {name: r[name] for name in _KEY}):
        measured = list(of_subject)
        limits, health = _limits(measured[0]), _health(measured[0])
        for row in measured:
            before, health = health, observe(health, row["AS_OF"], row["MEASURED"], limits)
            facts = {
                **{name: row.get(name) for name in _FACTS},
                "LIMIT_VALUE": limits.of(health.state),
                **run,
            }
            if health.changes > before.changes:
                change = {
                    "CHANGE_NUMBER": health.changes,
                    "FROM_STATE": before.state,
                    "TO_STATE": health.state,
                    "CHANGED_AT": health.changed_at,
                }
                changes.append({**key, **change, **facts})
        states.append({**key, **_columns(health), **facts})
    return Evaluation(states, changes)


def record(evaluation: Evaluation) -> list[str]:
    """Step 3: statements of one transaction, which may be repeated. None, if there is nothing to record."""
    statements = []
    if evaluation.changes:
        statements.append(
            f"MERGE INTO {CHANGES} AS t USING ({_rows(evaluation.changes, _CHANGE)}) AS s "
            f"ON {_same()} AND t.CHANGE_NUMBER = s.CHANGE_NUMBER "
            f"WHEN NOT MATCHED THEN INSERT ({', '.join(_CHANGE)}, RECORDED_AT, ATTEMPTS) "
            f"VALUES ({', '.join(f's.{c}' for c in _CHANGE)}, CURRENT_TIMESTAMP(), 0)"
        )
    if evaluation.states:
        sets = ", ".join(f"{c} = s.{c}" for c in _STATE if c not in _KEY)
        statements.append(
            f"MERGE INTO {HEALTH} AS t USING ({_rows(evaluation.states, _STATE)}) AS s ON {_same()} "
            f"WHEN MATCHED AND s.CHECKED_AT > t.CHECKED_AT THEN UPDATE SET {sets} "
            f"WHEN NOT MATCHED THEN INSERT ({', '.join(_STATE)}) "
            f"VALUES ({', '.join(f's.{c}' for c in _STATE)})"
        )
    return statements


def _limits(row: Row) -> Limits:
    def number(name: str) -> float | None:
        return None if row[name] is None else float(row[name])

    return Limits(
        warning_enter=float(row["WARNING_ENTER"]),
        warning_leave=float(row["WARNING_LEAVE"]),
        critical_enter=number("CRITICAL_ENTER"),
        critical_leave=number("CRITICAL_LEAVE"),
        worse_after=number("WORSE_AFTER") or 0.0,
        better_after=number("BETTER_AFTER") or 0.0,
    )


def _health(row: Row) -> Health:
    if row["STATE"] is None:
        return Health()
    return Health(
        row["STATE"], row["PENDING_STATE"], row["PENDING_SINCE"], int(row["CHANGES"]), row["CHANGED_AT"],
        row["CHECKED_AT"],
    )  # fmt: skip


def _columns(health: Health) -> dict[str, Any]:
    return {
        "STATE": health.state,
        "PENDING_STATE": health.pending_state,
        "PENDING_SINCE": health.pending_since,
        "CHANGES": health.changes,
        "CHANGED_AT": health.changed_at,
        "CHECKED_AT": health.checked_at,
    }


def _same() -> str:
    return " AND ".join(f"t.{c} = s.{c}" for c in _KEY)


def _rows(rows: Sequence[Row], columns: Mapping[str, str]) -> str:
    """A query that gives these rows. A transaction takes no bindings: they stand in it as a JSON literal."""
    picks = ", ".join(f"r.VALUE:{c}::{kind} AS {c}" for c, kind in columns.items())
    values = [{c: _plain(row[c]) for c in columns if row[c] is not None} for row in rows]
    text = literal(json.dumps(values, separators=(",", ":")))
    return f"SELECT {picks} FROM TABLE(FLATTEN(INPUT => PARSE_JSON({text}))) AS r"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str | int) else float(value)
