"""The alert function without a server: validation, claims and leases, routing, poison."""

from __future__ import annotations

import base64
import importlib.util
import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cloudevents.http import CloudEvent

FOLDER = Path(__file__).parents[3] / "include/functions/fraud_alert"
ALERT = {
    "alert_id": "a" * 32,
    "alert_time": "2026-11-24T09:00:01.000Z",
    "event_time": "2026-11-24T09:00:00.000Z",
    "customer_id": "C000001",
    "transaction_id": "t" * 32,
    "card_id": "c" * 24,
    "rule": "card_testing",
    "rule_version": "1.0.0",
    "severity": "high",
    "score": 0.9,
    "amount": 1.5,
    "currency": "EUR",
    "country": "DE",
    "reason": "9 payments of at most 5.00 EUR within a minute",
}


@pytest.fixture
def function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The function's module as it is deployed: alone, its folder on the path."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setenv("ALERT_STORE", str(tmp_path / "alerts.sqlite"))
    for name in ("WEBHOOK_URL", "ALERT_ROUTES", "DEAD_LETTER_TOPIC", "ALERT_LEASE_SECONDS"):
        monkeypatch.delenv(name, raising=False)
    spec = importlib.util.spec_from_file_location("fraud_alert_main", FOLDER / "main.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("alert_store", None)


class Sent:
    """Stands in for the webhook."""

    def __init__(self, function: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.alerts: list[str] = []
        self.broken = False
        monkeypatch.setattr(function, "post", self.post)

    def post(self, alert: dict[str, Any]) -> None:
        if self.broken:
            raise OSError("503 Service Unavailable")
        self.alerts.append(alert["alert_id"])


@pytest.fixture
def sent(function: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Sent:
    return Sent(function, monkeypatch)


def push(data: bytes | None, message_id: str = "m1") -> CloudEvent:
    message = {"messageId": message_id, "data": None if data is None else base64.b64encode(data).decode()}
    attributes = {
        "type": "google.cloud.pubsub.topic.v1.messagePublished",
        "source": "//pubsub",
        "id": message_id,
    }
    return CloudEvent(attributes, {"message": message, "subscription": "s"})


def alert(**changes: Any) -> bytes:
    row = {name: value for name, value in {**ALERT, **changes}.items() if value is not ...}
    return json.dumps(row).encode()


def rows(tmp_path: Path, table: str) -> list[sqlite3.Row]:
    connection = sqlite3.connect(tmp_path / "alerts.sqlite")
    connection.row_factory = sqlite3.Row
    return connection.execute(f"SELECT * FROM {table}").fetchall()


def test_an_alert_is_acted_on_once_however_often_it_comes(
    function: ModuleType, sent: Sent, tmp_path: Path
) -> None:
    for _ in range(3):
        function.fraud_alert(push(alert()))
    assert sent.alerts == [ALERT["alert_id"]]
    (row,) = rows(tmp_path, "alerts")
    assert (row["state"], row["channel"], row["deliveries"]) == ("sent", "webhook", 3)
    assert row["event_time"] == ALERT["event_time"]
    assert row["received_at"] <= row["sent_at"]


def test_a_webhook_that_fails_makes_pubsub_deliver_again(function: ModuleType, sent: Sent) -> None:
    sent.broken = True
    with pytest.raises(OSError, match="503"):
        function.fraud_alert(push(alert()))
    sent.broken = False
    function.fraud_alert(push(alert()))
    assert sent.alerts == [ALERT["alert_id"]]


def test_a_crash_between_claim_and_send_is_taken_over_when_the_lease_is_over(
    function: ModuleType, sent: Sent
) -> None:
    row = json.loads(alert())
    assert function.store().claim(row, 1000.0, 30.0) == "mine"  # and then the instance dies
    with pytest.raises(function.Busy):
        function.handle(row, 1020.0)
    function.handle(row, 1031.0)
    function.handle(row, 2000.0)
    assert sent.alerts == [ALERT["alert_id"]]


@pytest.mark.parametrize(
    ("severity", "channel"),
    [("critical", "webhook"), ("high", "webhook"), ("medium", "record"), ("low", "record")],
)
def test_severity_chooses_the_channel(
    function: ModuleType, sent: Sent, tmp_path: Path, severity: str, channel: str
) -> None:
    function.fraud_alert(push(alert(severity=severity)))
    assert [row["channel"] for row in rows(tmp_path, "alerts")] == [channel]
    assert len(sent.alerts) == (channel == "webhook")


def test_routes_come_from_the_environment(
    function: ModuleType, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_ROUTES", '{"low": "webhook"}')
    function.fraud_alert(push(alert(severity="low")))
    assert len(sent.alerts) == 1
    function.routes.cache_clear()
    monkeypatch.setenv("ALERT_ROUTES", '{"low": "pigeon"}')
    with pytest.raises(ValueError, match="pigeon"):
        function.routes()


@pytest.mark.parametrize(
    "data",
    [
        None, b"not json", b"[]", alert(alert_id=...), alert(reason=""), alert(severity="urgent"),
        alert(score=2), alert(score=True), alert(amount="1"), alert(event_time="yesterday"),
    ],
)  # fmt: skip
def test_poison_is_kept_and_acknowledged(
    function: ModuleType, sent: Sent, tmp_path: Path, data: bytes | None
) -> None:
    function.fraud_alert(push(data))
    function.fraud_alert(push(data))
    (row,) = rows(tmp_path, "poison")
    assert row["message_id"] == "m1"
    assert row["reason"]
    assert not sent.alerts
    assert not rows(tmp_path, "alerts")


def test_an_event_that_is_no_push_is_poison(function: ModuleType, sent: Sent, tmp_path: Path) -> None:
    function.fraud_alert(CloudEvent({"type": "x", "source": "y", "id": "e1"}, {"hello": 1}))
    assert [row["message_id"] for row in rows(tmp_path, "poison")] == ["e1"]


def test_poison_goes_to_the_dead_letter_topic_if_there_is_one(
    function: ModuleType, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[tuple[str, bytes, dict[str, str]]] = []

    class Publisher:
        def publish(self, topic: str, data: bytes, **attributes: str) -> Publisher:
            published.append((topic, data, attributes))
            return self

        def result(self, timeout: float) -> str:
            return "id"

    monkeypatch.setattr(function, "publisher", Publisher)
    monkeypatch.setenv("DEAD_LETTER_TOPIC", "projects/p/topics/dead")
    function.fraud_alert(push(b"nonsense"))
    assert [(topic, data) for topic, data, _ in published] == [("projects/p/topics/dead", b"nonsense")]
    assert "not JSON" in published[0][2]["reason"]


def test_without_a_webhook_a_high_alert_is_not_lost(function: ModuleType) -> None:
    with pytest.raises(OSError, match="WEBHOOK_URL is not set"):
        function.fraud_alert(push(alert()))


def test_the_function_does_not_need_the_provider() -> None:
    for file in FOLDER.glob("*.py"):
        assert "madhatter_provider" not in file.read_text()
