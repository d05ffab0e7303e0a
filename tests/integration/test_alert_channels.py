"""The alert function's channels against a real HTTP server and a real SMTP server, with faults."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from pytest_httpserver import HTTPServer
from werkzeug import Response

from madhatter_provider.local.mailbox import serve_mailbox
from madhatter_provider.local.process import free_port

pytestmark = pytest.mark.integration
FOLDER = Path(__file__).parents[2] / "include/functions/fraud_alert"
ALERT: dict[str, Any] = {
    "alert_id": "a" * 32, "alert_time": "2026-11-24T09:00:01.000Z", "event_time": "2026-11-24T09:00:00.000Z",
    "customer_id": "C000001\r\nBcc: all@shop.example", "transaction_id": "t" * 32, "card_id": "c" * 24,
    "rule": "card_testing", "rule_version": "1.0.0", "severity": "critical", "score": 0.95, "amount": 1.5,
    "currency": "EUR", "country": "DE", "reason": "<b>9</b> payments\n.\nQUIT",
}  # fmt: skip


@pytest.fixture
def channels(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(FOLDER))
    module = importlib.import_module("channels")
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)
    monkeypatch.setenv("CASE_URL", "https://airflow.example/fraud?case={case_id}")
    yield module
    for name in ("channels", "messages"):
        sys.modules.pop(name, None)


@pytest.fixture
def webhooks(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> HTTPServer:
    monkeypatch.setenv("WEBHOOK_URL", httpserver.url_for("/chat"))
    monkeypatch.setenv("INCIDENT_WEBHOOK_URL", httpserver.url_for("/incident"))
    return httpserver


def test_chat_and_incident_get_what_they_can_act_on(channels: ModuleType, webhooks: HTTPServer) -> None:
    webhooks.expect_request("/chat", method="POST").respond_with_data("ok")
    webhooks.expect_request("/incident", method="POST").respond_with_data("", status=202)
    for channel in ("webhook", "incident"):
        channels.send(channel, f"a:{channel}", [ALERT])
    chat, incident = (request for request, _ in webhooks.log)
    assert chat.headers["Idempotency-Key"] == "a:webhook"
    said = json.loads(chat.data)
    assert said["alert_ids"] == [ALERT["alert_id"]]
    assert "&lt;b&gt;9&lt;/b&gt; payments . QUIT" in said["text"]
    opened = json.loads(incident.data)
    assert opened["dedup_key"].endswith("-20261124")
    assert opened["payload"]["severity"] == "critical"
    assert opened["links"][0]["href"].startswith("https://airflow.example/fraud?case=C000001%20Bcc")


def test_a_second_attempt_only_where_it_can_help(channels: ModuleType, webhooks: HTTPServer) -> None:
    webhooks.expect_ordered_request("/chat").respond_with_response(Response("busy", 503))
    webhooks.expect_ordered_request("/chat").respond_with_data("ok")
    channels.send("webhook", "a", [ALERT])
    webhooks.expect_ordered_request("/chat").respond_with_response(Response("no such channel", 404))
    with pytest.raises(channels.NotSentError, match="404"):
        channels.send("webhook", "a", [ALERT])
    assert len(webhooks.log) == 3


def test_a_webhook_that_is_not_there_is_said(channels: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_URL", f"http://127.0.0.1:{free_port()}/")
    with pytest.raises(channels.NotSentError, match=r"webhook: .*refused"):
        channels.send("webhook", "a", [ALERT])


class Refusing:
    """An SMTP handler that answers RCPT with what it is given, in turn, and keeps what it takes."""

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.asked = 0
        self.taken: list[EmailMessage] = []

    async def handle_RCPT(self, _s: Any, _n: Any, envelope: Any, address: str, _o: Any) -> str:  # noqa: N802
        self.asked += 1
        reply = self.replies.pop(0) if self.replies else "250 OK"
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, _s: Any, _n: Any, envelope: Any) -> str:  # noqa: N802
        self.taken.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"


@pytest.fixture
def smtp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], None]]:
    """``smtp(handler)`` serves one."""
    started: list[Controller] = []

    def serve(handler: Any) -> None:
        controller = Controller(handler, hostname="127.0.0.1", port=free_port())
        controller.start()
        started.append(controller)
        settings = {
            "SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(controller.port),
            "ALERT_EMAIL_FROM": "alerts@shop.example", "ALERT_EMAIL_TO": "ada@shop.example, eve@shop.example",
        }  # fmt: skip
        for name, value in settings.items():
            monkeypatch.setenv(name, value)

    yield serve
    for controller in started:
        controller.stop()


def test_an_email_carries_no_foreign_header_or_markup(channels: ModuleType, smtp: Any) -> None:
    box = Refusing()
    smtp(box)
    for _ in range(2):
        channels.send("email", "a:email", [ALERT])
    first, second = box.taken
    assert first["Message-ID"] == second["Message-ID"], "a mailbox can tell that it is the same"
    assert first["Bcc"] is None
    assert first["Subject"] == "[critical] card_testing: C000001 Bcc: all@shop.example, 1.50 EUR in DE"
    plain, html = first.get_body(("plain",)), first.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert "Why: <b>9</b> payments . QUIT" in plain.get_content()
    assert "&lt;b&gt;9&lt;/b&gt; payments . QUIT" in html.get_content()


@pytest.mark.parametrize(
    ("replies", "asked", "taken"),
    [
        (["451 later", "451 later"], 4, 1),
        (["550 who?", "550 who?"], 2, 0),
        (["550 who?"], 2, 1),
    ],
)
def test_a_mail_server_that_refuses(
    channels: ModuleType, smtp: Any, replies: list[str], asked: int, taken: int
) -> None:
    box = Refusing(*replies)
    smtp(box)
    if taken:
        channels.send("email", "a:email", [ALERT])
    else:
        with pytest.raises(channels.NotSentError, match=r"email: .*who"):
            channels.send("email", "a:email", [ALERT])
    assert (box.asked, len(box.taken)) == (asked, taken)


def test_the_mailboxes_stand_in_keeps_what_it_gets(
    channels: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, port = tmp_path / "deep" / "mail.ndjson", free_port()
    mailbox = serve_mailbox("127.0.0.1", port, out)
    settings = {
        "SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(port), "ALERT_EMAIL_FROM": "alerts@shop.example",
        "ALERT_EMAIL_TO": "ada@shop.example",
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    channels.send("email", "a:email", [ALERT])
    mailbox.stop()
    line = json.loads(out.read_text())
    assert (line["key"], line["to"]) == ("a:email", ["ada@shop.example"])
