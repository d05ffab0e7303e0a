"""Hourly roll-ups on the local Snowflake: which hours a slice touches, hours computed anew, late payments."""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.warehouse.ledger import LedgerRow, record
from madhatter_provider.core.warehouse.rollups import (
    hour_key,
    hours_loaded_since,
    hours_of_runs,
    recompute_hour,
)
from madhatter_provider.testing.snowflake import RunningSnowflake

pytestmark = pytest.mark.integration

DAGS = Path(__file__).parents[2] / "dags"
# Hours that no other test has payments in.
SIX = datetime(2031, 3, 1, 6, tzinfo=UTC)


class Payments:
    """Loads slices of payments for tests, as runs of ``land_transactions``."""

    def __init__(self, snowflake: RunningSnowflake) -> None:
        self.sql = snowflake.client()
        self.topic_id = uuid.uuid4().hex
        self._end = 0

    def load(self, run_id: str, *times: datetime, amount: int = 10, status: str = "authorized") -> None:
        start, self._end = self._end, self._end + len(times)
        rows = ", ".join(
            f"('{uuid.uuid4().hex}', '{when.isoformat(sep=' ')}'::TIMESTAMP_TZ, 'C1', {amount}, 'EUR', "
            f"'toys', '{status}', '{self.topic_id}', 0, {offset}, '{when.isoformat(sep=' ')}'::TIMESTAMP_TZ)"
            for offset, when in enumerate(times, start)
        )
        columns = (
            "EVENT_ID, EVENT_TIME, CUSTOMER_ID, AMOUNT, CURRENCY, MERCHANT_CATEGORY, STATUS, _TOPIC_ID, "
            "_PARTITION, _OFFSET, _TIMESTAMP"
        )
        self.sql.execute(f"INSERT INTO RAW.TRANSACTIONS ({columns}) VALUES {rows}")
        loaded = LedgerRow(
            stream="transactions", topic_id=self.topic_id, partition_id=0, start_offset=start,
            end_offset=self._end, state="loaded", dag_id="land_transactions", run_id=run_id,
            loaded_at=datetime.now(UTC),
        )  # fmt: skip
        self.sql.execute(*record([loaded]))

    def sales(self) -> dict[str, tuple[int, int, int]]:
        """Authorized, declined and sum by hour."""
        rows = self.sql.execute(
            "SELECT * FROM MARTS.SALES_PER_HOUR WHERE HOUR >= '2031-01-01'::TIMESTAMP_TZ ORDER BY HOUR"
        )
        return {hour_key(r["HOUR"]): (r["AUTHORIZED"], r["DECLINED"], int(r["SALES"])) for r in rows}


@pytest.fixture
def payments(snowflake: RunningSnowflake) -> Iterator[Payments]:
    made = Payments(snowflake)
    yield made
    for table, column in {"RAW.TRANSACTIONS": "_TOPIC_ID", "OPS.SLICES": "TOPIC_ID"}.items():
        made.sql.execute(f"DELETE FROM {table} WHERE {column} = ?", [made.topic_id])
    made.sql.execute("DELETE FROM MARTS.SALES_PER_HOUR WHERE HOUR >= '2031-01-01'::TIMESTAMP_TZ")


@pytest.fixture
def rollups(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The DAG file."""
    monkeypatch.syspath_prepend(str(DAGS))
    return importlib.import_module("rollups")


def test_a_slice_names_its_hours_and_a_late_payment_opens_its_hour_again(
    payments: Payments, contracts: dict[str, Contract], rollups: Any
) -> None:
    contract, minute = contracts["transactions"], timedelta(minutes=1)

    def touched(*run_ids: str) -> list[str]:
        runs = [("land_transactions", run_id) for run_id in run_ids]
        return [hour_key(row["HOUR"]) for row in payments.sql.execute(*hours_of_runs(contract, runs))]

    def compute(keys: list[str]) -> None:
        for key in keys:
            payments.sql.transact(recompute_hour(rollups.TABLE, rollups.SALES, key), repeatable=True)

    payments.load("first", SIX, SIX + 59 * minute, SIX + 60 * minute)
    payments.load("second", SIX + 61 * minute, status="declined")
    assert touched("first") == ["2031-03-01T06", "2031-03-01T07"]
    assert touched("second") == ["2031-03-01T07"]
    compute(touched("first", "second"))
    before = {"2031-03-01T06": (2, 0, 20), "2031-03-01T07": (1, 1, 10)}
    assert payments.sales() == before
    compute(touched("first", "second"))
    assert payments.sales() == before, "computed again, the same"

    payments.load("late", SIX + 30 * minute, amount=5)
    assert touched("late") == ["2031-03-01T06"]
    compute(touched("late"))
    assert payments.sales() == before | {"2031-03-01T06": (3, 0, 25)}
    recent = payments.sql.execute(*hours_loaded_since(contract, datetime.now(UTC) - timedelta(hours=1)))
    assert {"2031-03-01T06", "2031-03-01T07"} <= {hour_key(row["HOUR"]) for row in recent}


def test_a_key_that_is_no_hour_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'2026-11-24' is not the key of an hour"):
        recompute_hour("MARTS.SALES_PER_HOUR", "", "2026-11-24")
