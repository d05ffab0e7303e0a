"""The whole slice protocol in one task, against real Kafka and the local Snowflake."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from madhatter_provider.core.errors import GateFailed, LostRangeError, MadHatterError, SnowflakeUnavailable
from madhatter_provider.hooks.kafka_progress import WatermarkReader
from madhatter_provider.hooks.snowpipe import SnowpipeRest
from madhatter_provider.local.oracle import StreamVerdict, judge_stream, quarantine_reasons
from madhatter_provider.transfers.kafka_to_snowflake import KafkaToSnowflakeOperator

pytestmark = pytest.mark.integration
CONTRACT = Path(__file__).parents[2] / "include/contracts/searches.odcs.yaml"


class StateStore(dict[str, Any]):
    """An asset's state store: JSON goes in, JSON comes out."""

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self[key]) if key in self else default

    def set(self, key: str, value: Any, **_: Any) -> None:
        self[key] = json.dumps(value)


class Stream:
    """A topic and a DAG that lands it, task by task, without a scheduler."""

    def __init__(self, broker: str, topic: str, snowflake: Any, make_row: Callable[..., bytes]) -> None:
        self.broker, self.topic, self.snowflake, self._make_row = broker, topic, snowflake, make_row
        self.asset = Asset(f"topic_{topic}")
        self.state = StateStore()
        self.sql = snowflake.client()
        self._sent = 0

    def send(self, n: int, bad_every: int = 20) -> None:
        producer = Producer({"bootstrap.servers": self.broker})
        for _ in range(n):
            bad = self._sent % bad_every == bad_every - 1
            value = b"oops" if bad else self._make_row(self._sent)
            producer.produce(self.topic, value, partition=self._sent % 2)
            self._sent += 1
        producer.flush()

    def send_to(self, partition: int, values: Iterable[bytes]) -> None:
        producer = Producer({"bootstrap.servers": self.broker})
        for value in values:
            producer.produce(self.topic, value, partition=partition)
        producer.flush()

    def run(self, run_id: str, try_number: int = 1, **options: Any) -> Any:
        task = KafkaToSnowflakeOperator(
            task_id="land",
            topic=self.topic,
            asset=self.asset,
            contract=str(CONTRACT),
            landing_root=self.snowflake.landing_root,
            poll_seconds=0.1,
            **options,
        )
        context: Any = {
            "dag": SimpleNamespace(dag_id=f"land_{self.topic}"),
            "run_id": run_id,
            "ti": SimpleNamespace(try_number=try_number, get_ti_count=lambda **_: 0),
            "dag_run": SimpleNamespace(run_type="manual", run_after=None),
            "task": task,
            "asset_state_store": {self.asset: self.state},
            "task_state_store": StateStore(),
        }
        return task.execute(context)

    def verdict(self) -> StreamVerdict:
        return judge_stream(self.broker, self.sql, self.topic, "RAW.SEARCHES")

    def ledger(self) -> list[tuple[Any, ...]]:
        rows = self.sql.execute(
            "SELECT PARTITION_ID, START_OFFSET, END_OFFSET, STATE, GATE, ROWS_LOADED, ROWS_QUARANTINED "
            "FROM OPS.SLICES WHERE DAG_ID = ? ORDER BY PARTITION_ID, START_OFFSET",
            [f"land_{self.topic}"],
        )
        return [tuple(r.values()) for r in rows]


@pytest.fixture
def stream(
    kafka_broker: str, topic: Any, snowflake: Any, search_row: Any, monkeypatch: pytest.MonkeyPatch
) -> Stream:
    connection = {"conn_type": "kafka", "extra": {"bootstrap.servers": kafka_broker}}
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(connection))
    return Stream(kafka_broker, topic(2), snowflake, search_row)


def test_runs_tile_the_topic_and_the_ledger_says_so(stream: Stream) -> None:
    stream.send(40)
    result = stream.run("r1")
    assert (result["row_count"], result["quarantined"], result["decision"]) == (38, 2, "pass")
    stream.send(20)
    stream.run("r2")
    assert stream.verdict().ok
    assert stream.ledger() == [
        (0, 0, 20, "loaded", "pass", 20, 0),
        (0, 20, 30, "loaded", "pass", 10, 0),
        (1, 0, 20, "loaded", "pass", 18, 2),
        (1, 20, 30, "loaded", "pass", 9, 1),
    ]
    with pytest.raises(AirflowSkipException):
        stream.run("r3")


def test_a_run_cleared_after_its_claim_left_the_state_reads_its_slice_again(stream: Stream) -> None:
    stream.send(20)
    stream.run("r1")
    stream.send(10)
    stream.state.clear()  # Airflow deletes it with the DAG
    assert stream.run("r1", try_number=2)["slice"]["ranges"] == [[0, 0, 10], [1, 0, 10]]
    assert stream.run("r2")["slice"]["ranges"] == [[0, 10, 15], [1, 10, 15]]
    assert stream.verdict().ok


