"""What people are told: complete, and harmless whatever stands in an alert."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from madhatter_provider.core.fraud.alerts import Alert
from madhatter_provider.core.fraud.cases import case_id

from .conftest import ALERT

CASE_URL = "https://airflow.example/plugin/madhatter/madhatter/fraud?case={case_id}"
HOSTILE = {
    **ALERT,
    "customer_id": "C1\r\nBcc: all@shop.example",
    "reason": "<script>alert(1)</script> <!channel> *bold* & \x1b[31m\u202e{case_id}",
    "rule": "r\nSubject: won",
    "country": "<b>",
    "transaction_id": "t" * 5000,
}


def test_a_person_learns_who_what_why_and_where(messages: ModuleType) -> None:
    message = messages.message_of([ALERT], CASE_URL)
    assert message.title == "[high] card_testing: C000001, 1.50 EUR in DE"
    said = dict(message.lines)
    assert said["Who"].startswith("customer C000001, card cccc")
    assert said["What"].endswith("of 1.50 EUR in DE at 2026-11-24T09:00:00.000Z")
    assert said["Why"] == ALERT["reason"]
    assert "As a rule within a minute the order is held" in said["Do"]
    assert message.url.endswith("/fraud?case=C000001-20261124")
    assert message.url in message.plain()
    assert messages.message_of([ALERT], "").url == ""


@pytest.mark.parametrize("time", ["2026-11-24T23:59:59.000Z", "2026-11-24T23:30:00-02:00"])
def test_the_case_is_the_one_that_the_fraud_response_opens(messages: ModuleType, time: str) -> None:
    row = {**ALERT, "event_time": time}
    assert messages.case_id(row) == case_id(Alert(**row))


def test_an_alert_that_is_not_grave_promises_no_hold(messages: ModuleType) -> None:
    said = dict(messages.message_of([{**ALERT, "severity": "medium"}], CASE_URL).lines)
    assert said["Do"].endswith("this alert by itself holds no order and asks nobody")


def test_a_digest_counts_and_lists_the_gravest(messages: ModuleType) -> None:
    alerts: list[dict[str, Any]] = [
        {**ALERT, "alert_id": str(n), "customer_id": f"C{n:06d}", "score": n / 100} for n in range(30)
    ]
    alerts.append({**ALERT, "alert_id": "x", "severity": "critical", "rule": "account_takeover"})
    message = messages.message_of(alerts, CASE_URL)
    assert message.title == "[critical] 31 fraud alerts of 30 customers in a short time"
    said = message.plain()
    assert "card_testing 30, account_takeover 1" in said
    assert "11 alerts are not listed here" in said
    assert message.lines[3][1].startswith("critical:")
    assert message.url.endswith("C000001-20261124")


def test_hostile_text_is_only_text(messages: ModuleType) -> None:
    for alerts in ([HOSTILE], [HOSTILE, ALERT]):
        message = messages.message_of(alerts, CASE_URL)
        assert message.title.isprintable()
        assert len(message.title) <= 150
        assert all(text.isprintable() and len(text) <= 450 for _, text in message.lines)
        assert "<script" not in message.html()
        assert "&lt;script&gt;" in message.html()
        assert "<!channel>" not in message.chat()
        assert "*bold*" not in message.chat()
        assert "Bcc" not in message.url.replace("%20Bcc", "")
        assert " " not in message.url
