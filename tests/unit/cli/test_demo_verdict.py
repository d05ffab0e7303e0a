"""Every invariant of the demo can fail, and says what is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from madhatter_provider.cli.demo.control_room import ControlRoomFacts, PageFacts
from madhatter_provider.cli.demo.verdict import (
    AlertFacts,
    CaseFacts,
    Facts,
    Notifications,
    StreamFacts,
    failures,
    summary,
)

GOOD_STREAM = StreamFacts(
    produced=100,
    landed=98,
    loaded=98,
    quarantined=2,
    injected_bad=2,
    gaps=0,
    overlaps=0,
    duplicates=0,
    runs=3,
    p95_event_to_queryable_seconds=20.0,
)
GOOD_FRAUD: dict[str, Any] = {
    "cases": 10,
    "caught": 9,
    "alerts": 12,
    "alerted_cases": 10,
    "false_alerted_cases": 1,
    "recall": 0.9,
    "precision": 0.9,
    "event_to_function_seconds": {"p50": 0.2, "p95": 0.5, "max": 1.0},
}

GOOD_OPERATIONS: dict[str, Any] = {"planted": 10, "found": 8, "false": 1, "missed": [], "false_findings": []}


ROOM = ControlRoomFacts("http://x/streams", (PageFacts("Streams", "http://x/streams"),))
BARE_ROOM = ControlRoomFacts("http://x", (PageFacts("Fraud", "http://x/fraud", "Cases: no mart"),))
GOOD_CASES = CaseFacts(opened=2, held=1, asked=1, decided=1, alerts=2)


def facts(**changes: Any) -> Facts:
    given: dict[str, Any] = {
        "streams": {"clicks": GOOD_STREAM, "searches": GOOD_STREAM},
        "alerts": AlertFacts(frozenset("ab"), ["a", "b"], frozenset("ab")),
        "cases": GOOD_CASES,
        "notifications": Notifications(sent=3, duplicates=0, lost=0),
        "fraud": GOOD_FRAUD,
        "quality": {"gates": 2, "passed": 2, "failed": 0},
        "operations": GOOD_OPERATIONS,
        "recommendations": {"lists": 5, "not_on_topic": 0},
        "gate_failures": {"clicks": 0, "searches": 0},
        "control_room": ROOM,
        "services": [],
        "seconds": {"total": 1.0},
    }
    return Facts(**{**given, **changes})


def stream(**changes: Any) -> dict[str, Any]:
    return {"streams": {"clicks": replace(GOOD_STREAM, **changes), "searches": GOOD_STREAM}}


def test_a_good_demo_has_no_failure() -> None:
    assert failures(facts()) == []
    result = summary(facts())
    assert result["ok"] is True
    assert result["streams"]["clicks"]["loaded"] == 98
    assert "innocent" not in result["streams"]["clicks"]
    assert result["cases"]["decided"] == 1
    assert result["notifications"] == {"sent": 3, "duplicates": 0, "lost": 0}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (stream(gaps=1), "'gaps': 1"),
        (stream(overlaps=1), "'overlaps': 1"),
        (stream(duplicates=2), "'duplicates': 2"),
        (stream(loaded=97), "100 produced, 97 loaded + 2 quarantined"),
        (stream(produced=0, loaded=0, quarantined=0), "nothing was produced"),
        (stream(wrong_reasons=["0:1 broken_json, found nothing"]), "broken_json, found nothing"),
        (stream(innocent=["0:1 required"]), "1 good rows quarantined"),
        ({"control_room": BARE_ROOM}, "control room, Fraud: Cases: no mart"),
        ({"alerts": AlertFacts(frozenset("ab"), ["a"], frozenset("ab"))}, "1 published but not acted on"),
        ({"alerts": AlertFacts(frozenset("a"), ["a", "a"], frozenset("a"))}, "1 acted on more than once"),
        ({"alerts": AlertFacts(frozenset("ab"), ["a", "b"], frozenset("a"))}, "not recorded in Snowflake"),
        ({"cases": replace(GOOD_CASES, alerts=1)}, "2 alerts published, 1 in cases"),
        ({"cases": replace(GOOD_CASES, asked=0, decided=0)}, "nobody was asked"),
        ({"cases": replace(GOOD_CASES, decided=0)}, "nothing was decided"),
        ({"notifications": Notifications(3, 0, 1)}, "1 were due but did not arrive"),
        ({"notifications": Notifications(3, 1, 0)}, "1 arrived more than once"),
        ({"fraud": {**GOOD_FRAUD, "recall": 0.79}}, "recall 0.79"),
        ({"fraud": {**GOOD_FRAUD, "precision": 0.5}}, "precision 0.50"),
        ({"operations": {**GOOD_OPERATIONS, "found": 7}}, "7 of 10 faults found"),
        ({"operations": {**GOOD_OPERATIONS, "false": 2}}, "2 false findings"),
        ({"gate_failures": {"clicks": 1}}, "clicks: 1 slices failed the gate"),
        ({"quality": {"gates": 0, "passed": 0, "failed": 0}}, "no deep gate"),
        ({"recommendations": {"lists": 0, "not_on_topic": 0}}, "no list was made"),
        ({"recommendations": {"lists": 5, "not_on_topic": 2}}, "2 lists are not on the topic"),
        ({"broken_stream": "clicks", "gate_failures": {"searches": 1}}, "searches: 1 slices failed"),
        ({"broken_stream": "clicks", **stream(quarantined=0, loaded=100)}, "nothing was quarantined"),
    ],
)
def test_every_broken_invariant_is_said(changes: dict[str, Any], words: str) -> None:
    found = failures(facts(**changes))
    assert any(words in f for f in found), found
    assert summary(facts(**changes))["ok"] is False


def test_the_stream_that_was_broken_on_purpose_may_fail_its_gate() -> None:
    assert failures(facts(broken_stream="clicks", gate_failures={"clicks": 3})) == []


def test_an_alert_leg_that_was_not_run_is_not_judged() -> None:
    alerts = AlertFacts(frozenset("ab"), None, frozenset("ab"))
    assert failures(facts(alerts=alerts, notifications=None)) == []
    assert summary(facts(alerts=alerts, notifications=None))["notifications"] is None
