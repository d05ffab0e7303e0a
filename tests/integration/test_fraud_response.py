"""Alerts on the topic become cases in Snowflake, once; what a person decided stays."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from madhatter_provider.core.fraud.alerts import Alert
from madhatter_provider.core.fraud.cases import case_id, read_alerts, record_alerts, refresh_cases

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

pytestmark = pytest.mark.integration
DAGS = Path(__file__).parents[2] / "dags"


@pytest.fixture
def alert() -> Alert:
    """An alert of a customer of this test's own."""
    return Alert(
        alert_id=uuid.uuid4().hex,
        alert_time="2026-11-24T06:00:02.000Z",
        event_time="2026-11-24T06:00:01.000Z",
        customer_id=f"C{uuid.uuid4().int % 1_000_000:06d}",
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


def case_of(sql: Any, alert: Alert) -> dict[str, Any]:
    (row,) = sql.execute("SELECT * FROM FRAUD.CASES WHERE CASE_ID = ?", [case_id(alert)])
    return dict(row)


def test_alerts_are_grouped_and_a_repetition_changes_nothing(snowflake: Any, alert: Alert) -> None:
    sql = snowflake.client()
    second = dataclasses.replace(
        alert,
        alert_id=uuid.uuid4().hex,
        transaction_id=uuid.uuid4().hex,
        alert_time="2026-11-24T06:05:00.000Z",
        event_time="2026-11-24T06:04:59.000Z",
        rule="velocity_burst",
        severity="critical",
        score=0.95,
        amount=50.0,
    )
    for alerts in ([alert], [alert, second], [second]):
        sql.execute(*record_alerts(alerts, "run"))
        sql.execute(*refresh_cases([case_id(alert)], "fraud_response", "run"))
    case = case_of(sql, alert)
    assert (case["ALERTS"], case["RULES"], case["SEVERITY"]) == (
        2,
        "amount_outlier,velocity_burst",
        "critical",
    )
    assert (float(case["AMOUNT"]), case["MAX_SCORE"], case["STATUS"]) == (950.0, 0.95, "open")


def test_what_a_person_decided_is_kept(snowflake: Any, alert: Alert) -> None:
    sql = snowflake.client()
    sql.execute(*record_alerts([alert], "run"))
    sql.execute(*refresh_cases([case_id(alert)], "fraud_response", "run"))
    sql.execute(
        "UPDATE FRAUD.CASES SET STATUS = 'released', DECIDED_BY = 'ada' WHERE CASE_ID = ?", [case_id(alert)]
    )
    sql.execute(*refresh_cases([case_id(alert)], "fraud_response", "later"))
    case = case_of(sql, alert)
    assert (case["STATUS"], case["DECIDED_BY"], case["RUN_ID"]) == ("released", "ada", "later")


def test_text_in_an_alert_is_data(snowflake: Any, alert: Alert) -> None:
    hostile = dataclasses.replace(alert, card_id="x'; DROP TABLE FRAUD.CASES; --", reason="\\'); \" <b>")
    sql = snowflake.client()
    sql.execute(*record_alerts([hostile], "run'; --"))
    sql.execute(*refresh_cases([case_id(alert)], "fraud_response", "run"))
    assert case_of(sql, alert)["ALERTS"] == 1


def test_messages_that_are_no_alerts_are_left_out(alert: Alert) -> None:
    values = [b"oops", None, b"{}", alert.to_json()]
    assert read_alerts(values) == [alert]


def test_the_dag_opens_the_case(
    snowflake: Any,
    kafka_broker: str,
    run_dag: Callable[..., DagRun],
    alert: Alert,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow.dag_processing.dagbag import BundleDagBag
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    connection = {"conn_type": "kafka", "extra": {"bootstrap.servers": kafka_broker}}
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(connection))
    admin = AdminClient({"bootstrap.servers": kafka_broker})
    admin.create_topics([NewTopic("fraud_alerts", 3, 1)])["fraud_alerts"].result(30)
    producer = Producer({"bootstrap.servers": kafka_broker})
    producer.produce("fraud_alerts", alert.to_json(), key=alert.customer_id)
    producer.flush()
    bag = BundleDagBag(str(DAGS / "fraud_response.py"), bundle_path=DAGS, bundle_name="dags")
    run = run_dag(bag.dags["fraud_response"])
    assert str(run.state) == "success"
    assert case_of(snowflake.client(), alert)["RUN_ID"] == run.run_id
