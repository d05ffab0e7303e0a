"""Snowflake's answers as the control room keeps them, and what it knows of brokers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from madhatter_provider.control_room.answers import Answers
from madhatter_provider.control_room.broker import BrokerEnds
from madhatter_provider.control_room.json_values import csv_answer, plain
from madhatter_provider.core.errors import BrokerError, MadHatterError, SnowflakeUnavailable, TopicError
from madhatter_provider.core.slices.claims import TopicBounds


class Snowflake:
    """Counts questions; may be slow, or away."""

    def __init__(self) -> None:
        self.asked, self.away, self.gate = 0, False, threading.Event()
        self.gate.set()

    def ask(self, statement: str, bindings: Sequence[Any]) -> list[dict[str, Any]]:
        self.gate.wait(5)
        self.asked += 1
        if self.away:
            raise SnowflakeUnavailable("away")
        return [{"N": self.asked}]


def until(condition: Callable[[], bool]) -> None:
    """Wait for a thread."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_each_question_is_asked_once_however_many_look() -> None:
    snowflake = Snowflake()
    answers = Answers(snowflake.ask, fresh=60)
    snowflake.gate.clear()
    threads = [threading.Thread(target=answers.get, args=("SELECT 1",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    snowflake.gate.set()
    for thread in threads:
        thread.join()
    assert answers.get("SELECT 1").rows == [{"N": 1}]
    assert answers.get("SELECT 1", [2]).rows == [{"N": 2}]


def test_an_old_answer_is_given_at_once_and_asked_anew() -> None:
    snowflake = Snowflake()
    answers = Answers(snowflake.ask, fresh=-1)
    assert answers.get("SELECT 1").rows == [{"N": 1}]
    snowflake.gate.clear()
    assert answers.get("SELECT 1").rows == [{"N": 1}]
    snowflake.gate.set()
    until(lambda: answers.get("SELECT 1").rows != [{"N": 1}])


def test_the_last_answer_stays_with_the_fault_while_snowflake_is_away() -> None:
    snowflake = Snowflake()
    answers = Answers(snowflake.ask, fresh=-1)
    answers.get("SELECT 1")
    snowflake.away = True
    until(lambda: answers.get("SELECT 1").fault is not None)
    assert answers.get("SELECT 1").rows == [{"N": 1}]
    with pytest.raises(SnowflakeUnavailable, match="away"):
        answers.get("SELECT 2")
    snowflake.away = False
    until(lambda: answers.get("SELECT 1").fault is None)


def test_nobody_waits_longer_than_patience() -> None:
    snowflake = Snowflake()
    answers = Answers(snowflake.ask, patience=0.05)
    snowflake.gate.clear()
    with pytest.raises(SnowflakeUnavailable, match=r"has not answered within 0\.05 s"):
        answers.get("SELECT 1")
    snowflake.gate.set()
    until(lambda: snowflake.asked == 1)
    assert answers.get("SELECT 1").rows == [{"N": 1}]


def test_one_missing_answer_leaves_the_others() -> None:
    def ask(statement: str, bindings: Sequence[Any]) -> list[dict[str, Any]]:
        if statement == "bad":
            raise SnowflakeUnavailable("away")
        return []

    found = Answers(ask).try_gather([("good", ()), ("bad", ())])
    assert [type(one).__name__ for one in found] == ["Answer", "SnowflakeUnavailable"]


class Brokers:
    """Know one topic; may be slow, or away."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.away, self.gate = False, threading.Event()
        self.known = {"clicks"}

    def ask(self, topics: Sequence[str]) -> dict[str, TopicBounds | MadHatterError]:
        self.asked.append(sorted(topics))
        self.gate.wait(5)
        if self.away:
            raise BrokerError("no answer")
        return {t: BOUNDS if t in self.known else TopicError(f"no {t}") for t in topics}


BOUNDS = TopicBounds("clicks", "id", {0: 0}, {0: 7})


def test_brokers_are_asked_in_the_background_for_all_topics_together() -> None:
    brokers = Brokers()
    ends = BrokerEnds(brokers.ask, fresh=60)
    assert all(one.pending for one in ends.look(["clicks", "gone"]).values())
    ends.look(["late"])  # while the first question is under way
    brokers.gate.set()
    until(lambda: not ends.look(["late"])["late"].pending)
    found = ends.look(["clicks", "gone"])
    assert (found["clicks"].bounds, found["clicks"].fault) == (BOUNDS, None)
    assert found["gone"].fault is not None
    assert brokers.asked == [["clicks", "gone"], ["late"]]
    assert BrokerEnds(None).look(["clicks"]) == {}


def test_brokers_that_go_away_leave_what_they_said() -> None:
    brokers = Brokers()
    brokers.gate.set()
    ends = BrokerEnds(brokers.ask, fresh=0)
    until(lambda: ends.look(["clicks"])["clicks"].bounds is not None)
    brokers.away = True
    until(lambda: ends.look(["clicks"])["clicks"].fault is not None)
    known = ends.look(["clicks"])["clicks"]
    assert (known.bounds, known.told_at is None) == (BOUNDS, False)
    brokers.away = False
    until(lambda: ends.look(["clicks"])["clicks"].fault is None)
    brokers.known.clear()
    until(lambda: ends.look(["clicks"])["clicks"].fault is not None)
    gone = ends.look(["clicks"])["clicks"]
    assert (gone.bounds, gone.told_at) == (None, None), "a topic that was deleted has no ends"


def test_values_for_browsers_and_spreadsheets() -> None:
    assert plain(b"caf\xc3\xa9") == "café"
    assert plain(b"\xff") == "0xff"
    cells = {"A": '=HYPERLINK("x")', "B": -5, "C": "\t=1", "D": None}
    answer = csv_answer("a/b", list(cells), [cells])
    assert bytes(answer.body).decode().splitlines()[1] == '"\'=HYPERLINK(""x"")",-5,\'\t=1,'
    assert answer.headers["Content-Disposition"] == 'attachment; filename="a_b.csv"'
