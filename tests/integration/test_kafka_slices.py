"""Bounds, slices and the offset hub against a real Kafka node."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from madhatter_provider.core.errors import BrokerError, ConfigurationError, LostRangeError, TopicError
from madhatter_provider.core.landing.land import Batch
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.hooks.kafka import KafkaSliceHook
from madhatter_provider.triggers.kafka_slice import KafkaSliceTrigger

pytestmark = pytest.mark.integration


@pytest.fixture
def hook(kafka_broker: str, monkeypatch: pytest.MonkeyPatch) -> KafkaSliceHook:
    connection = {"conn_type": "kafka", "extra": {"bootstrap.servers": kafka_broker, "group.id": "g"}}
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(connection))
    return KafkaSliceHook()


def produce(broker: str, topic: str, counts: dict[int, int], **config: Any) -> Producer:
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 0, **config})
    if config:
        producer.init_transactions()
        producer.begin_transaction()
    for partition, n in counts.items():
        for i in range(n):
            producer.produce(topic, f"{partition}/{i}".encode(), partition=partition)
    producer.flush()
    return producer


def offsets(batches: Iterator[Batch]) -> list[tuple[int, int]]:
    return sorted((batch.partition, offset) for batch in batches for offset in batch.offsets)


def test_bounds_and_slices(hook: KafkaSliceHook, kafka_broker: str, topic: Any) -> None:
    name = topic(3)
    produce(kafka_broker, name, {0: 50, 1: 20})
    bounds = hook.bounds(name)
    assert (bounds.starts, bounds.ends) == ({0: 0, 1: 0, 2: 0}, {0: 50, 1: 20, 2: 0})
    assert len(bounds.topic_id) >= 20
    owned = Slice(
        name, bounds.topic_id, (OffsetRange(0, 3, 9), OffsetRange(0, 40, 42), OffsetRange(1, 0, 20))
    )
    assert offsets(hook.read(owned, batch=7)) == [
        (r.partition, o) for r in owned for o in range(r.start, r.end)
    ]


def test_a_slice_ends_before_an_open_transaction_and_skips_aborted_messages(
    hook: KafkaSliceHook, kafka_broker: str, topic: Any
) -> None:
    name = topic(1)
    produce(kafka_broker, name, {0: 5})
    produce(kafka_broker, name, {0: 4}, **{"transactional.id": name + "a"}).abort_transaction()
    produce(kafka_broker, name, {0: 3}, **{"transactional.id": name + "b"}).commit_transaction()
    open_one = produce(kafka_broker, name, {0: 2}, **{"transactional.id": name + "c"})
    deadline = time.monotonic() + 10  # the markers of ended transactions are written a little later
    while (bounds := hook.bounds(name)).ends != {0: 14}:
        assert time.monotonic() < deadline, "5, 4 and a marker, 3 and a marker; not the open transaction"
    owned = Slice(name, bounds.topic_id, (OffsetRange(0, 0, 14),))
    assert offsets(hook.read(owned)) == [(0, o) for o in [*range(5), 10, 11, 12]]
    open_one.abort_transaction()


def test_deleted_messages_are_lost_aloud(hook: KafkaSliceHook, kafka_broker: str, topic: Any) -> None:
    name = topic(1)
    produce(kafka_broker, name, {0: 30})
    admin = AdminClient({"bootstrap.servers": kafka_broker})
    next(iter(admin.delete_records([TopicPartition(name, 0, 20)]).values())).result()
    bounds = hook.bounds(name)
    assert bounds.starts == {0: 20}
    with pytest.raises(LostRangeError, match="gone from the broker"):
        list(hook.read(Slice(name, bounds.topic_id, (OffsetRange(0, 10, 30),))))


def test_a_slice_of_a_topic_that_was_created_again_is_refused(hook: KafkaSliceHook, topic: Any) -> None:
    with pytest.raises(TopicError, match="created again"):
        hook.read(Slice(topic(1), "AAAAAAAAAAAAAAAAAAAAAA", (OffsetRange(0, 0, 1),)))


def test_offsets_at_a_time(hook: KafkaSliceHook, kafka_broker: str, topic: Any) -> None:
    name = topic(2)
    produce(kafka_broker, name, {0: 3})
    time.sleep(0.01)
    between = int(time.time() * 1000)
    time.sleep(0.01)
    produce(kafka_broker, name, {0: 3})
    assert hook.offsets_at(name, [0, 1], between) == {0: 3, 1: 0}


def test_the_mirrored_position_belongs_to_its_epoch(hook: KafkaSliceHook, topic: Any) -> None:
    name = topic(2)
    hook.mirror_position("madhatter.test", name, "epoch-1", {0: 7, 1: 9})
    mirror = hook.mirror("madhatter.test", name, [0, 1])
    assert mirror.position("epoch-1") == {0: 7, 1: 9}
    assert mirror.position("epoch-2") == {}
    assert mirror.of_other_epochs


def test_the_mirror_never_moves_back_within_an_epoch_unless_told(hook: KafkaSliceHook, topic: Any) -> None:
    name, group = topic(2), "madhatter.race"

    def mirrored() -> dict[int, int]:
        return hook.mirror(group, name, [0, 1]).position("epoch")

    hook.mirror_position(group, name, "epoch", {0: 7, 1: 9})
    hook.mirror_position(group, name, "epoch", {0: 5, 1: 12})  # the loser of a race
    assert mirrored() == {0: 7, 1: 12}
    hook.mirror_position(group, name, "epoch", {0: 0, 1: 0}, back=True)
    assert mirrored() == {0: 0, 1: 0}
    hook.mirror_position(group, name, "created again", {0: 0, 1: 3})
    assert hook.mirror(group, name, [0, 1]).position("created again") == {0: 0, 1: 3}


def test_a_missing_topic_says_so(hook: KafkaSliceHook) -> None:
    with pytest.raises(TopicError, match="does not exist"):
        hook.bounds("no-such-topic")


def test_a_dead_broker_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "kafka", "extra": {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}}
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(connection))
    with pytest.raises(BrokerError) as caught:
        KafkaSliceHook(timeout=1).bounds("clicks")
    assert caught.value.transient
    assert "kafka_default" in str(caught.value)


def test_a_connection_without_servers_says_how_to_mend_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps({"conn_type": "kafka", "extra": {}}))
    with pytest.raises(ConfigurationError, match="bootstrap"):
        _ = KafkaSliceHook().config


@pytest.mark.asyncio
async def test_the_trigger_announces_a_burst_once_and_a_trickle_after_its_wait(
    hook: KafkaSliceHook, kafka_broker: str, topic: Any
) -> None:
    name = topic(2)
    trigger = KafkaSliceTrigger(name, min_messages=100, max_wait=0.5, poll_interval=0.05)
    events: Any = trigger.run()
    produce(kafka_broker, name, {0: 60, 1: 60})
    first = (await asyncio.wait_for(anext(events), 10)).payload
    assert (first["why"], first["ends"]) == ("new", {"0": 60, "1": 60})
    produce(kafka_broker, name, {1: 1})
    second = (await asyncio.wait_for(anext(events), 10)).payload
    assert second["ends"] == {"0": 60, "1": 61}
    await events.aclose()
