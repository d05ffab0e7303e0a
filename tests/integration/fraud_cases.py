"""Alerts, the cases made of them, and answers to their questions."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from madhatter_provider.core.fraud.alerts import Alert
from madhatter_provider.core.fraud.cases import case_id
from madhatter_provider.core.fraud.decisions import Decision, Verdict, record_decision
from madhatter_provider.core.fraud.questions import Asking

TABLES = ("CASES", "CASE_ALERTS", "ORDER_HOLDS", "QUESTIONS", "DECISIONS", "BLOCKED_ACCOUNTS", "LABELS")


@pytest.fixture(name="sql")
def sql_fixture(snowflake: Any) -> Any:
    """Snowflake without any case: questions are counted over all of them."""
    client = snowflake.client()
    for table in TABLES:
        client.execute(f"DELETE FROM FRAUD.{table}")
    return client


def make_alert(customer: int = 1, **changes: Any) -> Alert:
    """A grave alert."""
    alert = Alert(
        alert_id=uuid.uuid4().hex,
        alert_time="2026-11-24T06:00:02.000Z",
        event_time="2026-11-24T06:00:01.000Z",
        customer_id=f"C{customer:06d}",
        transaction_id=uuid.uuid4().hex,
        card_id="card-12345678",
        rule="amount_outlier",
        rule_version="1.0.0",
        severity="high",
        score=0.85,
        amount=900.0,
        currency="EUR",
        country="FR",
        reason="900.00 EUR is 30 times what this customer usually pays.",
    )
    return dataclasses.replace(alert, **changes)


def case_of(sql: Any, alert: Alert) -> dict[str, Any]:
    (row,) = sql.execute("SELECT * FROM FRAUD.CASES WHERE CASE_ID = ?", [case_id(alert)])
    return dict(row)


def everything(sql: Any) -> dict[str, Any]:
    return {t: sorted(sql.execute(f"SELECT * FROM FRAUD.{t}"), key=str) for t in TABLES}


def asking(run_id: str = "asks", at_most: int = 20, minutes: float = 60, again: str = "") -> Asking:
    return Asking("fraud_decisions", run_id, at_most, timedelta(minutes=minutes), again)


def answer(sql: Any, question_id: str, verdict: Verdict, by: str | None = "ada", note: str = "") -> int:
    return record_decision(sql, Decision(question_id, verdict, by, datetime.now(UTC), note))
