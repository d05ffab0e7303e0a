"""Store the closed hours of marts that would take long over all events (schema ``ROLLUPS``).

A mart is the union of a table with its closed hours and a view of its open ones; ``ROLLUPS.CLOSED`` says
where one ends and the other begins, so each hour is in exactly one of them, whether or not anybody closes
hours. One transaction, which may be repeated:

1. Take the ranges that were loaded since the last time.
2. Open every hour from the earliest event of these ranges on, and forget what is stored of it.
3. Store all hours before the current one.
4. Close them; mark the ranges as applied.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from madhatter_provider.core.warehouse.applied_ranges import mark_applied, take_batch
from madhatter_provider.core.warehouse.sql import literal

CONSUMER: Final = "marts"
MARTS: Final = {
    "SALES_PER_MINUTE": ("MINUTE", ("transactions",)),
    "SERVICE_HEALTH": ("MINUTE", ("system_logs",)),
    "FRAUD_RATE": ("HOUR", ("transactions", "fraud_alerts")),
}
"""Time column of a mart, and the streams that it is made of."""

# The ledger knows when an alert was raised; its payment, which counts here, was a little earlier.
_FIRST = """(SELECT DATE_TRUNC('hour', DATEADD('minute', -10, MIN(MIN_EVENT_TIME))) FROM OPS.BATCH_RANGES
  WHERE CONSUMER = 'marts' AND STREAM IN ({streams}))"""


def close_hours(now: datetime) -> list[str]:
    """Statements that close every hour before the one that ``now`` (with a time zone) is in."""
    hour = f"DATE_TRUNC('hour', {literal(now.isoformat())}::TIMESTAMP_TZ)"
    return [
        *take_batch(CONSUMER),
        *(statement for mart in MARTS for statement in _close(mart, hour)),
        mark_applied(CONSUMER),
    ]


def _close(mart: str, hour: str) -> list[str]:
    column, streams = MARTS[mart]
    first = _FIRST.format(streams=", ".join(map(literal, streams)))
    return [
        f"UPDATE ROLLUPS.CLOSED SET UNTIL = LEAST(UNTIL, COALESCE({first}, UNTIL)) WHERE MART = '{mart}'",
        f"DELETE FROM ROLLUPS.{mart} "
        f"WHERE {column} >= (SELECT UNTIL FROM ROLLUPS.CLOSED WHERE MART = '{mart}')",
        f"INSERT INTO ROLLUPS.{mart} SELECT * FROM ROLLUPS.{mart}_OPEN WHERE {column} < {hour}",
        f"UPDATE ROLLUPS.CLOSED SET UNTIL = GREATEST(UNTIL, {hour}) WHERE MART = '{mart}'",
    ]
