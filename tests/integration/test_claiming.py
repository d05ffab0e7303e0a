"""The claim against a real Kafka node: what a topic can do under it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from madhatter_provider.core.errors import LostRangeError, StateLostError
from madhatter_provider.core.runs.claiming import Claiming, ClaimingRun
from madhatter_provider.core.slices.claim_options import ClaimOptions
from madhatter_provider.core.slices.claims import Claim
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.hooks.kafka import KafkaSliceHook
from madhatter_provider.testing.kafka import RunningKafka, unique_topic
from madhatter_provider.testing.secure_kafka import SecureKafka

pytestmark = pytest.mark.integration
Ranges = list[tuple[int, int, int]]


class StateStore:
    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any) -> None:
        self.values[key] = json.dumps(value)


class Reader:
    """A DAG without Airflow that claims from one topic."""

    def __init__(self, topic: str, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        connection = {"conn_type": "kafka", "extra": config}
        monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(connection))
        self.topic, self.asset, self.hook, self.runs = topic, StateStore(), KafkaSliceHook(), 0
        self.config, self.ran_before = config, False

    def claim(self, **options: Any) -> Claim:
        self.runs += 1
        run = ClaimingRun(f"read_{self.topic}", f"r{self.runs}", False, None, lambda: self.ran_before)
        owner = Claiming(ClaimOptions(topic=self.topic, **options), run, self.hook, self.asset, StateStore())
        return owner.claim()

    def ranges(self, **options: Any) -> Ranges:
        return [(r.partition, r.start, r.end) for r in self.claim(**options).slice]

    def send(self, n: int, partition: int = 0, size: int = 10) -> None:
        producer = Producer(self.config)
        for _ in range(n):
            producer.produce(self.topic, b"x" * size, partition=partition)
        assert producer.flush(30) == 0


@pytest.fixture
def reader(kafka_broker: str, topic: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Reader]:
    return lambda partitions: Reader(topic(partitions), {"bootstrap.servers": kafka_broker}, monkeypatch)


def test_partitions_that_are_added_are_read_from_their_first_message(
    reader: Callable[[int], Reader],
) -> None:
    dag = reader(1)
    dag.send(3)
    assert dag.ranges(start="latest") == []
    admin = AdminClient(dag.config)
    next(iter(admin.create_partitions([NewPartitions(dag.topic, 2)]).values())).result()
    dag.send(2, partition=1)
    assert dag.ranges(start="latest") == [(1, 0, 2)]


def test_a_topic_created_again_is_read_from_its_first_message(
    reader: Callable[[int], Reader], madhatter_kafka: RunningKafka
) -> None:
    dag = reader(1)
    dag.send(3)
    dag.claim()
    madhatter_kafka.delete_topic(dag.topic)
    madhatter_kafka.create_topic(dag.topic, 1)
    dag.send(2)
    assert dag.ranges(start="latest") == [(0, 0, 2)]
    madhatter_kafka.delete_topic(dag.topic)  # and with it, what the mirror group had committed
    madhatter_kafka.create_topic(dag.topic, 1)
    dag.send(2)
    dag.asset.values.clear()
    dag.ran_before = True
    with pytest.raises(StateLostError, match="succeeded before"):
        dag.claim(start="latest")
    assert dag.ranges(on_state_lost="start") == [(0, 0, 2)]


def test_retention_and_a_lost_state_together(reader: Callable[[int], Reader]) -> None:
    dag = reader(1)
    dag.send(3)
    dag.claim()
    dag.asset.values.clear()
    dag.send(7)
    admin = AdminClient(dag.config)
    next(iter(admin.delete_records([TopicPartition(dag.topic, 0, 6)]).values())).result()
    claim = dag.claim()
    assert [(r.start, r.end) for r in claim.lost] == [(3, 6)]
    assert [(r.start, r.end) for r in claim.slice] == [(6, 10)]


def test_caps_by_bytes_follow_the_messages_real_size(reader: Callable[[int], Reader]) -> None:
    dag = reader(3)
    dag.send(300, partition=0, size=100)
    dag.send(300, partition=1, size=1_000)
    first = dag.ranges(max_bytes=120_000)
    assert first == [(0, 0, 300), (1, 0, 90)]
    assert dag.ranges(max_bytes=10) == [(1, 90, 91)]
    dag.send(1, partition=2, size=900_000)
    bounds = dag.hook.bounds(dag.topic)
    rest = Slice(dag.topic, bounds.topic_id, (OffsetRange(1, 91, 300), OffsetRange(2, 0, 1)))
    sizes = dag.hook.bytes_per_offset(rest)
    assert (round(sizes[1]), round(sizes[2])) == (1_000, 900_000)


def test_a_log_that_lost_its_end_is_said_once(
    start_kafka: Callable[[], RunningKafka], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node whose disk was replaced: the topic is the same, its messages are gone."""
    node = start_kafka()
    dag = Reader(unique_topic(node, 1), {"bootstrap.servers": node.bootstrap_servers}, monkeypatch)
    dag.send(5)
    assert dag.ranges() == [(0, 0, 5)]
    node.stop()
    (log,) = Path(node.node.folder).rglob(f"{dag.topic}-0")
    for segment in log.iterdir():
        if segment.name != "partition.metadata":
            shutil.rmtree(segment) if segment.is_dir() else segment.unlink()
    node.start()
    dag.hook = KafkaSliceHook()
    dag.send(2)
    with pytest.raises(LostRangeError, match=r"0:\[2, 5\) will be given to other messages"):
        dag.claim()
    dag.send(4)
    assert dag.ranges() == [(0, 5, 6)]
    node.stop(grace=0)


def test_without_access_to_the_group_runs_go_on_and_a_lost_position_is_not_guessed(
    secure_kafka: SecureKafka, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    topic = unique_topic(secure_kafka, 1)
    secure_kafka.send(topic, [b"x"] * 3)
    secure_kafka.allow("READ", topic=topic)
    dag = Reader(topic, secure_kafka.client_config(), monkeypatch)
    assert dag.ranges() == [(0, 0, 3)]
    assert f"not mirrored to the group madhatter.read_{topic}" in caplog.text
    assert "Grant READ on the consumer group" in caplog.text
    dag.asset.values.clear()
    dag.ran_before = True
    with pytest.raises(StateLostError, match=r"neither the group .* nor a ledger"):
        dag.claim()
