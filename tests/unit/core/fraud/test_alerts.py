"""Alerts: stable ids, the contract's row, CloudEvent attributes, and what is not an alert."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.decoding.json_messages import JsonDecoder
from madhatter_provider.core.errors import AlertError
from madhatter_provider.core.fraud.alerts import Alert, alert_id_of, alert_of
from madhatter_provider.core.fraud.rules import Finding, Payment
from madhatter_provider.core.fraud.severity import severity_of, severity_rank

CONTRACT = load_contract(Path(__file__).parents[4] / "include/contracts/fraud_alerts.odcs.yaml")
PAYMENT = Payment(
    "0123456789abcdef0123456789abcdef",
    1_795_500_000.25,
    "card-0001",
    "device-1",
    "order-1",
    812.5,
    "EUR",
    "DE",
    52.5,
    13.4,
    False,
)
ALERT = alert_of(
    "C000042", Finding("amount_outlier", 0.85, PAYMENT, "20 times"), rule_version="1.0.0", now=1_795_500_001.0
)


def changed(**changes: Any) -> bytes:
    row = {**json.loads(ALERT.to_json()), **changes}
    return json.dumps({name: value for name, value in row.items() if value is not ...}).encode()


def test_an_alert_fulfils_its_contract_in_the_contracts_order() -> None:
    assert JsonDecoder(CONTRACT).decode([ALERT.to_json()]).bad == []
    assert list(json.loads(ALERT.to_json())) == [c.name for c in CONTRACT.columns]


def test_json_round_trip_ignores_fields_of_later_versions() -> None:
    assert Alert.from_json(ALERT.to_json()) == ALERT
    assert Alert.from_json(changed(model="v2")) == ALERT


def test_the_same_finding_has_the_same_id_whenever_it_is_made() -> None:
    later = alert_of(
        "C000042", Finding("amount_outlier", 0.9, PAYMENT, "other words"), rule_version="2", now=2e9
    )
    assert later.alert_id == ALERT.alert_id
    assert len({alert_id_of(c, r, t) for c in ("C1", "C2") for r in ("x", "y") for t in ("1", "2")}) == 8


def test_attributes_are_a_cloud_event() -> None:
    assert ALERT.attributes() == {
        "ce-id": ALERT.alert_id,
        "ce-type": "com.madhatter.fraud.alert.v1",
        "ce-source": "//madhatter/streaming-fraud",
        "ce-specversion": "1.0",
        "severity": "high",
        "rule": "amount_outlier",
    }


@pytest.mark.parametrize(
    ("score", "severity"),
    [(0.6, "low"), (0.7, "medium"), (0.8, "high"), (0.93, "critical"), (1.0, "critical")],
)
def test_severity_grows_with_the_score(score: float, severity: str) -> None:
    assert severity_of(score) == severity
    assert severity_rank("low") < severity_rank("medium") < severity_rank("high") < severity_rank("critical")


@pytest.mark.parametrize(
    "data",
    [
        b"not json",
        b"[1]",
        changed(alert_id=...),
        changed(reason=""),
        changed(score=1.5),
        changed(score=True),
        changed(amount=0),
        changed(amount="12"),
        changed(rule="guess"),
        changed(severity="urgent"),
        changed(customer_id="42"),
        changed(event_time="yesterday"),
        changed(event_time="2026-11-24T06:00:00"),
    ],
)
def test_what_is_not_an_alert_is_refused(data: bytes) -> None:
    with pytest.raises(AlertError, match="Not a valid alert"):
        Alert.from_json(data)
