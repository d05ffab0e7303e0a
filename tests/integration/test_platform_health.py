"""The pipeline's own checks, and people who are told: each change once, if need be later."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from madhatter_provider.core.contracts.contract import Contract, load_contract
from madhatter_provider.core.operations import outbox
from madhatter_provider.core.operations.job_watermark import JobWatermark, record_watermarks
from madhatter_provider.core.operations.settings import change_settings
from madhatter_provider.core.operations.topic_ends import TopicEnd, record_ends
from madhatter_provider.core.warehouse.ledger import LedgerRow, record
from madhatter_provider.core.warehouse.sql import script
from madhatter_provider.testing.snowflake import RunningSnowflake

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

pytestmark = pytest.mark.integration
DAGS = Path(__file__).parents[2] / "dags"
CLICKS = load_contract(Path(__file__).parents[2] / "include/contracts/clicks.odcs.yaml")


def objectives(contract: Contract) -> list[str]:
    """What ``madhatter sql apply`` writes of a contract's promises."""
    statements = script(None, {contract.stream: contract}, landing_root="file:///landing")
    return [s.text for s in statements if s.file == "45_health/02_objectives.sql"]


@pytest.fixture
def stream(snowflake: RunningSnowflake) -> Iterator[str]:
    """A stream of this test's own; its rows go with the test."""
    name = f"health_{uuid.uuid4().hex[:8]}"
    yield name
    sql = snowflake.client()
    for table in ("OPS.SLICES", "OPS.TOPIC_ENDS", "OPS.STREAM_OBJECTIVES"):
        sql.execute(f"DELETE FROM {table} WHERE STREAM = ?", [name])
    for table in ("OPS.HEALTH", "OPS.HEALTH_CHANGES"):
        sql.execute(f"DELETE FROM {table} WHERE SUBJECT = ?", [name])


def measured(sql: Any, subject: str) -> dict[str, float]:
    rows = sql.execute(
        "SELECT CHECK_NAME, MEASURED FROM OPS.PLATFORM_MEASUREMENTS WHERE SUBJECT = ?", [subject]
    )
    return {r["CHECK_NAME"]: r["MEASURED"] for r in rows}


def ledger_row(stream: str, start: int, end: int, state: str = "loaded", **facts: Any) -> LedgerRow:
    return LedgerRow(
        stream=stream, topic_id="t1", partition_id=0, start_offset=start, end_offset=end, state=state, **facts
    )


