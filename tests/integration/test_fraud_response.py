"""Alerts become cases; grave ones hold orders and are asked about; answers are acted on, once."""

from __future__ import annotations

import dataclasses
import functools
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.fraud.alerts import Alert
from madhatter_provider.core.fraud.cases import case_id, open_cases, read_alerts
from madhatter_provider.core.fraud.decisions import Verdict
from madhatter_provider.core.fraud.questions import ALL_UNANSWERED, take_questions
from madhatter_provider.core.warehouse.sql import script
from madhatter_provider.testing.snowflake import RunningSnowflake

from .fraud_cases import answer, asking, case_of, everything, make_alert, sql_fixture

pytestmark = pytest.mark.integration
__all__ = ["sql_fixture"]
INCLUDE = Path(__file__).parents[2] / "include"


class TestCases:
    def test_alerts_are_grouped_and_a_repetition_changes_nothing(self, sql: Any) -> None:
        first = make_alert(severity="medium", score=0.75)
        second = make_alert(
            alert_time="2026-11-24T06:05:00.000Z", event_time="2026-11-24T06:04:59.000Z", amount=50.0,
            rule="velocity_burst", severity="critical", score=0.95,
        )  # fmt: skip
        for alerts in ([first], [first, second]):
            open_cases(sql, alerts, "fraud_response", "run")
        case = case_of(sql, first)
        assert (case["ALERTS"], case["RULES"]) == (2, "amount_outlier,velocity_burst")
        assert (float(case["AMOUNT"]), case["SEVERITY"], case["STATUS"]) == (950.0, "critical", "held")
        (hold,) = sql.execute("SELECT * FROM FRAUD.ORDER_HOLDS")
        assert (hold["TRANSACTION_ID"], hold["STATE"]) == (second.transaction_id, "held")
        before = everything(sql)
        for alerts in ([second], [first, second, second]):
            assert open_cases(sql, alerts, "fraud_response", "another run").to_ask == 1
        assert everything(sql) == before

    def test_a_case_that_is_not_grave_holds_nothing_and_asks_nobody(self, sql: Any) -> None:
        assert open_cases(sql, [make_alert(severity="medium")], "fraud_response", "run").to_ask == 0
        assert sql.execute("SELECT * FROM FRAUD.ORDER_HOLDS") == []
        assert take_questions(sql, asking()) == []

    def test_text_in_an_alert_is_data(self, sql: Any) -> None:
        hostile = make_alert(card_id="x'; DROP TABLE FRAUD.CASES; --", reason="\\'); \" <b> {{ 7 * 7 }}")
        open_cases(sql, [hostile], "fraud_response", "run'; --")
        assert case_of(sql, hostile)["REASON"] == hostile.reason

    def test_what_is_no_alert_or_does_not_fit_is_left_to_the_quarantine(self) -> None:
        good, long = make_alert(), make_alert(alert_id="a" * 65)
        assert read_alerts([b"oops", None, b"{}", long.to_json(), good.to_json()]) == [good]

    def test_the_day_of_a_case_is_in_utc(self) -> None:
        assert case_id(make_alert(event_time="2026-11-24T23:30:00-02:00")) == "C000001-20261125"