def test_a_slice_that_breaks_its_contract_is_loaded_but_held_back(stream: Stream) -> None:
    stream.send(20, bad_every=2)
    with pytest.raises(GateFailed, match="quarantined: 50%"):
        stream.run("r1")
    assert stream.verdict().ok
    assert {row[4] for row in stream.ledger()} == {"fail"}
    stream.send(20)
    assert stream.run("r2")["decision"] == "pass"


POISON = {"one": {7}, "all": set(range(20)), "alternating": set(range(0, 20, 2))}


@pytest.mark.parametrize("bad", POISON.values(), ids=POISON)
def test_poison_in_one_partition_is_quarantined_alone(stream: Stream, bad: set[int], search_row: Any) -> None:
    stream.send_to(0, [b"oops" if i in bad else search_row(i) for i in range(20)])
    allowed = len(bad) == 1
    with nullcontext() if allowed else pytest.raises(GateFailed, match=f"quarantined: {5 * len(bad)}%"):
        stream.run("r1")
    stream.send_to(0, [search_row(20)])
    stream.run("r2")
    verdict = stream.verdict()
    assert verdict.ok, verdict
    assert (verdict.loaded, verdict.quarantined) == (21 - len(bad), len(bad))
    assert quarantine_reasons(stream.sql, stream.topic) == {(0, o): "malformed_json" for o in bad}


def test_a_future_event_is_good_and_moves_no_watermark_past_now(stream: Stream, search_row: Any) -> None:
    for partition in (0, 1):
        stream.send_to(partition, [search_row(1), search_row(2, event_time="2100-01-01T00:00:00Z")])
    before = time.time()
    assert stream.run("r1")["row_count"] == 4
    assert stream.verdict().ok
    rows = stream.sql.execute("SELECT MAX_EVENT_TIME AS T FROM OPS.SLICES WHERE TOPIC = ?", [stream.topic])
    assert [row["T"] for row in rows] == [datetime(2100, 1, 1, tzinfo=UTC)] * 2
    reader = WatermarkReader(
        stream.topic, "kafka_default", idle_after=None, stream="searches",
        snowflake_conn_id="snowflake_default",
    )  # fmt: skip
    assert before < (reader.read() or 0) < time.time()


def test_what_retention_deleted_is_said_once_and_the_rest_is_loaded(
    stream: Stream, kafka_broker: str
) -> None:
    stream.send(20)
    stream.run("r1")
    stream.send(20)
    admin = AdminClient({"bootstrap.servers": kafka_broker})
    next(iter(admin.delete_records([TopicPartition(stream.topic, 0, 14)]).values())).result()
    with pytest.raises(LostRangeError, match="4 offsets were deleted"):
        stream.run("r2")
    assert (0, 10, 14, "lost") in {row[:4] for row in stream.ledger()}
    assert (0, 14, 20, "loaded") in {row[:4] for row in stream.ledger()}
    stream.send(10)
    assert stream.run("r3")["decision"] == "pass"


def test_a_slow_load_defers_and_goes_on_where_it_was(stream: Stream) -> None:
    stream.send(20)
    stream.snowflake.fault("/insertFiles", "latency", seconds=1.5)
    stream.sql.execute("ALTER PIPE RAW.SEARCHES_PIPE SET PIPE_EXECUTION_PAUSED = TRUE")
    try:
        with pytest.raises(TaskDeferred) as deferred:
            stream.run("r1", defer_after=0.5)
    finally:
        stream.sql.execute("ALTER PIPE RAW.SEARCHES_PIPE SET PIPE_EXECUTION_PAUSED = FALSE")
    assert deferred.value.method_name == "resume"
    assert {row[3] for row in stream.ledger()} == {"landed"}
    stream.run("r1", try_number=2)
    assert stream.verdict().ok


def test_snowflake_away_is_transient_and_loses_nothing(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stream.send(20)
    original = SnowpipeRest.insert_files

    def away(*_: Any) -> None:
        raise SnowflakeUnavailable("no answer", where="test", remedy="wait")

    monkeypatch.setattr(SnowpipeRest, "insert_files", away)
    with caplog.at_level(logging.CRITICAL), pytest.raises(MadHatterError) as caught:
        stream.run("r1")
    assert caught.value.transient
    monkeypatch.setattr(SnowpipeRest, "insert_files", original)
    stream.run("r1", try_number=2)
    assert stream.verdict().ok


def test_caps_leave_the_remainder_to_the_next_run(stream: Stream) -> None:
    stream.send(40)
    sizes = []
    for i in range(5):
        try:
            result = stream.run(f"r{i}", max_messages=15)
        except AirflowSkipException:
            break
        sizes.append(result["row_count"] + result["quarantined"])
    assert sizes == [15, 15, 10]
    assert stream.verdict().ok


def test_a_contract_that_is_not_there_is_said(stream: Stream, tmp_path: Path) -> None:
    stream.send(2)
    missing = str(tmp_path / "none.odcs.yaml")
    task = KafkaToSnowflakeOperator(
        task_id="land", topic=stream.topic, asset=stream.asset, contract=missing, landing_root="file:///x"
    )
    with pytest.raises(MadHatterError, match="Cannot read the contract"):
        task.execute({})
