"""The alert function without a server: validation, routes, claims and leases, the digest, poison."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cloudevents.http import CloudEvent

from .conftest import ALERT, FOLDER

EMAIL = {"SMTP_HOST": "smtp", "ALERT_EMAIL_FROM": "a@b.example", "ALERT_EMAIL_TO": "c@d.example"}
INCIDENT = {"INCIDENT_WEBHOOK_URL": "http://127.0.0.1:1/incident"}


class Sent:
    """Stands in for the channels: what they were given; those in ``broken`` take nothing."""

    def __init__(self, function: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[tuple[str, str, tuple[str, ...]]] = []
        self.broken: set[str] = set()
        self.refusal = function.NotSentError("503 Service Unavailable")
        monkeypatch.setattr(function, "send", self.send)

    def send(self, channel: str, notification_id: str, alerts: Sequence[dict[str, Any]]) -> None:
        if channel in self.broken:
            raise self.refusal
        self.told.append((channel, notification_id, tuple(a["alert_id"] for a in alerts)))

    def channels(self) -> list[str]:
        return [channel for channel, _, _ in self.told]


@pytest.fixture
def function(start: Any) -> ModuleType:
    module: ModuleType = start(**EMAIL, **INCIDENT)
    return module


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


def test_an_alert_is_told_once_however_often_it_comes(
    function: ModuleType, sent: Sent, tmp_path: Path
) -> None:
    for _ in range(3):
        function.fraud_alert(push(alert()))
    assert sent.told == [("webhook", f"{ALERT['alert_id']}:webhook", (ALERT["alert_id"],))]
    (row,) = rows(tmp_path, "alerts")
    assert (row["deliveries"], row["event_time"]) == (3, ALERT["event_time"])
    (notification,) = rows(tmp_path, "notifications")
    assert notification["state"] == "sent"
    assert row["received_at"] <= notification["sent_at"]


def test_only_the_channel_that_failed_is_told_again(function: ModuleType, sent: Sent) -> None:
    sent.broken = {"webhook"}
    for _ in range(2):
        with pytest.raises(function.NotYet, match="503"):
            function.fraud_alert(push(alert(severity="critical")))
    assert sent.channels() == ["incident"]
    sent.broken = set()
    function.fraud_alert(push(alert(severity="critical")))
    assert sent.channels() == ["incident", "webhook"]


def test_a_crash_between_claim_and_send_is_taken_over_when_the_lease_is_over(
    function: ModuleType, sent: Sent
) -> None:
    row = json.loads(alert())
    function.store().receive(row, 1000.0)
    limits = function.limits("webhook")
    assert function.store().claim(row["alert_id"], "webhook", 1000.0, limits).verdict == "mine"
    with pytest.raises(function.NotYet, match="another instance"):
        function.handle(row, 1020.0)
    function.handle(row, 1031.0)
    function.handle(row, 2000.0)
    assert sent.channels() == ["webhook"]


@pytest.mark.parametrize(
    ("severity", "channels"),
    [
        ("critical", ["incident", "webhook"]),
        ("high", ["webhook"]),
        ("medium", ["email"]),
        ("low", ["record"]),
    ],
)
def test_severity_chooses_the_channels(
    function: ModuleType, sent: Sent, severity: str, channels: list[str]
) -> None:
    function.fraud_alert(push(alert(severity=severity)))
    assert sent.channels() == channels


def test_routes_come_from_the_environment(start: Any) -> None:
    routes = start(ALERT_ROUTES='{"low": "webhook", "high": ["webhook", "record"]}').routes()
    assert (routes["low"], routes["high"], routes["medium"]) == (
        ["webhook"],
        ["webhook", "record"],
        ["record"],
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ALERT_ROUTES": '{"low": "pigeon"}'}, "'low': 'pigeon' is not one of"),
        ({"ALERT_ROUTES": '{"low": []}'}, "is not one of"),
        ({"ALERT_ROUTES": '{"loud": "webhook"}'}, "'loud'"),
        ({"ALERT_ROUTES": '{"low": "email"}'}, "low alerts go to email, which needs SMTP_HOST"),
        ({"WEBHOOK_URL": ""}, "critical alerts go to webhook, which needs WEBHOOK_URL"),
    ],
)
def test_wrong_settings_are_said_before_the_first_alert(
    start: Any, settings: dict[str, str], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        start(**settings)


class TestDigest:
    """Too many notifications in a short time."""

    @pytest.fixture
    def function(self, start: Any) -> ModuleType:
        module: ModuleType = start(ALERT_RATE="2", ALERT_WINDOW_SECONDS="30")
        return module

    def flood(self, function: ModuleType, numbers: range, now: float) -> list[str]:
        """Deliver alerts; returns the ids of those that wait."""
        waiting = []
        for number in numbers:
            row = {**ALERT, "alert_id": f"{number:04d}"}
            function.store().receive(row, now)
            if "waits for the digest" in function.tell(row, "webhook", now):
                waiting.append(row["alert_id"])
        return waiting

    def test_a_flood_is_told_in_one_digest_and_nothing_twice(self, function: ModuleType, sent: Sent) -> None:
        waiting = self.flood(function, range(10), 1000.0)
        assert len(sent.told) == 2
        assert waiting == [f"{n:04d}" for n in range(2, 10)]
        assert self.flood(function, range(10), 1010.0) == waiting
        assert self.flood(function, range(10), 1031.0) == []
        (_, name, ids) = sent.told[2]
        assert name.startswith("digest-")
        assert list(ids) == waiting
        assert len(sent.told) == 3

    def test_a_digest_that_was_not_sent_stays_the_same_digest(self, function: ModuleType, sent: Sent) -> None:
        self.flood(function, range(5), 1000.0)
        sent.broken = {"webhook"}
        with pytest.raises(function.NotYet, match="503"):
            function.handle({**ALERT, "alert_id": "0002"}, 1031.0)
        sent.broken = set()
        self.flood(function, range(5, 7), 1032.0)
        function.handle({**ALERT, "alert_id": "0004"}, 1033.0)
        told = {name: ids for _, name, ids in sent.told[2:]}
        assert ("0002", "0003", "0004") in told.values()
        assert sorted(i for _, _, ids in sent.told for i in ids) == [f"{n:04d}" for n in (*range(6),)]

    def test_a_digest_has_an_end(self, function: ModuleType, sent: Sent) -> None:
        self.flood(function, range(250), 1000.0)
        self.flood(function, range(250), 1031.0)
        assert [len(ids) for _, _, ids in sent.told] == [1, 1, 200, 48]


@pytest.mark.parametrize(
    "data",
    [
        None, b"not json", b"[]", b"[" * 100_000, alert(alert_id=...), alert(reason=""),
        alert(severity="urgent"), alert(score=2), alert(score=True), alert(score=float("nan")),
        alert(amount="1"), alert(event_time="yesterday"), alert(event_time="2026-11-24T09:00:00"),
        alert(alert_id="a\r\nX: y"),
        alert(rule="\ud800"),
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
    assert not sent.told
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


def test_what_the_contract_does_not_know_is_not_passed_on(function: ModuleType) -> None:
    assert function.read_alert(alert(extra="x")) == ALERT


def test_the_function_does_not_need_the_provider() -> None:
    for file in FOLDER.glob("*.py"):
        assert "madhatter_provider" not in file.read_text()