class TestQuestions:
    def test_a_stranger_and_unknown_rules_are_said(self, sql: Any) -> None:
        open_cases(sql, [make_alert(rule_version="9.9")], "fraud_response", "run")
        (question,) = take_questions(sql, asking())
        assert question.subject == "Block account C000001? high: amount_outlier"
        assert "Nothing is known of this customer" in question.body
        assert "rules of version 9\\.9; known here is 1\\.0\\.0" in question.body

    def test_a_run_gets_its_questions_again_and_others_do_not(self, sql: Any) -> None:
        open_cases(sql, [make_alert(1), make_alert(2, severity="critical")], "fraud_response", "run")
        taken = take_questions(sql, asking("a"))
        assert [q.subject.split("?")[0] for q in taken] == ["Block account C000002", "Block account C000001"]
        assert take_questions(sql, asking("a")) == taken
        assert take_questions(sql, asking("b")) == []
        graver = make_alert(1, severity="critical", score=0.99)
        open_cases(sql, [graver, make_alert(3)], "fraud_response", "run")
        for n, verdict in enumerate(("blocked", "released"), start=1):
            answer(sql, taken[n - 1].question_id, verdict)  # type: ignore[arg-type]
            again = take_questions(sql, asking("a"))
            assert [q.question_id for q in again] == [q.question_id for q in taken], "each in its place"
            assert [q.closed for q in again] == [True] * n + [False] * (2 - n)
        assert [q.subject.split("?")[0] for q in take_questions(sql, asking("b"))] == [
            "Block account C000001", "Block account C000003",
        ]  # fmt: skip

    def test_who_dies_between_marking_and_noting_gets_the_same(self, sql: Any) -> None:
        open_cases(sql, [make_alert(n) for n in range(3)], "fraud_response", "run")
        taken = take_questions(sql, asking("a"))
        sql.execute("DELETE FROM FRAUD.QUESTIONS")
        assert take_questions(sql, asking("a")) == taken

    def test_cases_from_before_questions_were_kept_have_theirs(
        self, sql: Any, snowflake: RunningSnowflake, contracts: dict[str, Contract]
    ) -> None:
        alerts = [make_alert(n) for n in range(2)]
        open_cases(sql, alerts, "fraud_response", "run")
        taken = take_questions(sql, asking("a"))
        answer(sql, taken[0].question_id, "blocked")
        sql.execute("DELETE FROM FRAUD.QUESTIONS")
        (backfill,) = [
            s.text
            for s in script(INCLUDE, contracts, landing_root=snowflake.landing_root)
            if s.text.startswith("MERGE INTO FRAUD.QUESTIONS")
        ]
        for _ in range(2):
            sql.execute(backfill)
        again = take_questions(sql, asking("a"))
        assert [(q.question_id, q.closed) for q in again] == [("a#0", True), ("a#1", False)]
        steps = "SELECT CASE_ID FROM MARTS.FRAUD_CASE_STEPS WHERE STEP = 'asked' ORDER BY CASE_ID"
        assert [s["CASE_ID"] for s in sql.execute(steps)] == sorted(case_id(a) for a in alerts)

    def test_a_flood_shares_questions_and_the_rest_waits(self, sql: Any) -> None:
        flood = [make_alert(n, rule="card_testing") for n in range(130)]
        open_cases(sql, [*flood, make_alert(900, severity="critical")], "fraud_response", "run")
        first = take_questions(sql, asking("a", at_most=2))
        assert [q.subject for q in first] == [
            "Block account C000900? critical: amount_outlier",
            "Block 100 accounts? Up to high: card_testing",
        ]
        assert "and 80 more" in first[1].body
        assert take_questions(sql, asking("b", at_most=2)) == [], "two wait for people already"
        assert answer(sql, first[1].question_id, "released") == 100
        (last,) = take_questions(sql, asking("b", at_most=2))
        assert last.subject == "Block 30 accounts? Up to high: card_testing"

    def test_a_question_that_nobody_can_answer_any_more_is_asked_again(self, sql: Any) -> None:
        open_cases(sql, [make_alert()], "fraud_response", "run")
        take_questions(sql, asking("dead", minutes=-1))
        assert len(take_questions(sql, asking("next"))) == 1


class Interrupted:
    """Something else happens before one of the statements."""

    def __init__(self, sql: Any, before: int, meanwhile: Callable[[], object]) -> None:
        self.sql, self.left, self.meanwhile = sql, before, meanwhile

    def execute(self, statement: str, bindings: Any = ()) -> Any:
        if self.left == 0:
            self.meanwhile()
        self.left -= 1
        return self.sql.execute(statement, bindings)


