"""Tell people of fraud alerts: a Cloud Function behind a Pub/Sub push subscription.

Steps for one delivery:

1. Decode and validate. What is not an alert is poison: it is kept (store, log, and ``DEAD_LETTER_TOPIC`` if
   set) and acknowledged, since no retry can mend it.
2. The severity says which channels are told. For each, claim the notification with a lease. Sent before:
   nothing to do. Another instance is at it, or too many were sent just now: ask for redelivery.
3. Send it; try twice.
4. Note it as sent. A failure in 3 gives the claim back.
5. If any channel was left out in 2 or 3, answer 500: Pub/Sub delivers again, later, and only what is missing
   is sent.

Nothing is lost: a delivery is acknowledged only when every channel has its notification. A crash between 3
and 4 sends one a second time, under the same ``Idempotency-Key`` (webhooks) and ``Message-ID`` (e-mail).

Settings (environment): see docs/how-to/alert-function.md.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import functions_framework
from alert_store import AlertStore, Limits, SqliteStore
from channels import NEEDS, RECORD, NotSentError, send
from cloudevents.http import CloudEvent
from messages import SEVERITIES

LOG = logging.getLogger("fraud_alert")
TEXTS = (
    "alert_id", "alert_time", "event_time", "customer_id", "transaction_id", "rule", "severity", "reason",
)  # fmt: skip
FIELDS = (*TEXTS, "card_id", "rule_version", "score", "amount", "currency", "country")
# It becomes part of a header.
_ID = re.compile(r"[!-~]{1,64}")


class Poison(ValueError):
    """Not an alert, and it never will be."""


class NotYet(RuntimeError):
    """Some channel has not been told; a later delivery goes on."""


@functions_framework.cloud_event
def fraud_alert(event: CloudEvent) -> None:
    """Handle one delivery; an exception makes Pub/Sub deliver again."""
    now = time.time()
    message_id, data = "", b""
    try:
        message_id, data = read_message(event)
        alert = read_alert(data)
    except Poison as err:
        bury(message_id or str(event["id"]), now, str(err), data)
        return
    handle(alert, now)


def handle(alert: dict[str, Any], now: float) -> None:
    """Tell every channel that the severity asks for, each once.

    :raises NotYet: another instance is at it, too many were sent, or a channel did not take it.
    """
    began = time.monotonic()
    store().receive(alert, now)
    problems = [
        tell(alert, channel, now + time.monotonic() - began) for channel in routes()[alert["severity"]]
    ]
    if any(problems):
        raise NotYet(f"alert {alert['alert_id']}: {'; '.join(p for p in problems if p)}")


def tell(alert: dict[str, Any], channel: str, now: float) -> str:
    """Send the notification of an alert on one channel; returns why not, or nothing."""
    claim = store().claim(alert["alert_id"], channel, now, limits(channel))
    if claim.verdict == "busy":
        return f"{channel}: another instance is sending it"
    if claim.verdict == "wait":
        return f"{channel}: too many notifications, it waits for the digest"
    if claim.verdict == "mine":
        try:
            send(channel, claim.notification_id, claim.alerts)
        except NotSentError as err:
            LOG.warning("Notification %s was not sent: %s", claim.notification_id, err)
            store().release(claim.notification_id)
            return str(err)
        store().sent(claim.notification_id, time.time())
        LOG.info("Notification %s: %d alerts on %s", claim.notification_id, len(claim.alerts), channel)
    return ""


def read_message(event: CloudEvent) -> tuple[str, bytes]:
    """Message id and data of a Pub/Sub push.

    :raises Poison: it is not one.
    """
    envelope = event.data
    message = envelope.get("message") if isinstance(envelope, dict) else None
    if not isinstance(message, dict):
        raise Poison("the event is not a Pub/Sub message")
    try:
        data = base64.b64decode(message.get("data") or "", validate=True)
    except binascii.Error as err:
        raise Poison(f"data is not base64: {err}") from err
    return str(message.get("messageId") or message.get("message_id") or event["id"]), data


def read_alert(data: bytes) -> dict[str, Any]:
    """A valid alert.

    :raises Poison: it is not one; the text says why.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise Poison(f"not JSON: {err}") from err
    if not isinstance(found, dict):
        raise Poison("not a JSON object")
    alert = {name: found[name] for name in FIELDS if name in found}
    check_texts(alert)
    for name, low, high in (("score", 0, 1), ("amount", 0.01, 100_000)):
        value = alert.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise Poison(f"{name} {value!r} is not a number from {low} to {high}")
    try:
        when = datetime.fromisoformat(alert["event_time"])
    except ValueError as err:
        raise Poison(f"event_time: {err}") from err
    if when.tzinfo is None:
        raise Poison("event_time has no offset from UTC")
    return alert


