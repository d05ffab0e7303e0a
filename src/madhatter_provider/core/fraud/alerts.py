"""A fraud alert: the row of contract ``fraud_alerts``, the message on Pub/Sub and a CloudEvent."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import msgspec

from madhatter_provider.core.errors import AlertError
from madhatter_provider.core.fraud.severity import SEVERITIES, severity_of
from madhatter_provider.core.timestamps import format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from madhatter_provider.core.fraud.rules import Finding

RULES = ("card_testing", "velocity_burst", "impossible_travel", "amount_outlier", "account_takeover")
EVENT_TYPE = "com.madhatter.fraud.alert.v1"
EVENT_SOURCE = "//madhatter/streaming-fraud"

_CUSTOMER = re.compile(r"C[0-9]{6}")


def alert_id_of(customer_id: str, rule: str, transaction_id: str) -> str:
    """The same customer, rule and first triggering payment always give the same id (32 hexadecimal
    characters).
    """
    return hashlib.sha256(f"{customer_id}|{rule}|{transaction_id}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    Times are ISO 8601 texts in UTC; ``amount`` is in ``currency``; field order is the contract's.
    """

    alert_id: str
    alert_time: str
    event_time: str
    customer_id: str
    transaction_id: str
    card_id: str
    rule: str
    rule_version: str
    severity: str
    score: float
    amount: float
    currency: str
    country: str
    reason: str

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem:
            raise AlertError(
                f"Not a valid alert: {problem}",
                where=f"alert {self.alert_id!r}",
                remedy="Compare with include/contracts/fraud_alerts.odcs.yaml.",
            )

    def to_json(self) -> bytes:
        """The message: a flat JSON object."""
        return msgspec.json.encode(asdict(self))

    @classmethod
    def from_json(cls, data: bytes | str) -> Alert:
        """Read a message; unknown fields are ignored, so that the contract can grow.

        :raises AlertError: not JSON, a field missing, of the wrong type or out of range.
        """
        try:
            row = msgspec.json.decode(data, type=dict[str, Any])
            return cls(**{f.name: row[f.name] for f in fields(cls)})
        except (msgspec.DecodeError, KeyError) as err:
            raise AlertError(
                f"Not a valid alert: {err}", where="message", remedy="Send the JSON of contract fraud_alerts."
            ) from err

    def attributes(self) -> dict[str, str]:
        """Pub/Sub attributes: a CloudEvent in binary mode, and what subscribers may filter on."""
        return {
            "ce-id": self.alert_id, "ce-type": EVENT_TYPE, "ce-source": EVENT_SOURCE, "ce-specversion": "1.0",
            "severity": self.severity, "rule": self.rule,
        }  # fmt: skip


def alert_of(customer_id: str, finding: Finding, *, rule_version: str, now: float) -> Alert:
    """The alert for a finding raised at ``now`` (Unix seconds)."""
    payment = finding.payment
    return Alert(
        alert_id=alert_id_of(customer_id, finding.rule, payment.event_id),
        alert_time=format_timestamp(now),
        event_time=format_timestamp(payment.time),
        customer_id=customer_id,
        transaction_id=payment.event_id,
        card_id=payment.card_id,
        rule=finding.rule,
        rule_version=rule_version,
        severity=severity_of(finding.score),
        score=finding.score,
        amount=payment.amount,
        currency=payment.currency,
        country=payment.country,
        reason=finding.reason[:1024],
    )


def _problem(alert: Alert) -> str | None:
    """What is wrong with an alert, or None."""
    texts = [f.name for f in fields(alert) if f.name not in ("score", "amount")]
    for name in texts:
        if not isinstance(getattr(alert, name), str) or not getattr(alert, name):
            return f"{name} is not a text"
    for name, low, high in (("score", 0.0, 1.0), ("amount", 0.01, 100_000.0)):
        value = getattr(alert, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            return f"{name} {value!r} is not a number from {low} to {high}"
    if alert.rule not in RULES or alert.severity not in SEVERITIES:
        return f"rule {alert.rule!r} or severity {alert.severity!r} is unknown"
    if not _CUSTOMER.fullmatch(alert.customer_id):
        return f"customer_id {alert.customer_id!r} does not look like C000001"
    return _bad_time(alert)


def _bad_time(alert: Alert) -> str | None:
    try:
        parse_timestamp(alert.alert_time), parse_timestamp(alert.event_time)
    except ValueError as err:
        return str(err)
    return None
