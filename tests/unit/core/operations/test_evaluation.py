"""From measurements to rows: states, changes, and statements that may be repeated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlglot

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.operations import outbox
from madhatter_provider.core.operations.evaluation import evaluate, new_measurements, record
from madhatter_provider.core.operations.settings import change_settings

BEGIN = datetime(2026, 11, 24, 6, tzinfo=UTC)


def row(subject: str, minute: float, measured: float, **more: Any) -> dict[str, Any]:
    """A measurement as the query gives it, of a check that turns at 1 and back at 0.5."""
    return {
        "CHECK_NAME": "freshness", "SUBJECT": subject, "AS_OF": BEGIN + timedelta(minutes=minute),
        "MEASURED": measured, "OBSERVED": None, "EXPECTED": None, "CATEGORY": None, "LOCATION": None,
        "DETAIL": f"measured {measured}", "WARNING_ENTER": 1, "WARNING_LEAVE": 0.5, "CRITICAL_ENTER": 10,
        "CRITICAL_LEAVE": 5, "WORSE_AFTER": 0, "BETTER_AFTER": 0, "STATE": None, "PENDING_STATE": None,
        "PENDING_SINCE": None, "CHANGES": None, "CHANGED_AT": None, "CHECKED_AT": None, **more,
    }  # fmt: skip


def known(state: str, changes: int) -> dict[str, Any]:
    return {"STATE": state, "CHANGES": changes, "CHANGED_AT": BEGIN, "CHECKED_AT": BEGIN}


def test_every_change_is_told_and_the_last_state_is_kept() -> None:
    found = evaluate([row("clicks", 1, 2), row("clicks", 2, 20), row("clicks", 3, 0)], "dag", "run")
    assert [(c["CHANGE_NUMBER"], c["FROM_STATE"], c["TO_STATE"]) for c in found.changes] == [
        (1, "ok", "warning"), (2, "warning", "critical"), (3, "critical", "ok"),
    ]  # fmt: skip
    assert [(c["MEASURED"], c["LIMIT_VALUE"], c["DETAIL"]) for c in found.changes] == [
        (2, 1.0, "measured 2"), (20, 10.0, "measured 20"), (0, 1.0, "measured 0"),
    ]  # fmt: skip
    (state,) = found.states
    assert (state["STATE"], state["CHANGES"], state["CHECKED_AT"]) == ("ok", 3, BEGIN + timedelta(minutes=3))


def test_a_known_state_goes_on_from_where_it_was() -> None:
    found = evaluate([row("clicks", 1, 0.7, **known("warning", 4)), row("payments", 1, 0.7)], "dag", "run")
    assert found.changes == []
    assert [(s["SUBJECT"], s["STATE"], s["CHANGES"]) for s in found.states] == [
        ("clicks", "warning", 4), ("payments", "ok", 0),
    ]  # fmt: skip


def test_nothing_measured_is_nothing_to_record() -> None:
    assert record(evaluate([], "dag", "run")) == []


def test_text_of_measurements_is_data() -> None:
    hostile = row("o'brien\\'); DROP TABLE OPS.HEALTH; --", 1, 2, DETAIL='it\'s "50 %"\n<b>')
    changes, states = record(evaluate([hostile], "dag", "run"))
    for statement in (changes, states):
        (parsed,) = sqlglot.parse(statement, read="snowflake")
        assert parsed is not None
        assert parsed.key == "merge"


@pytest.mark.parametrize("name", ["OPS.X; DROP TABLE Y", "", "A.B.C.D", "OPS.X AS"])
def test_only_names_of_views_are_taken(name: str) -> None:
    with pytest.raises(ConfigurationError, match="no name of a view"):
        new_measurements(name)
    with pytest.raises(ConfigurationError, match="no name of a view"):
        new_measurements("OPS.X", name)


def test_contradicting_limits_are_said() -> None:
    with pytest.raises(ConfigurationError, match="warning_leave 2 is above warning_enter 1"):
        evaluate([row("clicks", 1, 2, WARNING_LEAVE=2)], "dag", "run")


def test_settings_are_one_statement() -> None:
    (parsed,) = sqlglot.parse(change_settings({"freshness.warning_enter": 5}, "o'clock"), read="snowflake")
    assert parsed is not None
    assert parsed.key == "merge"


def test_a_message_says_who_what_and_where_to_read_on() -> None:
    (change,) = evaluate([row("clicks", 1, 2)], "dag", "run").changes

    def told(guide: str, **changes: Any) -> dict[str, Any]:
        (((_), body),) = outbox.messages([{**change, **changes}], guide, digest_from=5)
        return body

    body = told("https://wiki/on-call")
    assert body["text"] == (
        "WARNING: freshness of clicks (was ok). measured 2 https://wiki/on-call#freshness"
    )
    assert body["id"] == "freshness/clicks/1"
    assert (body["measured"], body["limit"], body["changed_at"]) == (2, 1.0, "2026-11-24T06:01:00+00:00")
    assert told("", DETAIL=None)["text"] == "WARNING: freshness of clicks (was ok)."


def test_many_changes_with_one_cause_are_one_message() -> None:
    streams = [f"s{i}" for i in range(6)]
    found = [c for s in streams for c in evaluate([row(s, 1, 2), row(s, 2, 20)], "dag", "run").changes]
    lone = evaluate([row("lone", 1, 2, CHECK_NAME="broker")], "dag", "run").changes
    sent = list(outbox.messages([*found, *lone], "guide.md", digest_from=5))
    assert [body["text"] for _, body in sent] == [
        "WARNING: freshness of 6 subjects: s0, s1, s2, s3, s4, … guide.md#freshness",
        "CRITICAL: freshness of 6 subjects: s0, s1, s2, s3, s4, … guide.md#freshness",
        "WARNING: broker of lone (was ok). measured 2 guide.md#broker",
    ]
    assert sorted(outbox.change_id(c) for changes, _ in sent for c in changes) == sorted(
        outbox.change_id(c) for c in [*found, *lone]
    )
    assert sent[1][1]["subjects"] == streams
    assert sent[1][1]["ids"] == [f"freshness/{s}/2" for s in streams]
    few = list(outbox.messages(found[:4], "", digest_from=5))
    assert [body["id"] for _, body in few] == [outbox.change_id(c) for c in found[:4]]