class TestMeasurements:
    def test_a_ledger_in_order_measures_nothing(self, snowflake: RunningSnowflake, stream: str) -> None:
        sql = snowflake.client()
        rows = [ledger_row(stream, i * 100, (i + 1) * 100, rows_loaded=100) for i in range(3)]
        sql.execute(*record(rows))
        sql.execute(*record_ends([TopicEnd(stream, "t1", 0, 300)]))
        found = measured(sql, stream)
        assert found.pop("broker") < 60
        assert set(found.values()) == {0}
        assert set(found) == {
            "slice_lag", "freshness", "unfinished_slices", "ledger_gaps", "ledger_overlaps", "lost_ranges",
            "quarantine_rate", "failed_gates",
        }  # fmt: skip

    def test_what_is_wrong_in_the_ledger_is_measured(self, snowflake: RunningSnowflake, stream: str) -> None:
        sql = snowflake.client()
        long_ago = datetime.now(UTC) - timedelta(hours=2)
        sql.execute(
            *record(
                [
                    ledger_row(stream, 0, 100, rows_loaded=180, rows_quarantined=20, gate="fail"),
                    ledger_row(stream, 90, 200, rows_loaded=0),
                    ledger_row(stream, 200, 210, "lost"),
                    ledger_row(stream, 250, 300, "claimed", claimed_at=long_ago),
                ]
            )
        )
        found = measured(sql, stream)
        assert found["unfinished_slices"] == pytest.approx(7200, abs=120)
        counts = ("ledger_gaps", "ledger_overlaps", "lost_ranges", "quarantine_rate", "failed_gates")
        assert [found[c] for c in counts] == [40, 1, 1, 10, 1]

    def test_waiting_is_counted_from_when_the_message_came(
        self, snowflake: RunningSnowflake, stream: str
    ) -> None:
        """Not from the last claim: a stream that was quiet for an hour is not an hour behind."""
        sql = snowflake.client()
        sql.execute(*record([ledger_row(stream, 0, 100), ledger_row(stream, 100, 120, "claimed")]))
        for end in (100, 120, 150):
            sql.execute(*record_ends([TopicEnd(stream, "t1", 0, end)]))
        for end, minutes in ((100, 60), (120, 10), (150, 5)):
            sql.execute(
                "UPDATE OPS.TOPIC_ENDS SET FIRST_SEEN_AT = ? WHERE STREAM = ? AND END_OFFSET = ?",
                [datetime.now(UTC) - timedelta(minutes=minutes), stream, end],
            )
        found = measured(sql, stream)
        assert found["slice_lag"] == pytest.approx(300, abs=30)
        assert found["freshness"] == pytest.approx(600 / 180, abs=0.2)
        (waiting,) = sql.execute("SELECT * FROM OPS.WAITING_MESSAGES WHERE STREAM = ?", [stream])
        assert (waiting["UNCLAIMED"], waiting["NOT_LOADED"]) == (30, 50)
        # The topic was deleted and made again: the old epoch's offsets say nothing.
        sql.execute(*record_ends([TopicEnd(stream, "t2", 0, 0)]))
        assert measured(sql, stream)["freshness"] == 0

    def test_a_stream_must_be_as_fresh_as_its_contract_promises(
        self, snowflake: RunningSnowflake, stream: str
    ) -> None:
        """A setting of the stream overrides it; what promises nothing has the general setting."""
        sql = snowflake.client()

        def allowed() -> float:
            rows = sql.execute(
                "SELECT EXPECTED FROM OPS.PLATFORM_MEASUREMENTS "
                "WHERE CHECK_NAME = 'freshness' AND SUBJECT = ?",
                [stream],
            )
            return float(rows[0]["EXPECTED"])

        sql.execute(*record_ends([TopicEnd(stream, "t1", 0, 10)]))
        sql.execute(
            "UPDATE OPS.TOPIC_ENDS SET FIRST_SEEN_AT = DATEADD('second', -90, LAST_SEEN_AT) WHERE STREAM = ?",
            [stream],
        )
        assert allowed() == 180
        promise = dataclasses.replace(CLICKS, stream=stream, freshness_seconds=60.0)
        for statement in objectives(promise):
            sql.execute(statement)
        assert allowed() == 60
        (row,) = sql.execute(
            "SELECT * FROM OPS.PLATFORM_MEASUREMENTS WHERE CHECK_NAME = 'freshness' AND SUBJECT = ?", [stream]
        )
        assert (row["MEASURED"], row["OBSERVED"]) == (1.5, 90)
        assert row["DETAIL"] == "10 messages are not in the table yet, the oldest for 90 s; allowed: 60 s"
        sql.execute(change_settings({f"streams.freshness_seconds.{stream}": 30}))
        assert allowed() == 30
        sql.execute("DELETE FROM OPS.SETTINGS WHERE NAME = ?", [f"streams.freshness_seconds.{stream}"])
        for statement in objectives(dataclasses.replace(promise, freshness_seconds=None)):
            sql.execute(statement)
        assert allowed() == 180
        (unknown,) = sql.execute(
            "SELECT MEASURED FROM OPS.PLATFORM_MEASUREMENTS WHERE CHECK_NAME = 'unknown_settings'"
        )
        assert unknown["MEASURED"] == 0

    def test_a_job_says_how_far_it_is_and_else_the_ledger_does(
        self, snowflake: RunningSnowflake, stream: str
    ) -> None:
        sql = snowflake.client()

        def job(name: str) -> list[tuple[float, str]]:
            rows = sql.execute(
                "SELECT MEASURED, DETAIL FROM OPS.PLATFORM_MEASUREMENTS "
                "WHERE CHECK_NAME = 'job_watermark' AND SUBJECT = ?",
                [name],
            )
            return [(r["MEASURED"], r["DETAIL"]) for r in rows]

        for name in (stream, "streaming-fraud"):
            behind = datetime.now(UTC) - timedelta(seconds=400)
            for _ in range(2):
                sql.execute(*record_watermarks([JobWatermark(name, "id", behind)]))
            ((seconds, detail),) = job(name)
            assert seconds == pytest.approx(400, abs=20)
            assert detail == f"by the job's own watermark it is {seconds:.0f} s behind"
        sql.execute(
            "UPDATE OPS.JOB_WATERMARKS SET SEEN_AT = DATEADD('second', -121, SEEN_AT) WHERE JOB IN (?, ?)",
            [stream, "streaming-fraud"],
        )
        assert job(stream) == []
        ((_, detail),) = job("streaming-fraud")
        assert detail is None or detail.startswith("the job does not tell its watermark; by the ledger")
        sql.execute("DELETE FROM OPS.JOB_WATERMARKS WHERE JOB IN (?, ?)", [stream, "streaming-fraud"])

    def test_a_setting_that_nothing_reads_is_named(self, snowflake: RunningSnowflake) -> None:
        sql = snowflake.client()
        sql.execute(change_settings({"freshnes.warning_enter": 5}))
        (found,) = sql.execute(
            "SELECT MEASURED, DETAIL FROM OPS.PLATFORM_MEASUREMENTS WHERE CHECK_NAME = 'unknown_settings'"
        )
        sql.execute("DELETE FROM OPS.SETTINGS WHERE NAME = 'freshnes.warning_enter'")
        assert (found["MEASURED"], "freshnes.warning_enter" in found["DETAIL"]) == (1, True)

    def test_a_setting_takes_effect(self, snowflake: RunningSnowflake) -> None:
        sql = snowflake.client()
        sql.execute(change_settings({"ledger_gaps.worse_after": 7}, "a test"))
        (check,) = sql.execute("SELECT * FROM OPS.CHECKS WHERE CHECK_NAME = 'ledger_gaps'")
        sql.execute("DELETE FROM OPS.SETTINGS WHERE NAME = 'ledger_gaps.worse_after'")
        assert check["WORSE_AFTER"] == 7


