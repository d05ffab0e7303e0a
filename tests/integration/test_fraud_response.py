"""Alerts become cases; grave ones hold orders and are asked about; answers are acted on, once."""

from __future__ import annotations

import dataclasses
import functools
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from fastapi.testclient import TestClient

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.fraud.alerts import Alert
from madhatter_provider.core.fraud.cases import case_id, open_cases, read_alerts
from madhatter_provider.core.fraud.decisions import Decision, Verdict, record_decision
from madhatter_provider.core.fraud.questions import ALL_UNANSWERED, Asking, count_to_ask, take_questions
from madhatter_provider.core.warehouse.sql import script
from madhatter_provider.testing.snowflake import RunningSnowflake

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
DAGS, INCLUDE = ROOT / "dags", ROOT / "include"
TABLES = ("CASES", "CASE_ALERTS", "ORDER_HOLDS", "QUESTIONS", "DECISIONS", "BLOCKED_ACCOUNTS", "LABELS")


@pytest.fixture
def sql(snowflake: Any) -> Any:
    """Snowflake without any case: questions are counted over all of them."""
    client = snowflake.client()
    for table in TABLES:
        client.execute(f"DELETE FROM FRAUD.{table}")
    return client


def make_alert(customer: int = 1, **changes: Any) -> Alert:
    """A grave alert."""
    alert = Alert(
        alert_id=uuid.uuid4().hex,
        alert_time="2026-11-24T06:00:02.000Z",
        event_time="2026-11-24T06:00:01.000Z",
        customer_id=f"C{customer:06d}",
        transaction_id=uuid.uuid4().hex,
        card_id="card-12345678",
        rule="amount_outlier",
        rule_version="1.0.0",
        severity="high",
        score=0.85,
        amount=900.0,
        currency="EUR",
        country="FR",
        reason="900.00 EUR is 30 times what this customer usually pays.",
    )
    return dataclasses.replace(alert, **changes)


def case_of(sql: Any, alert: Alert) -> dict[str, Any]:
    (row,) = sql.execute("SELECT * FROM FRAUD.CASES WHERE CASE_ID = ?", [case_id(alert)])
    return dict(row)


def everything(sql: Any) -> dict[str, Any]:
    return {t: sorted(sql.execute(f"SELECT * FROM FRAUD.{t}"), key=str) for t in TABLES}


def asking(run_id: str = "asks", at_most: int = 20, minutes: float = 60, again: str = "") -> Asking:
    return Asking("fraud_decisions", run_id, at_most, timedelta(minutes=minutes), again)


def answer(sql: Any, question_id: str, verdict: Verdict, by: str | None = "ada", note: str = "") -> int:
    return record_decision(sql, Decision(question_id, verdict, by, datetime.now(UTC), note))


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


