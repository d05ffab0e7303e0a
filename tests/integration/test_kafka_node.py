"""The local Kafka node is a real one: it keeps its data over kill -9."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

if TYPE_CHECKING:
    from tests.conftest import StartKafka

    from madhatter_provider.testing.kafka import MakeTopic

pytestmark = pytest.mark.integration


def _end_offset(servers: str, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "test"})
    try:
        _, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=20)
        return int(high)
    finally:
        consumer.close()


def _send(servers: str, topic: str, count: int) -> None:
    producer = Producer({"bootstrap.servers": servers, "acks": "all"})
    for number in range(count):
        producer.produce(topic, b"%d" % number, key=b"%d" % number, partition=0)
    assert producer.flush(20) == 0


def test_topic_can_be_written_at_once(kafka_broker: str, topic: MakeTopic) -> None:
    name = topic(2, config={"cleanup.policy": "compact"})
    _send(kafka_broker, name, 10)
    assert _end_offset(kafka_broker, name) == 10


def test_data_and_port_survive_kill(start_kafka: StartKafka) -> None:
    kafka = start_kafka()
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result(timeout=20)
    _send(kafka.bootstrap_servers, "kept", 100)
    kafka.stop(grace=0)
    assert not kafka.node.ready()
    began = time.monotonic()
    kafka.start()
    print(f"ready again after {time.monotonic() - began:.1f} s")
    assert _end_offset(kafka.bootstrap_servers, "kept") == 100


def test_dag_runs(run_dag: Callable[..., object]) -> None:
    from airflow.sdk import DAG, task

    with DAG("answer", schedule=None) as dag:

        @task
        def answer() -> int:
            return 42

        answer()
    assert run_dag(dag).state == "success"  # type: ignore[attr-defined]
