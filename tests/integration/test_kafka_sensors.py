"""Sensors and their triggers against a real Kafka node, and the ledger of the local Snowflake."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.bases.operator import TriggerFailureReason
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException, TaskDeferred
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from madhatter_provider.core.errors import BrokerError, ConfigurationError, TopicError
from madhatter_provider.core.slices.state import mirror_group
from madhatter_provider.core.warehouse.ledger import LedgerRow, record
from madhatter_provider.hooks.kafka import KafkaSliceHook
from madhatter_provider.hooks.kafka_progress import SliceLag, WatermarkReader, slice_lag
from madhatter_provider.sensors.kafka import (
    KafkaConsumerLagSensor,
    KafkaSliceLagSensor,
    KafkaWatermarkSensor,
)
from madhatter_provider.testing.snowflake import RunningSnowflake
from madhatter_provider.triggers.kafka_lag import (
    KafkaLagTrigger,
    KafkaSliceLagTrigger,
    KafkaWatermarkTrigger,
)

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


def first_event(trigger: Any) -> Any:
    """What a trigger tells its task."""

    async def first() -> Any:
        return (await anext(trigger.run())).payload

    return asyncio.run(first())


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


def test_a_topic_that_is_missing_fails_the_deferred_task_with_its_own_error(topic_name: str) -> None:
    trigger = KafkaSliceLagTrigger("missing", "land", 0, None, "kafka_default", 0.05)
    event = first_event(trigger)
    with pytest.raises(TopicError, match="does not exist"):
        sensor("missing", "g").finish({}, event)


def test_a_broker_that_is_away_is_waited_for(topic_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [BrokerError("away"), BrokerError("away"), {0: 0}]

    def lag(hook: KafkaSliceHook, group: str, topic: str) -> dict[int, int]:
        answer = answers.pop(0)
        if isinstance(answer, BrokerError):
            raise answer
        return dict(answer)

    monkeypatch.setattr(KafkaSliceHook, "lag", lag)
    monkeypatch.setattr("madhatter_provider.core.incident.FIRST_BACKOFF_SECONDS", 0.01)
    trigger = KafkaLagTrigger(topic_name, "g", 0, "kafka_default", 0.01)
    assert first_event(trigger) == {"lag": 0}
    assert not answers


def stamp(broker: str, name: str, partition: int, *ages: float) -> None:
    """Messages that are so many seconds old by Kafka's time stamps."""
    producer = Producer({"bootstrap.servers": broker})
    for age in ages:
        producer.produce(name, b"x", partition=partition, timestamp=int((time.time() - age) * 1000))
    producer.flush()


def test_slice_lag_counts_what_is_unclaimed_and_what_of_it_is_too_old(
    topic: Any, topic_name: str, kafka_broker: str
) -> None:
    name, hook = topic(2), KafkaSliceHook()
    stamp(kafka_broker, name, 0, 500, 400, 300, 0)
    stamp(kafka_broker, name, 1, 500)
    epoch, dag = hook.bounds(name).topic_id, f"land_{name}"
    assert slice_lag(hook, dag, name, None) == SliceLag(5, 0)
    assert slice_lag(hook, dag, name, 350) == SliceLag(5, 3)
    hook.mirror_position(mirror_group(dag), name, epoch, {0: 2, 1: 1})
    assert slice_lag(hook, dag, name, 350) == SliceLag(2, 0)

    def waits(**limits: Any) -> bool:
        options = {"topic": name, "landing_dag_id": dag, "max_age": timedelta(seconds=350), **limits}
        return not KafkaSliceLagSensor(task_id="wait", **options).poke({})

    assert waits(max_messages=1)
    assert not waits(max_messages=2)
    assert waits(max_messages=2, max_age=100.0)


def test_the_watermark_of_kafkas_time_stamps(topic: Any, topic_name: str, kafka_broker: str) -> None:
    name = topic(2)
    stamp(kafka_broker, name, 0, 60, 20, 40)
    reader = WatermarkReader(name, "kafka_default", idle_after=0.5)
    assert reader.read() is None, "partition 1 is empty"
    stamp(kafka_broker, name, 1, 30)
    assert reader.read() == pytest.approx(time.time() - 30, abs=5)
    time.sleep(0.6)
    stamp(kafka_broker, name, 0, 10)
    assert reader.read() == pytest.approx(time.time() - 10, abs=5), "partition 1 is idle"


