"""Rows behind the dashboards' marts: lines have several points, bars a length, and text means harm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from madhatter_provider.core.warehouse.sql_client import Sql
from madhatter_provider.testing.snowflake import RunningSnowflake

from .control_room_world import EVIL, at, insert

_EPOCH = "epoch of the dashboards"
Rows = list[dict[str, Any]]


def fill(sql: Sql) -> None:
    """Insert them all; fraud cases are not among them."""
    for table, rows in {**_raw(), **_learned(), **_checks()}.items():
        insert(sql, table, rows)


def empty(sql: Sql) -> None:
    """Take them away."""
    for table in _raw():
        sql.execute(f"DELETE FROM {table} WHERE _TOPIC_ID = ?", [_EPOCH])
    for table in (*_learned(), *_checks()):
        sql.execute(f"DELETE FROM {table}")


def _raw() -> dict[str, Rows]:
    """Messages of the last two hours, so that every line has points in two hours."""

    def message(n: int, minutes: float) -> dict[str, Any]:
        return {"_TOPIC_ID": _EPOCH, "_PARTITION": 0, "_OFFSET": n, "_TIMESTAMP": at(minutes)}

    payments = [
        {
            "EVENT_ID": f"paid-{n}", "EVENT_TIME": at(3 + 5 * n), "CUSTOMER_ID": "C000001",
            "MERCHANT_CATEGORY": EVIL if n % 3 else "toys", "AMOUNT": 10.5 + n, "ITEMS": 1 + n,
            "CURRENCY": "EUR" if n % 2 else "USD", "STATUS": "declined" if n % 5 == 0 else "authorized",
        } | message(n, 3 + 5 * n)
        for n in range(24)
    ]  # fmt: skip
    alerts = [
        {
            "ALERT_ID": f"told-{n}", "ALERT_TIME": at(3 + 5 * n), "EVENT_TIME": at(3.01 + 5 * n),
            "CUSTOMER_ID": "C000001", "TRANSACTION_ID": f"paid-{n}", "RULE": EVIL, "SEVERITY": "high",
            "SCORE": 0.9, "AMOUNT": 10.5 + n, "CURRENCY": "EUR", "COUNTRY": EVIL, "REASON": EVIL,
        } | message(n, 3 + 5 * n)
        for n in range(4)
    ]  # fmt: skip
    lines = [
        {
            "EVENT_ID": f"line-{n}", "EVENT_TIME": at(3 + n / 2), "SERVICE": EVIL if n % 2 else "checkout",
            "LEVEL": "ERROR" if n % 5 == 0 else "INFO", "ACTION": "request", "DURATION_MS": 20 + n,
        } | message(n, 3 + n / 2)
        for n in range(40)
    ]  # fmt: skip
    return {"RAW.TRANSACTIONS": payments, "RAW.FRAUD_ALERTS": alerts, "RAW.SYSTEM_LOGS": lines}


def _learned() -> dict[str, Rows]:
    """What the recommendations know."""
    hours = range(1, 4)
    return {
        "RECO.QUALITY": [
            {
                "RUN_ID": f"run {n}", "EVALUATED_AT": at(60 * n), "SESSIONS": 100, "HITS": 9 + n,
                "POPULARITY_HITS": 4, "PRODUCTS_RECOMMENDED": 30, "PRODUCTS": 100,
            }
            for n in hours
        ],
        "RECO.FUNNEL_HOURS": [
            {"HOUR": at(60 * n), "SESSIONS": 50, "SEARCHED": 40, "CLICKED": 20 + n, "PURCHASED": n}
            for n in hours
        ],
        "RECO.PRODUCT_HOURS": [{"HOUR": at(60), "PRODUCT_ID": EVIL, "EVENTS": 12}],
        "RECO.PRODUCTS": [{"PRODUCT_ID": EVIL, "PRODUCT_CATEGORY": EVIL, "QUERIED_AT": at(60)}],
        "RECO.RECOMMENDATIONS": [
            {
                "CUSTOMER_ID": "C000001", "POSITION": 1, "PRODUCT_ID": EVIL, "SCORE": 0.5, "REASON": EVIL,
                "COMPUTED_AT": at(60),
            }
        ],
    }  # fmt: skip


def _checks() -> dict[str, Rows]:
    """A check that is red, and a sensor with an anomaly."""
    state = {"SUBJECT": EVIL, "CHANGED_AT": at(30), "MEASURED": 9.0, "LIMIT_VALUE": 1.0, "DETAIL": EVIL}
    now = {"STATE": "critical", "CHANGES": 1, "CHECKED_AT": at(1)}
    change = {"CHANGE_NUMBER": 1, "FROM_STATE": "ok", "TO_STATE": "critical", "RECORDED_AT": at(30)}
    return {
        "OPS.HEALTH": [state | now | {"CHECK_NAME": name} for name in ("slice_lag", "sensor_stuck")],
        "OPS.HEALTH_CHANGES": [state | change | {"CHECK_NAME": "sensor_stuck", "ATTEMPTS": 0}],
    }


@pytest.fixture(scope="module", name="marts")
def marts_fixture(shared_snowflake: RunningSnowflake) -> Iterator[None]:
    """Rows behind every chart of the dashboards, with text that means harm."""
    sql = shared_snowflake.client()
    fill(sql)
    yield
    empty(sql)