def check_texts(alert: Mapping[str, Any]) -> None:
    """Check the texts of an alert.

    :raises Poison: one is missing, or not what it should be.
    """
    for name in TEXTS:
        if not isinstance(alert.get(name), str) or not alert[name]:
            raise Poison(f"{name} is not a text")
    if not _ID.fullmatch(alert["alert_id"]):
        raise Poison("alert_id is not 1 to 64 visible ASCII characters")
    if alert["severity"] not in SEVERITIES:
        raise Poison(f"severity {alert['severity']!r} is unknown")
    try:
        json.dumps(alert, ensure_ascii=False).encode()
    except UnicodeEncodeError as err:
        raise Poison(f"a text is not Unicode: {err}") from err


def bury(message_id: str, now: float, reason: str, data: bytes) -> None:
    """Keep poison where people find it."""
    LOG.error("Poison message %s: %s", message_id, reason)
    topic = os.environ.get("DEAD_LETTER_TOPIC")
    if topic:
        publisher().publish(topic, data or b"-", reason=reason, message_id=message_id).result(timeout=10)
    store().poison(message_id, now, reason, data)


@cache
def routes() -> Mapping[str, Sequence[str]]:
    """Severity to channels.

    :raises ValueError: ALERT_ROUTES is wrong, or a channel lacks a setting.
    """
    chosen = {
        "critical": ["incident", "webhook"] if has("incident") else ["webhook"],
        "high": ["webhook"],
        "medium": ["email"] if has("email") else [RECORD],
        "low": [RECORD],
    }
    asked = json.loads(os.environ.get("ALERT_ROUTES") or "{}")
    for severity, channels in asked.items():
        named = [channels] if isinstance(channels, str) else channels
        if severity not in chosen or not named or not set(named) <= set(NEEDS):
            raise ValueError(
                f"ALERT_ROUTES: {severity!r}: {channels!r} is not one of {', '.join(SEVERITIES)} with some "
                f"of {', '.join(NEEDS)}"
            )
        chosen[severity] = list(named)
    for severity, named in chosen.items():
        for channel in named:
            if not has(channel):
                raise ValueError(
                    f"{severity} alerts go to {channel}, which needs {', '.join(NEEDS[channel])}: set them, "
                    "or choose other channels in ALERT_ROUTES"
                )
    return chosen


def has(channel: str) -> bool:
    """Whether a channel has its settings."""
    return all(os.environ.get(name) for name in NEEDS[channel])


@cache
def limits(channel: str) -> Limits:
    """How many notifications of a channel may be sent. What is only recorded disturbs nobody."""
    rate = 10**9 if channel == RECORD else int(os.environ.get("ALERT_RATE", "20"))
    window = float(os.environ.get("ALERT_WINDOW_SECONDS", "30"))
    return Limits(rate, window, float(os.environ.get("ALERT_LEASE_SECONDS", "30")))


@cache
def store() -> AlertStore:
    """The store of this instance."""
    return SqliteStore(os.environ["ALERT_STORE"])


@cache
def publisher() -> Any:
    """A Pub/Sub publisher, made when first needed."""
    from google.cloud.pubsub_v1 import PublisherClient

    return PublisherClient()


if "ALERT_STORE" in os.environ:  # at start, so that a wrong setting is known before the first alert
    store(), routes(), limits("webhook")
