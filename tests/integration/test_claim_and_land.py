"""Claim and land inside Airflow (``dag.test()``) against a real Kafka node."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.dataset as ds
import pytest
from airflow.sdk import DAG, Asset
from confluent_kafka import Consumer, Producer, TopicPartition

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.operators.kafka import KafkaClaimSliceOperator
from madhatter_provider.transfers.kafka_to_object_storage import KafkaToObjectStorageOperator

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
CONTRACT = ROOT / "include/contracts/searches.odcs.yaml"
PAGE = ROOT / "docs/how-to/claims.md"


class Stream:
    """A topic, and a DAG that claims and lands it."""

    def __init__(
        self, broker: str, topic: str, root: Path, run_dag: Callable[..., DagRun], row: Callable[..., bytes]
    ) -> None:
        self.broker, self.topic, self.root, self._run_dag, self._row = broker, topic, root, run_dag, row
        self._sent = 0
        self.dag = self._build()

    def _build(self) -> DAG:
        asset = Asset(f"topic_{self.topic}", uri=f"kafka://test/{self.topic}")
        with DAG(f"land_{self.topic}", schedule=[asset], start_date=datetime(2026, 1, 1)) as dag:
            claimed = KafkaClaimSliceOperator(task_id="claim", topic=self.topic, asset=asset, split=2)
            KafkaToObjectStorageOperator.partial(
                task_id="land", contract=str(CONTRACT), landing_root=f"file://{self.root}"
            ).expand(owned=claimed.output)
        return dag

    def send(self, n: int) -> None:
        producer = Producer({"bootstrap.servers": self.broker})
        for _ in range(n):
            bad = self._sent % 10 == 9
            producer.produce(self.topic, b"oops" if bad else self._row(self._sent), partition=self._sent % 2)
            self._sent += 1
        producer.flush()

    def run(self) -> DagRun:
        return self._run_dag(self.dag)

    def landed(self, folder: str) -> list[tuple[int, int]]:
        where = self.root / folder
        if not where.exists():
            return []
        table = ds.dataset(where, format="parquet").to_table(columns=["_partition", "_offset"])
        return sorted(zip(table["_partition"].to_pylist(), table["_offset"].to_pylist(), strict=True))


@pytest.fixture
def stream(
    kafka_broker: str,
    topic: Any,
    tmp_path: Path,
    run_dag: Callable[..., DagRun],
    search_row: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> Stream:
    connection = {"conn_type": "kafka", "extra": {"bootstrap.servers": kafka_broker}}
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(connection))
    return Stream(kafka_broker, topic(2), tmp_path, run_dag, search_row)


def states(run: DagRun) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for ti in run.get_task_instances():
        found.setdefault(ti.task_id, set()).add(str(ti.state))
    return found


def test_runs_tile_the_topic(stream: Stream) -> None:
    stream.send(40)
    assert states(stream.run()) == {"claim": {"success"}, "land": {"success"}}
    good, bad = stream.landed("searches"), stream.landed("quarantine/searches")
    assert len(good) == 36
    assert sorted(good + bad) == [(p, o) for p in range(2) for o in range(20)]


def test_nothing_new_skips(stream: Stream) -> None:
    assert states(stream.run()) == {"claim": {"skipped"}, "land": {"skipped"}}


def test_the_position_of_a_lost_state_comes_back_from_the_mirror(stream: Stream) -> None:
    stream.send(10)
    stream.run()  # each run of the fixture starts with an empty Airflow database: its state is lost
    stream.send(6)
    run = stream.run()
    claimed = run.get_task_instance("claim").xcom_pull("claim")  # type: ignore[union-attr]
    ranges = [tuple(r) for piece in claimed for r in piece["ranges"]]
    assert sorted(ranges) == [(0, 5, 8), (1, 5, 8)]


def test_the_mirror_shows_the_lag(stream: Stream, kafka_broker: str) -> None:
    stream.send(10)
    stream.run()
    consumer = Consumer({"bootstrap.servers": kafka_broker, "group.id": f"madhatter.land_{stream.topic}"})
    committed = consumer.committed([TopicPartition(stream.topic, p) for p in (0, 1)], timeout=30)
    consumer.close()
    assert {tp.partition: tp.offset for tp in committed} == {0: 5, 1: 5}


def test_the_documented_example_runs(stream: Stream, run_dag: Callable[..., DagRun], tmp_path: Path) -> None:
    stream.send(6)
    example = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert example is not None
    file = tmp_path / "claim_clicks.py"
    file.write_text(example[1].replace('"clicks"', f'"{stream.topic}"'))
    run: Any = run_dag(runpy.run_path(str(file))["dag"])
    (piece,) = run.get_task_instance("claim").xcom_pull("claim")
    assert piece["ranges"] == [[0, 1, 3], [1, 0, 3]]


def test_two_claiming_tasks_at_a_time_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="max_active_tis_per_dag=1"):
        KafkaClaimSliceOperator(task_id="claim", topic="t", asset=Asset("a"), max_active_tis_per_dag=3)


@pytest.mark.parametrize("start", ["soon", "2026-11-24T06:00:00"])
def test_a_start_that_means_nothing_is_refused_where_the_dag_is_parsed(start: str) -> None:
    with pytest.raises(ConfigurationError, match="start="):
        KafkaClaimSliceOperator(task_id="claim", topic="t", asset=Asset("a"), start=start)
