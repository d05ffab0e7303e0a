"""Lag of a consumer group, and waiting for it, against a real Kafka node."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.hooks.kafka import KafkaSliceHook
from madhatter_provider.sensors.kafka import KafkaConsumerLagSensor
from madhatter_provider.triggers.kafka_lag import KafkaLagTrigger

pytestmark = pytest.mark.integration


@pytest.fixture
def topic_name(kafka_broker: str, topic: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A topic with 10 messages in partition 0 and 4 in partition 1, and the connection to it."""
    connection = {"conn_type": "kafka", "extra": {"bootstrap.servers": kafka_broker}}
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(connection))
    name = str(topic(2))
    producer = Producer({"bootstrap.servers": kafka_broker})
    for partition, n in {0: 10, 1: 4}.items():
        for _ in range(n):
            producer.produce(name, b"x", partition=partition)
    producer.flush()
    return name


def read(name: str, position: dict[int, int]) -> str:
    """A group that has read so far."""
    group = f"group-{name}"
    KafkaSliceHook().mirror_position(group, name, "id", position)
    return group


def sensor(name: str, group: str, **options: Any) -> KafkaConsumerLagSensor:
    return KafkaConsumerLagSensor(task_id="wait", topic=name, group_id=group, poke_interval=0.1, **options)


def test_what_was_never_read_counts_from_the_log_start(topic_name: str, kafka_broker: str) -> None:
    hook = KafkaSliceHook()
    assert hook.lag("nobody", topic_name) == {0: 10, 1: 4}
    assert hook.lag(read(topic_name, {0: 7}), topic_name) == {0: 3, 1: 4}
    admin = AdminClient({"bootstrap.servers": kafka_broker})
    next(iter(admin.delete_records([TopicPartition(topic_name, 1, 3)]).values())).result()
    assert hook.lag(read(topic_name, {0: 10}), topic_name) == {0: 0, 1: 1}


def test_the_sensor_waits_in_the_worker_or_deferred(topic_name: str) -> None:
    group = read(topic_name, {0: 10, 1: 3})
    assert sensor(topic_name, group, max_lag=1).poke({})
    assert not sensor(topic_name, group).poke({})
    with pytest.raises(TaskDeferred) as deferred:
        sensor(topic_name, group, deferrable=True).execute({})
    trigger = deferred.value.trigger
    assert isinstance(trigger, KafkaLagTrigger)
    assert trigger.serialize()[1]["group_id"] == group
    sensor(topic_name, group, deferrable=True, max_lag=1).execute({})


@pytest.mark.asyncio
async def test_the_trigger_fires_when_the_group_has_caught_up(topic_name: str) -> None:
    group = read(topic_name, {0: 10, 1: 3})
    events: Any = KafkaLagTrigger(topic_name, group, 0, "kafka_default", 0.05).run()
    waiting = asyncio.create_task(anext(events))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await asyncio.to_thread(read, topic_name, {0: 10, 1: 4})
    assert (await asyncio.wait_for(waiting, 10)).payload == {"lag": 0}


def test_a_negative_lag_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="max_lag=-1"):
        sensor("t", "g", max_lag=-1)
