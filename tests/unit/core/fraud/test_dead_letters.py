"""What becomes of dead letters."""

from __future__ import annotations

import json

import pytest

from madhatter_provider.core.fraud.dead_letters import MOST_REDRIVES, DeadLetter, record_letters


@pytest.mark.parametrize(
    ("attributes", "state", "redrives"),
    [
        ({}, "sent_again", 0),
        ({"redriven": "3"}, "sent_again", 3),
        ({"redriven": str(MOST_REDRIVES)}, "given_up", MOST_REDRIVES),
        ({"redriven": "many"}, "sent_again", 0),
        ({"redriven": "9" * 50}, "sent_again", 0),
        ({"reason": "not JSON"}, "poison", 0),
    ],
)
def test_state(attributes: dict[str, str], state: str, redrives: int) -> None:
    letter = DeadLetter("m", b'{"alert_id": "a"}', attributes)
    assert (letter.state, letter.redrives) == (state, redrives)


@pytest.mark.parametrize(
    ("data", "attributes", "name"),
    [
        (b'{"alert_id": "a"}', {}, "a"),
        (b'{"alert_id": 7}', {}, "m"),
        (b"[]", {"message_id": "first"}, "first"),
        (b"\xff", {}, "m"),
        (b"[" * 100_000, {}, "m"),
    ],
)
def test_name(data: bytes, attributes: dict[str, str], name: str) -> None:
    assert DeadLetter("m", data, attributes).letter_id == name


def test_only_an_alerts_attributes_go_back() -> None:
    letter = DeadLetter("m", b"x", {"ce-id": "a", "severity": "high", "topic": "evil", "redriven": "1"})
    assert letter.again() == {
        "data": b"x",
        "attributes": {"ce-id": "a", "severity": "high", "redriven": "2"},
    }


def test_the_record_has_every_letter_once() -> None:
    letters = [DeadLetter(str(n), b'{"alert_id": "a"}', {"redriven": str(n)}) for n in range(2)]
    _, (run, rows) = record_letters([*letters, DeadLetter("m", b"\xff", {"reason": "r" * 2000})], "run")
    found = {row["letter_id"]: row for row in json.loads(rows)}
    assert run == "run"
    assert (found["a"]["redrives"], found["m"]["data"], len(found["m"]["reason"])) == (2, "\\xff", 1024)