@pytest.fixture
def dags(airflow_db: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from airflow.dag_processing.dagbag import BundleDagBag

    monkeypatch.setenv("MADHATTER_SECURITY_USERS", "security")
    bag = BundleDagBag(str(DAGS / "fraud_response.py"), bundle_path=DAGS, bundle_name="dags")
    assert bag.import_errors == {}
    return bag.dags


def test_the_dag_opens_cases_once_and_says_that_someone_must_be_asked(
    sql: Any, kafka_broker: str, dags: Any, run_dag: Callable[..., DagRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    connection = {"conn_type": "kafka", "extra": {"bootstrap.servers": kafka_broker}}
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(connection))
    admin = AdminClient({"bootstrap.servers": kafka_broker})
    admin.create_topics([NewTopic("fraud_alerts", 3, 1)])["fraud_alerts"].result(30)
    producer, alert = Producer({"bootstrap.servers": kafka_broker}), make_alert()
    for value in (alert.to_json(), b"no alert", alert.to_json()):
        producer.produce("fraud_alerts", value, key=alert.customer_id)
    producer.flush()
    run = run_dag(dags["fraud_response"])
    assert str(run.state) == "success"
    assert case_of(sql, alert)["RUN_ID"] == run.run_id
    with create_session() as session:
        assert [e.asset.name for e in session.query(AssetEvent)] == ["fraud_cases_to_ask"]
    before = everything(sql)
    assert str(run_dag(dags["fraud_response"], again=run).state) == "success"
    assert everything(sql) == before


class Security:
    """People who answer through Airflow's API."""

    def __init__(self, client: TestClient) -> None:
        self._client = client
        self.refused: list[int] = []

    def waiting(self) -> list[dict[str, Any]]:
        """Questions without an answer."""
        path = "/api/v2/dags/fraud_decisions/dagRuns/~/hitlDetails"
        found = self._client.get(path, params={"response_received": False}, headers=self._headers("admin"))
        details: list[dict[str, Any]] = found.json()["hitl_details"]
        return [d for d in details if d["task_instance"]["state"] == "awaiting_input"]

    def answer(self, detail: dict[str, Any], user: str, option: str, note: str | None) -> int:
        """HTTP status of the answer."""
        ti = detail["task_instance"]
        path = f"/api/v2/dags/{ti['dag_id']}/dagRuns/{ti['dag_run_id']}/taskInstances/{ti['task_id']}"
        body = {"chosen_options": [option], "params_input": {"note": note}}
        path = f"{path}/{ti['map_index']}/hitlDetails"
        return self._client.patch(path, json=body, headers=self._headers(user)).status_code

    def clear(self, detail: dict[str, Any]) -> None:
        """Clear all tasks of the run that asks this."""
        ti = detail["task_instance"]
        body = {"dag_run_id": ti["dag_run_id"], "dry_run": False, "only_failed": False}
        path = f"/api/v2/dags/{ti['dag_id']}/clearTaskInstances"
        cleared = self._client.post(path, json=body, headers=self._headers("admin"))
        assert cleared.status_code == 200, cleared.text

    def _headers(self, user: str) -> dict[str, str]:
        token = self._client.post("/auth/token", json={"username": user, "password": user}).json()
        return {"Authorization": f"Bearer {token['access_token']}"}


@pytest.fixture
def security(airflow_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Security]:
    from airflow.api_fastapi.app import create_app, purge_cached_app

    users = {"admin": "admin", "security": "user", "viewer": "viewer"}
    passwords = tmp_path / "passwords.json"
    passwords.write_text(json.dumps({user: user for user in users}))
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
    listed = ",".join(f"{user}:{role}" for user, role in users.items())
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", listed)
    purge_cached_app()
    with TestClient(create_app(apps="core"), base_url="http://localhost") as client:
        yield Security(client)
    purge_cached_app()


@pytest.fixture
def seen_by_triggers(airflow_db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Triggers see answers: the supervisor of ``dag.test()`` does not know the question."""
    from airflow.api_fastapi.execution_api.datamodels.hitl import HITLDetailResponse
    from airflow.models.hitl import HITLDetail
    from airflow.utils.session import create_session

    def read(ti_id: Any) -> Any:
        with create_session() as session:
            found = session.query(HITLDetail).filter(HITLDetail.ti_id == ti_id).one()
            return HITLDetailResponse.from_hitl_detail_orm(found)

    monkeypatch.setattr("airflow.providers.standard.triggers.hitl.get_hitl_detail_content_detail", read)


@pytest.mark.usefixtures("seen_by_triggers")
def test_people_approve_reject_or_do_not_answer(
    sql: Any, dags: Any, security: Security, run_dag: Callable[..., DagRun]
) -> None:
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    alerts = [make_alert(n, score=0.9 - n / 100, reason="{{ 7 * 7 }} <script>") for n in range(4)]
    open_cases(sql, alerts, "fraud_response", "run")
    for question in take_questions(sql, asking("at night")):
        answer(sql, question.question_id, "unanswered", None)
    said: list[dict[str, Any]] = []
    refused: list[int] = []

    def people() -> None:
        deadline = time.monotonic() + 90
        while len(waiting := security.waiting()) < 4 and time.monotonic() < deadline:
            time.sleep(0.2)
        said.extend(sorted(waiting, key=lambda d: d["task_instance"]["map_index"]))
        refused.extend(security.answer(said[0], user, "Approve", "") for user in ("viewer", "admin"))
        refused.append(security.answer(said[0], "security", "Perhaps", ""))
        assert security.answer(said[0], "security", "Approve", "stolen card") == 200
        assert security.answer(said[1], "security", "Reject", "it was him") == 200
        with create_session() as session:  # the third one's time is over
            past = datetime.now(UTC) - timedelta(seconds=1)
            waiting_for = session.query(TaskInstance).filter(TaskInstance.trigger_timeout.is_not(None))
            waiting_for.filter(TaskInstance.map_index == 2).update({"trigger_timeout": past})
        SchedulerJobRunner(Job()).check_awaiting_input_timeouts()
        while len(sql.execute("SELECT * FROM FRAUD.DECISIONS")) < 4 + 3 and time.monotonic() < deadline:
            time.sleep(0.2)
        # Cleared, the last question waits on, and a case that came meanwhile takes nobody's place.
        open_cases(sql, [make_alert(9, severity="critical")], "fraud_response", "run")
        security.clear(said[3])
        assert security.answer(said[3], "security", "Reject", None) == 200  # as a field that was cleared

    answering = threading.Thread(target=people)
    answering.start()
    run = run_dag(dags["fraud_decisions"], run_conf={"case_id": "all"})
    answering.join(10)
    assert refused == [403, 403, 400]
    assert str(run.state) == "success"
    assert r"\{\{ 7 \* 7 \}\} \<script\>" in said[0]["body"]
    cases = [case_of(sql, alert) for alert in alerts]
    assert [(c["STATUS"], c["DECIDED_BY"], c["NOTE"]) for c in cases] == [
        ("blocked", "security", "stolen card"),
        ("released", "security", "it was him"),
        ("unanswered", None, None),
        ("released", "security", None),
    ]
    assert {c["ASKED_RUN_ID"] for c in cases} == {run.run_id}
    assert count_to_ask(sql) == 1, "the case that came meanwhile waits for another run"
    before = everything(sql)
    again = run_dag(dags["fraud_decisions"], again=run)
    assert str(again.state) == "success", "nothing is left to ask"
    assert everything(sql) == before


@pytest.mark.usefixtures("seen_by_triggers")
def test_an_answer_survives_a_task_that_is_taken_for_dead(
    security: Security, run_dag: Callable[..., DagRun]
) -> None:
    from airflow.models.taskinstance import TaskInstance
    from airflow.sdk import DAG
    from airflow.utils.session import create_session

    from madhatter_provider.operators.approval import KeptAnswerApprovalOperator

    with DAG("fraud_decisions", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        KeptAnswerApprovalOperator(
            task_id="block", subject="Block?", retries=1, retry_delay=timedelta(0),
            response_timeout=timedelta(hours=1), assigned_users=[{"id": "security", "name": "security"}],
        )  # fmt: skip

    def people() -> None:
        deadline = time.monotonic() + 60
        while not (waiting := security.waiting()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert security.answer(waiting[0], "security", "Approve", "") == 200
        with create_session() as session:  # what the scheduler does to a task that it takes for dead
            session.query(TaskInstance).update(
                {
                    "state": "up_for_retry",
                    "next_method": None,
                    "next_kwargs": None,
                    "end_date": datetime.now(UTC),
                }
            )

    answering = threading.Thread(target=people)
    answering.start()
    run = run_dag(dag)
    answering.join(10)
    assert str(run.state) == "success"
    (ti,) = run.get_task_instances()
    assert ti.try_number == 2
    assert ti.xcom_pull("block")["responded_by_user"]["name"] == "security"
