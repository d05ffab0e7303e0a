"""The score: what counts as caught, and what as a false alarm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.local.traffic import read_labels, score_alerts, score_faults

BEGIN = datetime(2026, 11, 24, 9, tzinfo=UTC)
LABELS: list[dict[str, Any]] = [
    {
        "kind": "bad",
        "stream": "clicks",
        "topic": "clicks",
        "partition": 0,
        "offset": 3,
        "defect": "wrong_type",
    },
    {
        "kind": "fraud",
        "case": "a",
        "fraud_kind": "card_testing",
        "customer_id": "C000001",
        "event_ids": ["t1", "t2"],
    },
    {
        "kind": "fraud",
        "case": "b",
        "fraud_kind": "amount_outlier",
        "customer_id": "C000002",
        "event_ids": ["t3"],
    },
]


def alert(number: int, customer: int, transaction: str, minutes: float = 0.0) -> dict[str, Any]:
    when = (BEGIN + timedelta(minutes=minutes)).isoformat()
    return {
        "alert_id": f"a{number}",
        "customer_id": f"C{customer:06d}",
        "transaction_id": transaction,
        "event_time": when,
    }


def test_one_hit_catches_a_case_and_one_group_without_a_hit_is_false() -> None:
    score = score_alerts(LABELS, [alert(1, 1, "t2"), alert(2, 9, "t9")])
    assert (score.cases, score.caught, score.alerts) == (2, 1, 2)
    assert (score.alerted_cases, score.false_alerted_cases) == (2, 1)
    assert (score.recall, score.precision, score.missed) == (0.5, 0.5, ("b",))


def test_alerts_of_a_customer_within_ten_minutes_are_one_alerted_case() -> None:
    near = score_alerts(LABELS, [alert(1, 1, "t1"), alert(2, 1, "other", minutes=9)])
    assert (near.alerted_cases, near.false_alerted_cases) == (1, 0)
    far = score_alerts(LABELS, [alert(1, 1, "t1"), alert(2, 1, "other", minutes=11)])
    assert (far.alerted_cases, far.false_alerted_cases) == (2, 1)


def test_the_same_alert_twice_counts_once() -> None:
    assert score_alerts(LABELS, [alert(1, 9, "t9"), alert(1, 9, "t9")]).alerts == 1


def test_nothing_alerted_has_no_false_alarm_and_no_recall() -> None:
    score = score_alerts(LABELS, [])
    assert (score.recall, score.precision, score.missed) == (0.0, 1.0, ("a", "b"))


def test_event_times_may_be_datetimes() -> None:
    assert score_alerts(LABELS, [{**alert(1, 1, "t1"), "event_time": BEGIN}]).caught == 1


def test_labels_that_are_none_are_refused(tmp_path: Path) -> None:
    broken = tmp_path / "labels.ndjson"
    broken.write_text("{")
    for path in (broken, tmp_path / "missing.ndjson"):
        with pytest.raises(ConfigurationError, match="Cannot read the labels"):
            read_labels(path)


def fault(kind: str, subject: str, begin: float, end: float) -> dict[str, Any]:
    at = BEGIN.timestamp()
    return {"kind": "fault", "fault": kind, "subject": subject, "from": at + begin, "until": at + end}


def change(check: str, subject: str, second: float, before: str = "ok") -> dict[str, Any]:
    return {
        "CHECK_NAME": check, "SUBJECT": subject, "FROM_STATE": before, "TO_STATE": "warning",
        "CHANGED_AT": BEGIN + timedelta(seconds=second),
    }  # fmt: skip


def test_a_fault_is_found_by_its_own_check_in_its_own_time() -> None:
    labels = [*LABELS, fault("sensor_stuck", "S1", 0, 60), fault("sensor_drift", "S2", 0, 60)]
    found = score_faults(
        labels,
        [
            change("sensor_stuck", "S1", 70),
            change("sensor_stuck", "S1", 75, before="warning"),
            change("sensor_stuck", "S2", 30),
            change("sensor_stuck", "S2", 40),
            change("sensor_drift", "S2", 90),
            change("freshness", "clicks", 30),
        ],
        grace=20,
    )
    assert (found.planted, found.found, found.missed) == (2, 1, ("sensor_drift S2",))
    assert found.false == ("sensor_drift S2", "sensor_stuck S2")
    assert found.recall == 0.5
    assert found.precision == pytest.approx(1 / 3)
    assert found.found_by_kind == {"sensor_stuck": (1, 1), "sensor_drift": (0, 1)}


def test_nothing_planted_and_nothing_found_is_perfect() -> None:
    found = score_faults(LABELS, [], grace=0)
    assert (found.planted, found.recall, found.precision) == (0, 1.0, 1.0)
