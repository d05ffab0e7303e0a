"""Slices on librdkafka's mock broker, which stands in where Java or Maven is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka import Producer

from madhatter_provider.core.errors import TopicError
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.hooks.kafka import KafkaSliceHook
from madhatter_provider.local.oracle import read_topic
from madhatter_provider.local.topics import ask_for_topics
from madhatter_provider.testing.kafka import MockKafka

pytestmark = pytest.mark.integration

_CONTRACTS = Path(__file__).parents[2] / "include" / "contracts"


@pytest.fixture(scope="module")
def mock_broker(madhatter_mock_kafka: MockKafka) -> str:
    """Bootstrap servers of a mock broker with the contracts' topics; 900 messages are in ``clicks``."""
    servers = madhatter_mock_kafka.bootstrap_servers
    ask_for_topics(servers, _CONTRACTS)
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True})
    for i in range(900):
        producer.produce("clicks", b"%d" % i, b"%d" % i)
    assert producer.flush(30) == 0
    return servers


@pytest.fixture
def hook(mock_broker: str, monkeypatch: pytest.MonkeyPatch) -> KafkaSliceHook:
    connection = {"conn_type": "kafka", "extra": {"bootstrap.servers": mock_broker}}
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_MOCK", json.dumps(connection))
    return KafkaSliceHook("kafka_mock")


def test_every_message_is_in_the_slice_of_the_bounds(hook: KafkaSliceHook, mock_broker: str) -> None:
    bounds = hook.bounds("clicks")
    assert len(bounds.topic_id) >= 20
    assert set(bounds.starts.values()) == {0}
    assert sum(bounds.ends.values()) == 900
    ranges = tuple(OffsetRange(p, 0, end) for p, end in bounds.ends.items() if end)
    whole = Slice("clicks", bounds.topic_id, ranges)
    values = [value or b"" for batch in hook.read(whole) for value in batch.values]
    assert sorted(values) == sorted(b"%d" % i for i in range(900))
    by_oracle = read_topic(mock_broker, "clicks")
    assert by_oracle.topic_id == bounds.topic_id
    assert len(by_oracle.rows) == 900


def test_position_is_mirrored(hook: KafkaSliceHook) -> None:
    hook.mirror_position("group", "clicks", "an epoch", {0: 3, 1: 5})
    mirror = hook.mirror("group", "clicks", [0, 1, 2])
    assert mirror.position("an epoch") == {0: 3, 1: 5}
    assert mirror.position("another epoch") == {}


def test_unknown_topic_is_named(hook: KafkaSliceHook) -> None:
    with pytest.raises(TopicError, match="does not exist") as caught:
        hook.bounds("no_such_topic")
    assert "no_such_topic" in caught.value.where