class TestDecisions:
    @pytest.mark.parametrize("verdict", ["blocked", "released"])
    def test_an_alert_that_comes_while_a_decision_is_recorded_is_treated_like_the_others(
        self, sql: Any, verdict: Verdict
    ) -> None:
        interrupted: list[Interrupted] = []
        for n in range(8):
            open_cases(sql, [make_alert(n)], "fraud_response", "run")
            (question,) = take_questions(sql, asking(f"asks {n}"))
            decide = functools.partial(answer, question_id=question.question_id, verdict=verdict)
            more = functools.partial(
                open_cases, alerts=[make_alert(n)], dag_id="fraud_response", run_id="late"
            )
            if n % 2:
                interrupted.append(Interrupted(sql, n // 2 + 3, functools.partial(more, sql)))
                decide(interrupted[-1])
            else:
                interrupted.append(Interrupted(sql, n // 2 + 2, functools.partial(decide, sql)))
                more(interrupted[-1])
        assert all(i.left < 0 for i in interrupted), "each was interrupted"
        assert sql.execute("SELECT * FROM FRAUD.ORDER_HOLDS WHERE STATE = 'held'") == []
        (alerts,) = sql.execute("SELECT COUNT(*) AS N FROM FRAUD.CASE_ALERTS")
        assert alerts["N"] == len(sql.execute("SELECT * FROM FRAUD.LABELS")) == 16

    @pytest.mark.parametrize(
        ("verdict", "hold", "label"),
        [
            ("blocked", "cancelled", "fraud"),
            ("released", "released", "legitimate"),
            ("unanswered", "held", None),
        ],
    )
    def test_what_follows_from_an_answer(
        self, sql: Any, verdict: Verdict, hold: str, label: str | None
    ) -> None:
        alert = make_alert()
        open_cases(sql, [alert], "fraud_response", "run")
        (question,) = take_questions(sql, asking())
        by = None if verdict == "unanswered" else "ada"
        for _ in range(2):
            assert answer(sql, question.question_id, verdict, by, "because\n of it") == 1
            after = everything(sql)
        assert answer(sql, question.question_id, "blocked", "eve") == 1
        assert everything(sql) == after, "a later answer to the same question changes nothing"
        case = case_of(sql, alert)
        assert (case["STATUS"], case["DECIDED_BY"], case["NOTE"]) == (verdict, by, "because of it")
        assert [h["STATE"] for h in after["ORDER_HOLDS"]] == [hold]
        assert [row["LABEL"] for row in after["LABELS"]] == ([label] if label else [])
        assert len(after["BLOCKED_ACCOUNTS"]) == (verdict == "blocked")
        assert take_questions(sql, asking("later")) == []

    def test_an_unanswered_case_is_asked_about_again_when_somebody_wishes_it(self, sql: Any) -> None:
        alerts = [make_alert(n) for n in range(3)]
        open_cases(sql, [*alerts, make_alert(9, severity="low")], "fraud_response", "run")
        for question, verdict in zip(
            take_questions(sql, asking()), ("released", "unanswered", "unanswered"), strict=True
        ):
            answer(sql, question.question_id, verdict, None)  # type: ignore[arg-type]
        missed = case_id(alerts[1])
        for wrong, status in (
            (case_id(alerts[0]), "released"),
            ("C000009-20261124", "open"),
            ("x", "unknown"),
        ):
            with pytest.raises(ConfigurationError, match=f"{wrong} is {status}"):
                take_questions(sql, asking("wrong", again=wrong))
        (question,) = take_questions(sql, asking("again", again=missed))
        assert question.subject.startswith(f"Block account {alerts[1].customer_id}?")
        assert {
            h["STATE"] for h in sql.execute("SELECT * FROM FRAUD.ORDER_HOLDS WHERE CLOSED_AT IS NULL")
        } == {"held"}
        assert take_questions(sql, asking("too late", again=missed)) == [], "somebody is asked already"
        answer(sql, question.question_id, "unanswered", None)
        again = take_questions(sql, asking("again", again=missed))
        assert [q.closed for q in again] == [True], "a cleared run asks nothing anew"
        assert case_of(sql, alerts[1])["STATUS"] == "unanswered"
        both = take_questions(sql, asking("shift", again=ALL_UNANSWERED))
        for question in both:
            answer(sql, question.question_id, "blocked")
        assert [case_of(sql, a)["STATUS"] for a in alerts] == ["released", "blocked", "blocked"]
        steps = sql.execute(
            "SELECT STEP FROM MARTS.FRAUD_CASE_STEPS WHERE CASE_ID = ? ORDER BY DONE_AT", [missed]
        )
        assert [s["STEP"] for s in steps].count("asked") == 3

    def test_a_closed_case_is_asked_about_again_only_when_it_gets_graver(self, sql: Any) -> None:
        open_cases(sql, [make_alert()], "fraud_response", "run")
        answer(sql, take_questions(sql, asking())[0].question_id, "released")
        same = make_alert()
        assert open_cases(sql, [same], "fraud_response", "run 2").to_ask == 0
        assert case_of(sql, same)["STATUS"] == "released"
        assert len(sql.execute("SELECT * FROM FRAUD.ORDER_HOLDS")) == 1, "the customer was found honest"
        labels = sql.execute("SELECT LABEL, LABELLED_BY FROM FRAUD.LABELS")
        assert [(row["LABEL"], row["LABELLED_BY"]) for row in labels] == [("legitimate", "ada")] * 2
        graver = make_alert(severity="critical")
        assert open_cases(sql, [graver], "fraud_response", "run 3").to_ask == 1
        assert len(sql.execute("SELECT * FROM FRAUD.LABELS")) == 2, "the graver one is to be judged first"
        (question,) = take_questions(sql, asking("again"))
        answer(sql, question.question_id, "blocked")
        labels = sql.execute("SELECT LABEL FROM FRAUD.LABELS")
        assert [row["LABEL"] for row in labels] == ["fraud"] * 3
        assert len(sql.execute("SELECT * FROM FRAUD.DECISIONS")) == 2


DAY = "2031-05-05"
"""Nobody else's payments are of this day."""


class Shop:
    """Loaded payments and alerts of one customer on a day of this test's own."""

    def __init__(self, sql: Any) -> None:
        self.sql, self.topic, self._offset = sql, uuid.uuid4().hex, 0

    def pay(self, at: str, amount: float, status: str = "authorized", device: str = "d") -> str:
        """One payment; returns its id."""
        event_id = uuid.uuid4().hex
        self._load(
            "TRANSACTIONS", EVENT_ID=event_id, EVENT_TIME=at, CUSTOMER_ID="C777777", DEVICE_ID=device,
            AMOUNT=amount, CURRENCY="GBP", STATUS=status,
        )  # fmt: skip
        return event_id

    def alert(self, transaction_id: str, amount: float, **changes: Any) -> Alert:
        """An alert two seconds after its payment, loaded too."""
        made = make_alert(
            777777, event_time=f"{DAY}T10:00:00.000Z", alert_time=f"{DAY}T10:00:02.000Z", currency="GBP",
            country="ZZ", transaction_id=transaction_id, amount=amount, **changes,
        )  # fmt: skip
        columns = {name.upper(): value for name, value in dataclasses.asdict(made).items()}
        self._load("FRAUD_ALERTS", **columns)
        return made

    def _load(self, table: str, **columns: Any) -> None:
        self._offset += 1
        row = columns | {"_TOPIC_ID": self.topic, "_PARTITION": 0, "_OFFSET": self._offset}
        values = ", ".join("CAST(? AS TIMESTAMP_TZ)" if name.endswith("_TIME") else "?" for name in row)
        self.sql.execute(f"INSERT INTO RAW.{table} ({', '.join(row)}) SELECT {values}", list(row.values()))


def test_what_snowflake_knows_is_told_and_the_money_is_counted(sql: Any) -> None:
    shop = Shop(sql)
    shop.pay(f"{DAY}T08:00:00Z", 10.0, device="phone")
    shop.pay(f"{DAY}T09:00:00Z", 20.0, device="laptop")
    shop.pay("2031-03-01T09:00:00Z", 99.0)  # too long ago
    stolen = shop.pay(f"{DAY}T10:00:00Z", 300.0)
    declined = shop.pay(f"{DAY}T10:00:00Z", 500.0, status="declined")
    later = shop.pay(f"{DAY}T10:01:00Z", 40.0)
    alerts = [
        shop.alert(stolen, 300.0),
        shop.alert(declined, 500.0, rule="card_testing", severity="critical"),
    ]
    open_cases(sql, alerts, "fraud_response", "run")
    case = case_of(sql, alerts[0])
    assert (case["TRANSACTIONS_30D"], case["DEVICES_30D"], float(case["SPEND_30D"])) == (2, 2, 30.0)
    assert (case["OPEN_ORDERS"], float(case["OPEN_AMOUNT"])) == (2, 340.0)
    (question,) = take_questions(sql, asking())
    assert "2 payments from 2 devices, 30.00 authorized" in question.body
    money = "SELECT * FROM MARTS.FRAUD_MONEY WHERE DAY = CAST(? AS TIMESTAMP_TZ)"
    (before,) = sql.execute(money, [f"{DAY}T00:00:00Z"])
    assert [float(before[c]) for c in ("ALERTED_AMOUNT", "HELD_AMOUNT", "BLOCKED_AMOUNT")] == [800, 800, 0]
    answer(sql, question.question_id, "blocked")
    holds = {h["TRANSACTION_ID"]: h["STATE"] for h in sql.execute("SELECT * FROM FRAUD.ORDER_HOLDS")}
    assert holds == dict.fromkeys((stolen, declined, later), "cancelled")
    (after,) = sql.execute(money, [f"{DAY}T00:00:00Z"])
    assert [float(after[c]) for c in ("HELD_AMOUNT", "BLOCKED_AMOUNT", "SAVED_AMOUNT")] == [840, 840, 340]
    assert float(after["RELEASED_AMOUNT"]) == 0
    (country,) = sql.execute("SELECT * FROM MARTS.FRAUD_BY_COUNTRY WHERE COUNTRY = 'ZZ'")
    assert (country["PAYMENTS"], country["ALERTS"], country["CASES"]) == (2, 2, 1)
    (delay,) = sql.execute(
        "SELECT * FROM MARTS.TIME_TO_ALERT WHERE MINUTE = CAST(? AS TIMESTAMP_TZ)", [f"{DAY}T10:00:00Z"]
    )
    assert (delay["ALERTS"], float(delay["P50_SECONDS"]), float(delay["P95_SECONDS"])) == (2, 2.0, 2.0)
    (shown,) = sql.execute("SELECT * FROM MARTS.FRAUD_CASES WHERE CASE_ID = ?", [case_id(alerts[0])])
    assert (shown["STATUS"], shown["DAG_ID"], shown["RUN_ID"]) == ("blocked", "fraud_decisions", "asks")