def test_the_watermark_of_what_is_loaded(
    topic: Any, topic_name: str, kafka_broker: str, snowflake: RunningSnowflake
) -> None:
    name = topic(2)
    stamp(kafka_broker, name, 0, *[0] * 30)
    stamp(kafka_broker, name, 1, *[0] * 10)
    epoch = KafkaSliceHook().bounds(name).topic_id
    noon = datetime(2025, 11, 24, 12, tzinfo=UTC)

    def has(
        partition: int, start: int, end: int, state: str, minutes: int = 0, claimed: int | None = None
    ) -> None:
        row = LedgerRow(
            stream="readings", topic=name, topic_id=epoch, partition_id=partition, start_offset=start,
            end_offset=end, state=state, max_event_time=noon + timedelta(minutes=minutes),
            claimed_at=None if claimed is None else noon + timedelta(minutes=claimed),
        )  # fmt: skip
        snowflake.client().execute(*record([row]))

    def watermark() -> float | None:
        value = reader.read()
        return None if value is None else (value - noon.timestamp()) / 60

    reader = WatermarkReader(
        name, "kafka_default", idle_after=None, stream="readings", snowflake_conn_id="snowflake_default"
    )
    has(0, 0, 10, "loaded", 1)
    assert watermark() is None, "nothing of partition 1 is loaded"
    has(1, 0, 10, "loaded", 9)
    has(0, 10, 20, "claimed")
    has(0, 20, 30, "loaded", 5)
    assert watermark() == 1, "up to the first range that is not loaded"
    has(0, 10, 20, "loaded", 3)
    assert watermark() == 5
    has(0, 30, 40, "loaded", minutes=10**9, claimed=7)
    assert watermark() == 7, "an event of the year 3927 counts as of its claim"


def test_the_watermark_sensor_defers_to_its_trigger(topic_name: str) -> None:
    def made(**options: Any) -> KafkaWatermarkSensor:
        return KafkaWatermarkSensor(task_id="wait", topic=topic_name, **options)

    soon = datetime.now(UTC) + timedelta(hours=1)
    with pytest.raises(TaskDeferred) as deferred:
        made(until=soon, lateness=timedelta(minutes=5), deferrable=True).execute({})
    arguments = deferred.value.trigger.serialize()[1]
    assert arguments["until"] == soon.timestamp() + 300
    assert KafkaWatermarkTrigger(**arguments).serialize()[1] == arguments
    made(until="2020-01-01T00:00:00Z", deferrable=True).execute({})
    assert made(until="2020-01-01T00:00:00+00:00").poke({})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"until": "yesterday"}, "until='yesterday'"),
        ({"until": datetime(2026, 1, 1)}, "zone"),
        ({"until": "{{ ts }}", "lateness": timedelta(seconds=-1)}, "lateness=-1"),
        ({"until": "{{ ts }}", "idle_after": -1}, "idle_after=-1"),
        ({"until": "{{ ts }}", "mode": "reschedule"}, "idle_after with mode='reschedule'"),
    ],
)
def test_wrong_arguments_of_the_watermark_sensor_are_refused_when_the_file_is_parsed(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        KafkaWatermarkSensor(task_id="wait", topic="t", **options)


def test_wrong_limits_of_slice_lag_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="max_messages=-1"):
        KafkaSliceLagSensor(task_id="wait", topic="t", landing_dag_id="d", max_messages=-1)
    with pytest.raises(ConfigurationError, match="max_age=-1"):
        KafkaSliceLagSensor(task_id="wait", topic="t", landing_dag_id="d", max_age=timedelta(seconds=-1))


@pytest.mark.parametrize(
    ("soft_fail", "raised"), [(True, AirflowSkipException), (False, AirflowSensorTimeout)]
)
def test_a_timeout_fails_or_skips_as_with_any_sensor(
    topic_name: str, soft_fail: bool, raised: type[Exception]
) -> None:
    waits = sensor(topic_name, "nobody", timeout=0.2, soft_fail=soft_fail, deferrable=False)
    with pytest.raises(raised):
        waits.execute({})
    with pytest.raises(raised):  # what Airflow does when a deferred task's time is over
        waits.resume_execution("__fail__", {"error": TriggerFailureReason.TRIGGER_TIMEOUT}, {})
