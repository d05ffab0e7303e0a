"""``@task.kafka_slice`` inside Airflow against a real Kafka node."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from airflow.sdk import DAG, Asset, task
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from madhatter_provider.core.slices.claim_json import read_claim
from madhatter_provider.core.slices.offsets import OffsetRange
from madhatter_provider.decorators.kafka_slice import kafka_slice_task

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
CONTRACT = ROOT / "include/contracts/searches.odcs.yaml"
PAGE = ROOT / "docs/how-to/kafka-slice-decorator.md"
RunDag = Callable[..., "DagRun"]


@pytest.fixture
def broker(kafka_broker: str, monkeypatch: pytest.MonkeyPatch) -> str:
    connection = {"conn_type": "kafka", "extra": {"bootstrap.servers": kafka_broker}}
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(connection))
    return kafka_broker


def send(broker: str, topic: str, values: list[bytes | None], key: bytes | None = None) -> None:
    producer = Producer({"bootstrap.servers": broker})
    for value in values:
        producer.produce(topic, value, key, partition=0, headers=[("h", b"v")])
    producer.flush()


def outcome(run: DagRun) -> tuple[str, Any]:
    (ti,) = run.get_task_instances()
    return str(ti.state), ti.xcom_pull(ti.task_id)


def made(topic: str, function: Callable[..., Any], **options: Any) -> DAG:
    asset = Asset(f"topic_{topic}")
    with DAG(f"read_{topic}", schedule=[asset], start_date=datetime(2026, 1, 1)) as dag:
        kafka_slice_task(topic=topic, asset=asset, **options)(function)()
    return dag


def said(capfd: pytest.CaptureFixture[str]) -> str:
    return " ".join("".join(capfd.readouterr()).split())


def test_the_documented_example_runs(
    broker: str, topic: Any, run_dag: RunDag, search_row: Callable[..., bytes], tmp_path: Path
) -> None:
    example = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert example is not None
    lines = [line for line in example[1].splitlines() if line.strip()]
    assert len(lines) < 15
    name = topic(1)
    code = example[1].replace('"searches"', f'"{name}"').replace("searches.odcs.yaml", str(CONTRACT))
    file = tmp_path / "count_searches.py"
    file.write_text(code)
    send(broker, name, [search_row(i) for i in range(7)])
    assert outcome(run_dag(runpy.run_path(str(file))["dag"])) == ("success", 7)


def columns_of(batches: Iterator[pa.RecordBatch], run_id: str) -> list[Any]:
    table = pa.Table.from_batches(list(batches))
    return [run_id[:6], table.schema.names, table.drop_columns(["_topic_id", "_timestamp"]).to_pylist()]


def test_without_a_contract_values_are_bytes(broker: str, topic: Any, run_dag: RunDag) -> None:
    def rows(batches: Iterator[pa.RecordBatch], run_id: str) -> list[Any]:
        run, names, found = columns_of(batches, run_id)
        return [run, names, [{**row, "value": (row["value"] or b"-").decode()} for row in found]]

    name = topic(1)
    send(broker, name, [b"x", None], b"k")
    state, result = outcome(run_dag(made(name, rows)))
    headers = json.dumps([["h", "v"]])
    assert state == "success"
    assert result == [
        "manual",
        ["value", "_topic_id", "_partition", "_offset", "_timestamp", "_key", "_headers"],
        [
            {"value": "x", "_partition": 0, "_offset": 0, "_key": "k", "_headers": headers},
            {"value": "-", "_partition": 0, "_offset": 1, "_key": "k", "_headers": headers},
        ],
    ]


def test_a_retry_reads_the_same_and_nothing_pending_skips(broker: str, topic: Any, run_dag: RunDag) -> None:
    read: list[int] = []

    def fails_first(batches: Iterator[pa.RecordBatch]) -> int:
        read.append(sum(batch.num_rows for batch in batches))
        if len(read) == 1:
            raise RuntimeError("the function's own mistake")
        return read[-1]

    name = topic(1)
    dag = made(name, fails_first)
    send(broker, name, [b"x"] * 3)
    failed = run_dag(dag)
    assert outcome(failed)[0] == "failed"
    send(broker, name, [b"y"] * 2)
    assert outcome(run_dag(dag, again=failed)) == ("success", 3)
    assert outcome(run_dag(dag)) == ("success", 2)
    assert outcome(run_dag(dag))[0] == "skipped"


def test_what_a_task_remembers_outlives_clearing(broker: str, topic: Any, run_dag: RunDag) -> None:
    """So a run that is cleared when its claim has long left the record gets its slice again."""
    from airflow.models.task_state_store import TaskStateStoreModel
    from airflow.models.taskinstance import clear_task_instances
    from airflow.utils.session import create_session
    from sqlalchemy import select

    def count(batches: Iterator[pa.RecordBatch]) -> int:
        return sum(batch.num_rows for batch in batches)

    name = topic(1)
    send(broker, name, [b"x"] * 3)
    run = run_dag(made(name, count))
    with create_session() as session:
        clear_task_instances(run.get_task_instances(session=session), session)
        session.commit()
        (kept,) = session.scalars(select(TaskStateStoreModel).where(TaskStateStoreModel.run_id == run.run_id))
        assert (kept.task_id, kept.key, kept.expires_at) == ("count", "madhatter_claim", None)
        assert list(read_claim(json.loads(kept.value)).slice) == [OffsetRange(0, 0, 3)]


def test_what_is_left_unread_fails_the_task(
    broker: str, topic: Any, run_dag: RunDag, capfd: pytest.CaptureFixture[str]
) -> None:
    def looks_at_one(batches: Iterator[pa.RecordBatch]) -> int:
        return 0

    name = topic(1)
    send(broker, name, [b"x"] * 3)
    assert outcome(run_dag(made(name, looks_at_one)))[0] == "failed"
    assert "The function read 0 rows and left the rest of its slice unread" in said(capfd)


@pytest.mark.parametrize(("on_bad", "expected"), [("fail", ("failed", None)), ("skip", ("success", 3))])
def test_bad_messages(
    on_bad: Any,
    expected: tuple[str, Any],
    broker: str,
    topic: Any,
    run_dag: RunDag,
    search_row: Callable[..., bytes],
    capfd: pytest.CaptureFixture[str],
) -> None:
    def count(batches: Iterator[pa.RecordBatch]) -> int:
        return sum(batch.num_rows for batch in batches)

    name = topic(1)
    send(broker, name, [search_row(0), b"oops", search_row(1), search_row(2), None])
    assert outcome(run_dag(made(name, count, contract=str(CONTRACT), on_bad=on_bad))) == expected
    text = said(capfd)
    if on_bad == "fail":
        assert "2 of 5 messages are not what the contract says, among them 0:1 malformed_json" in text
        assert 'on_bad="skip"' in text


def test_a_loss_is_said_after_the_function_has_read_what_is_left(
    broker: str, topic: Any, run_dag: RunDag, capfd: pytest.CaptureFixture[str]
) -> None:
    read: list[int] = []

    def count(batches: Iterator[pa.RecordBatch]) -> int:
        read.append(sum(batch.num_rows for batch in batches))
        return read[-1]

    name = topic(1)
    dag = made(name, count)
    send(broker, name, [b"x"] * 2)
    assert outcome(run_dag(dag)) == ("success", 2)
    send(broker, name, [b"x"] * 6)  # offsets 2 to 7
    admin = AdminClient({"bootstrap.servers": broker})
    next(iter(admin.delete_records([TopicPartition(name, 0, 5)]).values())).result()
    assert outcome(run_dag(dag))[0] == "failed"
    assert "3 offsets were deleted by retention" in said(capfd)
    assert read == [2, 3]
    send(broker, name, [b"x"])
    assert outcome(run_dag(dag)) == ("success", 1)


def test_airflow_finds_the_decorator() -> None:
    decorator: Any = task
    assert decorator.kafka_slice.__module__ == "madhatter_provider.decorators.kafka_slice"
