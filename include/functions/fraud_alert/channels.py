"""Ways to people: a chat webhook, an incident webhook, e-mail. Each sends one notification or raises.

A receiver that gets one twice can tell: ``Idempotency-Key`` is the notification's id, whenever it is sent.
E-mail has a ``Message-ID`` made of it too, by which many mailboxes drop the second one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import smtplib
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import formatdate
from typing import Any

from messages import Alert, Message, case_id, message_of

LOG = logging.getLogger("fraud_alert")
ATTEMPTS = 2
PAUSE_SECONDS = 0.3
POST_SECONDS = 5
SMTP_SECONDS = 8
RECORD = "record"
NEEDS = {
    "webhook": ("WEBHOOK_URL",),
    "incident": ("INCIDENT_WEBHOOK_URL",),
    "email": ("SMTP_HOST", "ALERT_EMAIL_FROM", "ALERT_EMAIL_TO"),
    RECORD: (),
}
"""Channels, and the settings that each needs."""

_NOT_FOLDED = EmailPolicy(max_line_length=900)
_INCIDENT_SEVERITY = {"critical": "critical", "high": "error", "medium": "warning", "low": "info"}


class NotSentError(OSError):
    """A channel did not take a notification."""


def send(channel: str, notification_id: str, alerts: Sequence[Alert]) -> None:
    """Tell people of alerts; what is only recorded is told to nobody.

    :raises NotSentError: the channel did not take it, twice if the second attempt could help.
    """
    if channel == RECORD:
        return
    message = message_of(alerts, os.environ.get("CASE_URL", ""))
    ways: dict[str, Callable[[str, Message, Sequence[Alert]], None]] = {
        "webhook": _post_to_chat, "incident": _post_incident, "email": _mail,
    }  # fmt: skip
    for attempt in range(1, ATTEMPTS + 1):
        try:
            ways[channel](notification_id, message, alerts)
        except (OSError, smtplib.SMTPException) as err:
            if attempt == ATTEMPTS or not _may_pass(err):
                raise NotSentError(f"{channel}: {err}") from err
            time.sleep(PAUSE_SECONDS)
        else:
            return


def _may_pass(err: Exception) -> bool:
    """Whether the same may succeed a moment later."""
    if isinstance(err, urllib.error.HTTPError):
        return err.code >= 500 or err.code in (408, 429)
    if isinstance(err, smtplib.SMTPRecipientsRefused):
        return all(400 <= code < 500 for code, _ in err.recipients.values())
    if isinstance(err, smtplib.SMTPResponseException):
        return 400 <= err.smtp_code < 500
    return True


def _post_to_chat(notification_id: str, message: Message, alerts: Sequence[Alert]) -> None:
    body = {
        "id": notification_id,
        "severity": message.severity,
        "text": message.chat(),
        "url": message.url,
        "alert_ids": [a["alert_id"] for a in alerts],
        "alerts": list(alerts),
    }
    _post(os.environ["WEBHOOK_URL"], notification_id, body)


def _post_incident(notification_id: str, message: Message, alerts: Sequence[Alert]) -> None:
    """In the shape of PagerDuty's Events API v2, which other incident tools accept too. Alerts of one case
    are one incident.
    """
    body = {
        "routing_key": os.environ.get("INCIDENT_KEY", ""),
        "event_action": "trigger",
        "dedup_key": case_id(alerts[0]) if len(alerts) == 1 else notification_id,
        "payload": {
            "summary": message.title,
            "severity": _INCIDENT_SEVERITY[message.severity],
            "source": "madhatter",
            "custom_details": {
                **dict(message.lines),
                "alert_ids": [a["alert_id"] for a in alerts],
            },
        },
        "links": [{"href": message.url, "text": "Open the case"}] if message.url else [],
    }
    _post(os.environ["INCIDENT_WEBHOOK_URL"], notification_id, body)


def _post(url: str, key: str, body: Any) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=POST_SECONDS):
        pass


def _mail(notification_id: str, message: Message, _alerts: Sequence[Alert]) -> None:
    mail = EmailMessage(policy=_NOT_FOLDED)
    mail["Subject"] = message.title
    mail["From"] = os.environ["ALERT_EMAIL_FROM"]
    mail["To"] = os.environ["ALERT_EMAIL_TO"]
    mail["Date"] = formatdate()
    mail["Message-ID"] = f"<{hashlib.sha256(notification_id.encode()).hexdigest()[:32]}@alerts.madhatter>"
    mail["Idempotency-Key"] = notification_id
    mail.set_content(message.plain())
    mail.add_alternative(message.html(), subtype="html")
    port = int(os.environ.get("SMTP_PORT", "25"))
    with smtplib.SMTP(os.environ["SMTP_HOST"], port, timeout=SMTP_SECONDS) as server:
        if os.environ.get("SMTP_STARTTLS", "") not in ("", "0"):
            server.starttls(context=ssl.create_default_context())
        if os.environ.get("SMTP_USER"):
            server.login(os.environ["SMTP_USER"], os.environ["SMTP_PASSWORD"])
        refused = server.send_message(mail)
    if refused:
        LOG.warning("Refused for some: %s", refused)