class Receiver:
    """A chat's webhook that answers what the test wants."""

    def __init__(self, server: HTTPServer) -> None:
        self.status, self.got = 200, list[dict[str, Any]]()
        server.expect_request("/hook", method="POST").respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        if self.status == 200:
            self.got.append(json.loads(request.data))
        return Response("", self.status)


@pytest.fixture
def receiver(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    """Behind the connection that the notifier uses."""
    connection = {"conn_type": "http", "host": httpserver.url_for("/hook")}
    monkeypatch.setenv("AIRFLOW_CONN_MADHATTER_NOTIFICATIONS", json.dumps(connection))
    return Receiver(httpserver)


def view_of(sql: Any, stream: str, value: float) -> str:
    """A view of measurements with one row, of now."""
    view = f"OPS.{stream.upper()}"
    sql.execute(
        f"CREATE OR REPLACE VIEW {view} AS SELECT 'failed_gates' AS CHECK_NAME, '{stream}' AS SUBJECT, "
        f"CURRENT_TIMESTAMP() AS AS_OF, {value} AS MEASURED, NULL::FLOAT AS OBSERVED, NULL::FLOAT AS "
        "EXPECTED, NULL::VARCHAR AS CATEGORY, NULL::VARCHAR AS LOCATION, 'it''s red' AS DETAIL"
    )
    return view


def test_people_are_told_once_and_later_if_nobody_answers(
    snowflake: RunningSnowflake, stream: str, receiver: Receiver, run_dag: Callable[..., DagRun]
) -> None:
    from airflow.sdk import DAG

    from madhatter_provider.notifications.health import HealthNotifier
    from madhatter_provider.operators.health import HealthCheckOperator

    sql = snowflake.client()
    sql.execute("UPDATE OPS.HEALTH_CHANGES SET SENT_AT = CURRENT_TIMESTAMP() WHERE SENT_AT IS NULL")

    def check(value: float, *, again: DagRun | None = None) -> DagRun:
        with DAG("health", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
            HealthCheckOperator(
                task_id="check",
                measurements=view_of(sql, stream, value),
                on_success_callback=HealthNotifier(guide="guide.md"),
            )
        return run_dag(dag, again=again)

    def outbox_row() -> dict[str, Any]:
        rows = sql.execute(
            "SELECT * FROM OPS.HEALTH_CHANGES WHERE SUBJECT = ? ORDER BY CHANGE_NUMBER DESC", [stream]
        )
        return dict(rows[0])

    receiver.status = 503
    run = check(2)
    waiting = outbox_row()
    assert (str(run.state), receiver.got) == ("success", [])
    assert (waiting["SENT_AT"], waiting["ATTEMPTS"]) == (None, 1)
    assert "503" in waiting["LAST_ERROR"]

    receiver.status = 200
    check(2, again=run)
    (told,) = receiver.got
    assert told["id"] == f"failed_gates/{stream}/1"
    assert told["text"] == f"WARNING: failed_gates of {stream} (was ok). it's red guide.md#failed_gates"
    assert (outbox_row()["ATTEMPTS"], outbox_row()["LAST_ERROR"]) == (2, None)

    check(0)
    assert [told["state"] for told in receiver.got] == ["warning", "ok"]
    (health,) = sql.execute("SELECT * FROM MARTS.PLATFORM_HEALTH WHERE SUBJECT = ?", [stream])
    assert (health["STATE"], health["CHECK_NAME"], health["LIMIT_VALUE"]) == ("ok", "failed_gates", 1)
    sql.execute(f"DROP VIEW {view_of(sql, stream, 0)}")


def test_two_senders_share_the_outbox(snowflake: RunningSnowflake, stream: str) -> None:
    sql = snowflake.client()
    insert = (
        "INSERT INTO OPS.HEALTH_CHANGES (CHECK_NAME, SUBJECT, CHANGE_NUMBER, FROM_STATE, TO_STATE, "
        "CHANGED_AT, RECORDED_AT, ATTEMPTS) SELECT 'broker', ?, ?, 'ok', 'critical', CURRENT_TIMESTAMP(), "
        "CURRENT_TIMESTAMP(), 0"
    )

    def mine(sender: str) -> list[int]:
        sql.execute(*outbox.take(sender))
        return [
            int(c["CHANGE_NUMBER"]) for c in sql.execute(*outbox.taken(sender, 10)) if c["SUBJECT"] == stream
        ]

    sql.execute(insert, [stream, 1])
    assert mine("first") == [1]
    sql.execute(insert, [stream, 2])
    assert mine("second") == [2]
    assert mine("third") == []
    # The first one died: after a while its change is free.
    sql.execute(
        "UPDATE OPS.HEALTH_CHANGES SET TAKEN_AT = ? WHERE TAKEN_BY = 'first'",
        [datetime.now(UTC) - timedelta(seconds=outbox.TAKEN_SECONDS + 1)],
    )
    assert mine("fourth") == [1]
    sql.execute(*outbox.give_back("fourth"))
    assert mine("fifth") == [1]


def test_the_dags_run(
    snowflake: RunningSnowflake,
    kafka_broker: str,
    receiver: Receiver,
    run_dag: Callable[..., DagRun],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow.dag_processing.dagbag import BundleDagBag
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    connection = {"conn_type": "kafka", "extra": {"bootstrap.servers": kafka_broker}}
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(connection))
    # Of the streams' topics one is there, the others are left out.
    admin = AdminClient({"bootstrap.servers": kafka_broker})
    if "iot_telemetry" not in admin.list_topics(timeout=20).topics:
        admin.create_topics([NewTopic("iot_telemetry", 3, 1)])["iot_telemetry"].result(30)
    for dag_id in ("operations", "platform_health"):
        bag = BundleDagBag(str(DAGS / f"{dag_id}.py"), bundle_path=DAGS, bundle_name="dags")
        assert str(run_dag(bag.dags[dag_id]).state) == "success"
    states = snowflake.client().execute("SELECT * FROM OPS.HEALTH WHERE SUBJECT = 'iot_telemetry'")
    assert {s["CHECK_NAME"] for s in states} >= {"slice_lag", "freshness", "broker"}
    assert {s["DAG_ID"] for s in states} == {"platform_health"}


class TestMarts:
    def test_every_mart_says_how_fresh_it_is(self, snowflake: RunningSnowflake) -> None:
        sql = snowflake.client()
        marts = sql.execute(
            "SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'MARTS' "
            "UNION SELECT TABLE_NAME FROM INFORMATION_SCHEMA.VIEWS WHERE TABLE_SCHEMA = 'MARTS'"
        )
        fresh = sql.execute("SELECT * FROM MARTS.MART_FRESHNESS")
        assert {f["MART"] for f in fresh} == {m["TABLE_NAME"] for m in marts} - {"MART_FRESHNESS"}
        assert len({f["MART"] for f in fresh}) == len(fresh)

    def test_quality_is_counted_by_stream_and_hour(self, snowflake: RunningSnowflake, stream: str) -> None:
        sql = snowflake.client()
        hour = datetime(2026, 11, 24, 6, tzinfo=UTC)
        sql.execute(
            *record(
                [
                    ledger_row(stream, 0, 100, rows_loaded=90, rows_quarantined=10, gate="pass",
                               deep_gate="warn", loaded_at=hour + timedelta(minutes=5)),
                    ledger_row(stream, 100, 200, rows_loaded=100, rows_quarantined=0, gate="fail",
                               loaded_at=hour + timedelta(minutes=55)),
                    ledger_row(stream, 200, 300, rows_loaded=100, rows_quarantined=0, gate="pass",
                               loaded_at=hour + timedelta(minutes=65)),
                ]
            )
        )  # fmt: skip
        first, second = sql.execute(
            "SELECT * FROM MARTS.DATA_QUALITY WHERE STREAM = ? ORDER BY HOUR", [stream]
        )
        names = ("ROWS_LOADED", "ROWS_QUARANTINED", "QUARANTINED_PERCENT", "GATES_PASSED", "GATES_FAILED")
        assert first["HOUR"] == hour
        assert [first[n] for n in names] == [190, 10, 5, 2, 1]
        assert [second[n] for n in names] == [100, 0, 0, 1, 0]
