"""The DAGs of the fraud response: alerts become cases, people are asked through Airflow, answers are kept."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from fastapi.testclient import TestClient

from madhatter_provider.core.fraud.cases import open_cases
from madhatter_provider.core.fraud.questions import count_to_ask, take_questions

from .fraud_cases import answer, asking, case_of, everything, make_alert, sql_fixture

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

pytestmark = pytest.mark.integration
__all__ = ["sql_fixture"]
DAGS = Path(__file__).parents[2] / "dags"


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

    def recorded() -> int:
        with create_session() as session:
            done = session.query(TaskInstance).filter_by(task_id="question.record", state="success")
            return int(done.count())

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
        while recorded() < 3 and time.monotonic() < deadline:  # a task cleared while it runs would never end
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
