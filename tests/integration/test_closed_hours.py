"""Marts whose closed hours are stored say the same as over all events, with late events too."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from madhatter_provider.core.warehouse.closed_hours import MARTS, close_hours
from madhatter_provider.core.warehouse.ledger import LedgerRow, record
from madhatter_provider.hooks.snowflake_rest import SnowflakeRest
from madhatter_provider.testing.snowflake import RunningSnowflake

pytestmark = pytest.mark.integration

NINE = datetime(2031, 5, 1, 9, tzinfo=UTC)
PLAIN = {
    "SALES_PER_MINUTE": """SELECT DATE_TRUNC('minute', EVENT_TIME), CURRENCY, MERCHANT_CATEGORY,
        COUNT_IF(STATUS = 'authorized'), COUNT_IF(STATUS = 'declined'),
        SUM(IFF(STATUS = 'authorized', AMOUNT, 0)), SUM(IFF(STATUS = 'authorized', ITEMS, 0)),
        COUNT(DISTINCT CUSTOMER_ID) FROM CORE.TRANSACTIONS GROUP BY 1, 2, 3""",
    "SERVICE_HEALTH": """SELECT DATE_TRUNC('minute', EVENT_TIME), SERVICE, COUNT(*),
        COUNT_IF(LEVEL = 'ERROR'),
        100.0 * COUNT_IF(LEVEL = 'ERROR') / COUNT(*), APPROX_PERCENTILE(DURATION_MS, 0.95),
        COUNT_IF(ACTION = 'login_failed') FROM CORE.SYSTEM_LOGS GROUP BY 1, 2""",
    "FRAUD_RATE": """SELECT DATE_TRUNC('hour', t.EVENT_TIME), t.CURRENCY, COUNT(*), COUNT(a.TRANSACTION_ID),
        SUM(t.AMOUNT), SUM(IFF(a.TRANSACTION_ID IS NULL, 0, t.AMOUNT)),
        100.0 * COUNT(a.TRANSACTION_ID) / COUNT(*) FROM CORE.TRANSACTIONS AS t LEFT JOIN
        (SELECT DISTINCT TRANSACTION_ID FROM CORE.FRAUD_ALERTS) AS a ON a.TRANSACTION_ID = t.EVENT_ID
        GROUP BY 1, 2""",
}


class Loads:
    """Loads slices of one row each; every third one is a duplicate of the row before."""

    def __init__(self, sql: SnowflakeRest) -> None:
        self.sql, self.topic_id, self._next = sql, uuid.uuid4().hex, 0

    def load(self, stream: str, at: datetime, **columns: Any) -> str:
        row = {"event_id": uuid.uuid4().hex, "event_time": at.isoformat(), **columns}
        if stream == "fraud_alerts":
            row["alert_id"] = row.pop("event_id")
        rows = [row, row] if self._next % 3 == 2 else [row]
        for copy in rows:
            self._insert(stream, {**copy, "_offset": self._next, "_timestamp": copy["event_time"]})
            self._next += 1
        loaded = LedgerRow(
            stream=stream, topic_id=self.topic_id, partition_id=0, start_offset=self._next - len(rows),
            end_offset=self._next, state="loaded", gate="pass", min_event_time=at, max_event_time=at,
        )  # fmt: skip
        self.sql.execute(*record([loaded]))
        return str(row.get("event_id"))

    def payment(self, at: datetime, amount: int) -> str:
        return self.load(
            "transactions", at, amount=amount, currency="EUR", merchant_category="toys", items=1,
            status="declined" if amount == 13 else "authorized", customer_id=f"C{amount:06d}",
        )  # fmt: skip

    def log(self, at: datetime, milliseconds: int) -> None:
        level = "ERROR" if milliseconds > 500 else "INFO"
        self.load("system_logs", at, service="cart", level=level, action="request", duration_ms=milliseconds)

    def _insert(self, stream: str, row: dict[str, Any]) -> None:
        row = {**row, "_topic_id": self.topic_id, "_partition": 0}
        picks = ", ".join(f"r.VALUE:{n}::{'TIMESTAMP_TZ' if 'time' in n else 'VARCHAR'}" for n in row)
        self.sql.execute(
            f"INSERT INTO RAW.{stream.upper()} ({', '.join(n.upper() for n in row)}) SELECT {picks} "
            "FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) AS r",
            [json.dumps([row])],
        )

    def check(self) -> None:
        """Every mart equals the plain query over all events."""
        for mart, query in PLAIN.items():
            said = self.sql.execute(f"SELECT * FROM MARTS.{mart}")
            assert _rounded(said) == _rounded(self.sql.execute(query)), mart


def _rounded(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    def plain(value: Any) -> Any:
        return value if isinstance(value, str | datetime) else round(float(value), 6)

    return sorted((tuple(plain(v) for v in row.values()) for row in rows), key=repr)


@pytest.fixture
def loads(own_snowflake: RunningSnowflake) -> Iterator[Loads]:
    made = Loads(own_snowflake.client())
    yield made
    for table in (
        "RAW.TRANSACTIONS", "RAW.SYSTEM_LOGS", "RAW.FRAUD_ALERTS", "OPS.SLICES", "OPS.APPLIED_RANGES",
        *(f"ROLLUPS.{mart}" for mart in MARTS),
    ):  # fmt: skip
        made.sql.execute(f"DELETE FROM {table}")
    made.sql.execute("UPDATE ROLLUPS.CLOSED SET UNTIL = '1970-01-01'::TIMESTAMP_TZ")


def test_closing_hours_changes_nothing_that_a_mart_says(loads: Loads) -> None:
    minute = timedelta(minutes=1)
    payments = [loads.payment(NINE + i * 7 * minute, 10 + i) for i in range(12)]
    for i in range(8):
        loads.log(NINE + i * 11 * minute, 100 * i)
    loads.load("fraud_alerts", NINE + 7 * minute, transaction_id=payments[1])
    loads.check()

    def stored() -> dict[str, int]:
        return {m: loads.sql.execute(f"SELECT COUNT(*) AS N FROM ROLLUPS.{m}")[0]["N"] for m in MARTS}

    now = NINE + 80 * minute
    for _ in range(2):
        loads.sql.transact(close_hours(now), repeatable=True)
        assert stored() == {"SALES_PER_MINUTE": 9, "SERVICE_HEALTH": 6, "FRAUD_RATE": 1}
        loads.check()

    loads.payment(NINE + 81 * minute, 50)  # in the open hour: seen at once
    loads.check()
    loads.payment(NINE + 3 * minute, 60)  # late
    loads.load("fraud_alerts", NINE, transaction_id=payments[0])
    loads.log(NINE - 61 * minute, 700)
    loads.sql.transact(close_hours(now), repeatable=True)
    assert stored() == {"SALES_PER_MINUTE": 10, "SERVICE_HEALTH": 7, "FRAUD_RATE": 1}
    loads.check()
    loads.sql.transact(close_hours(now + 60 * minute), repeatable=True)
    assert stored() == {"SALES_PER_MINUTE": 14, "SERVICE_HEALTH": 9, "FRAUD_RATE": 2}
    loads.check()
