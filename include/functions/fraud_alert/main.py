"""Act once on each fraud alert: a Cloud Function behind a Pub/Sub push subscription.

Steps for one delivery:

1. Decode and validate. What is not an alert is poison: it is kept (store, log, and ``DEAD_LETTER_TOPIC`` if
   set) and acknowledged, since no retry can mend it.
2. Claim the alert id with a lease. Sent before: acknowledge. Another instance is at it: ask for redelivery.
3. Act on it by severity: post it to ``WEBHOOK_URL``, or only record it.
4. Note it as sent. A failure in 3 gives the claim back and answers 500: Pub/Sub delivers again, later.

A crash between 3 and 4 can post an alert twice; the header ``Idempotency-Key`` lets the receiver see that.

Settings (environment): ``ALERT_STORE`` path of the SQLite file; ``WEBHOOK_URL``; ``ALERT_ROUTES`` JSON of
severity to ``webhook`` or ``record`` (default: critical and high to the webhook); ``DEAD_LETTER_TOPIC``;
``ALERT_LEASE_SECONDS`` (default 30).
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import time
import urllib.request
from datetime import datetime
from functools import cache
from typing import Any

import functions_framework
from alert_store import AlertStore, SqliteStore
from cloudevents.http import CloudEvent

LOG = logging.getLogger("fraud_alert")
ROUTES = {"critical": "webhook", "high": "webhook", "medium": "record", "low": "record"}
TEXTS = (
    "alert_id",
    "alert_time",
    "event_time",
    "customer_id",
    "transaction_id",
    "rule",
    "severity",
    "reason",
)


class Poison(ValueError):
    """Not an alert, and it never will be."""


class Busy(RuntimeError):
    """Another instance acts on this alert; if it dies, a later delivery takes over."""


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
    """Claim, act, note.

    :raises Busy: another instance holds the claim.
    :raises OSError: the webhook did not take it.
    """
    alert_id = alert["alert_id"]
    claim = store().claim(alert, now, float(os.environ.get("ALERT_LEASE_SECONDS", "30")))
    if claim == "sent":
        LOG.info("Alert %s was sent before", alert_id)
        return
    if claim == "busy":
        raise Busy(f"alert {alert_id} is being sent by another instance")
    channel = routes()[alert["severity"]]
    if channel == "webhook":
        try:
            post(alert)
        except OSError:
            store().release(alert_id)
            raise
    store().sent(alert_id, time.time(), channel)
    LOG.info("Alert %s (%s, %s): %s", alert_id, alert["rule"], alert["severity"], channel)


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
        alert = json.loads(data)
    except ValueError as err:
        raise Poison(f"not JSON: {err}") from err
    if not isinstance(alert, dict):
        raise Poison("not a JSON object")
    for name in TEXTS:
        if not isinstance(alert.get(name), str) or not alert[name]:
            raise Poison(f"{name} is not a text")
    if alert["severity"] not in ROUTES:
        raise Poison(f"severity {alert['severity']!r} is unknown")
    for name, low, high in (("score", 0, 1), ("amount", 0.01, 100_000)):
        value = alert.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise Poison(f"{name} {value!r} is not a number from {low} to {high}")
    try:
        datetime.fromisoformat(alert["event_time"])
    except ValueError as err:
        raise Poison(f"event_time: {err}") from err
    return alert


def bury(message_id: str, now: float, reason: str, data: bytes) -> None:
    """Keep poison where people find it."""
    LOG.error("Poison message %s: %s", message_id, reason)
    topic = os.environ.get("DEAD_LETTER_TOPIC")
    if topic:
        publisher().publish(topic, data or b"-", reason=reason, message_id=message_id).result(timeout=10)
    store().poison(message_id, now, reason, data)


def post(alert: dict[str, Any]) -> None:
    """Post an alert to the webhook.

    :raises OSError: no URL, no answer, or an answer other than 2xx.
    """
    url = os.environ.get("WEBHOOK_URL")
    if not url:
        raise OSError("WEBHOOK_URL is not set: set it, or route every severity to `record` with ALERT_ROUTES")
    headers = {"Content-Type": "application/json", "Idempotency-Key": alert["alert_id"]}
    request = urllib.request.Request(url, json.dumps(alert).encode(), headers)
    with urllib.request.urlopen(request, timeout=5):
        pass


@cache
def routes() -> dict[str, str]:
    """Severity to channel."""
    chosen = {**ROUTES, **json.loads(os.environ.get("ALERT_ROUTES") or "{}")}
    wrong = {
        name: channel
        for name, channel in chosen.items()
        if name not in ROUTES or channel not in ("webhook", "record")
    }
    if wrong:
        raise ValueError(f"ALERT_ROUTES: {wrong} is not a severity with `webhook` or `record`")
    return chosen


@cache
def store() -> AlertStore:
    """The store of this instance."""
    return SqliteStore(os.environ["ALERT_STORE"])


@cache
def publisher() -> Any:
    """A Pub/Sub publisher, made when first needed."""
    from google.cloud.pubsub_v1 import PublisherClient

    return PublisherClient()


if "ALERT_STORE" in os.environ:  # at start, so that a wrong path is known before the first alert
    store()
