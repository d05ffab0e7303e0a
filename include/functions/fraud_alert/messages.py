"""What people are told: who, what, why, and where to act. Texts of alerts are data, never markup.

Alerts are written by whoever sends events. Their texts lose line breaks and control characters here, and each
channel escapes what it would take for its own: HTML in e-mail, links and mentions in chat.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

SEVERITIES = ("low", "medium", "high", "critical")
_LISTED = 20
_LONGEST_TITLE, _LONGEST_TEXT, _LONGEST_NAME = 150, 400, 80

Alert = dict[str, Any]


@dataclass(frozen=True)
class Message:
    """One notification in words. ``lines`` are (label, text), clean; ``url`` may be empty."""

    title: str
    severity: str
    lines: Sequence[tuple[str, str]]
    url: str

    def plain(self) -> str:
        """For e-mail and logs."""
        said = [f"{label}: {text}" for label, text in self.lines]
        return "\n".join([self.title, "", *said, *([self.url] if self.url else [])]) + "\n"

    def chat(self) -> str:
        """For chats that read ``<…>`` as links and mentions, and ``*_~``` as markup."""
        said = [f"{label}: {_chat(text)}" for label, text in self.lines]
        return "\n".join([_chat(self.title), *said, *([self.url] if self.url else [])])

    def html(self) -> str:
        """For e-mail."""
        rows = "".join(
            f"<tr><th align='left'>{html.escape(label)}</th><td>{html.escape(text)}</td></tr>"
            for label, text in self.lines
        )
        link = f"<p><a href='{html.escape(self.url)}'>Open the case</a></p>" if self.url else ""
        return f"<h3>{html.escape(self.title)}</h3><table cellpadding='4'>{rows}</table>{link}"


def message_of(alerts: Sequence[Alert], case_url: str) -> Message:
    """The message of a notification.

    :param case_url: address of a case with ``{case_id}`` in it, or empty.
    """
    return _single(alerts[0], case_url) if len(alerts) == 1 else _digest(alerts, case_url)


def case_id(alert: Alert) -> str:
    """The case that the fraud response opens for an alert: customer and UTC day of the payment."""
    day = datetime.fromisoformat(alert["event_time"]).astimezone(UTC)
    return f"{clean(alert['customer_id'], _LONGEST_NAME)}-{day:%Y%m%d}"


def clean(value: Any, longest: int = _LONGEST_TEXT) -> str:
    """A value as one line of printable text."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _single(alert: Alert, case_url: str) -> Message:
    customer, rule, country, card, payment, currency, version = (
        clean(alert.get(name, "unknown"), _LONGEST_NAME)
        for name in (
            "customer_id", "rule", "country", "card_id", "transaction_id", "currency", "rule_version",
        )
    )  # fmt: skip
    money, case = f"{alert['amount']:.2f} {currency}", case_id(alert)
    title = f"[{alert['severity']}] {rule}: {customer}, {money} in {country}"
    lines = [
        ("Who", f"customer {customer}, card {card}"),
        ("What", f"payment {payment} of {money} in {country} at {clean(alert['event_time'])}"),
        ("Why", clean(alert["reason"])),
        ("Rule", f"{rule} {version}, score {alert['score']:.2f}"),
        ("Do", _what_to_do(alert["severity"])),
        ("Case", case),
        ("Alert", alert["alert_id"]),
    ]
    return Message(clean(title, _LONGEST_TITLE), alert["severity"], lines, _link(case_url, case))


def _digest(alerts: Sequence[Alert], case_url: str) -> Message:
    ordered = sorted(alerts, key=lambda a: (SEVERITIES.index(a["severity"]), a["score"]), reverse=True)
    severity = ordered[0]["severity"]
    customers = len({a["customer_id"] for a in alerts})
    rules = Counter(clean(a["rule"], _LONGEST_NAME) for a in alerts)
    lines = [
        ("Who", f"{customers} customers"),
        ("Why", clean(", ".join(f"{rule} {n}" for rule, n in rules.most_common(10)))),
        ("Do", _what_to_do(severity)),
        *((f"Case {case_id(a)}", f"{a['severity']}: {clean(a['reason'], 150)}") for a in ordered[:_LISTED]),
    ]
    if len(alerts) > _LISTED:
        lines.append(
            ("More", f"{len(alerts) - _LISTED} alerts are not listed here; look for each in its case")
        )
    title = f"[{severity}] {len(alerts)} fraud alerts of {customers} customers in a short time"
    return Message(title, severity, lines, _link(case_url, case_id(ordered[0])))


def _what_to_do(severity: str) -> str:
    """The notification is faster than the fraud response, and knows nothing of what was decided before."""
    if severity in ("critical", "high"):
        return (
            "Open the case. As a rule within a minute the order is held, and you are asked in Airflow "
            "whether to block the account; if that was decided before, the case says so"
        )
    return "Look at the case when you have time: this alert by itself holds no order and asks nobody"


def _link(case_url: str, case: str) -> str:
    return case_url.replace("{case_id}", quote(case, safe="")) if case_url else ""


def _chat(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"{c}\u200b" if c in "*_~`@" else c for c in escaped)
