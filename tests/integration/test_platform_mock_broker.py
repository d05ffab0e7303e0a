"""Without Java, librdkafka's mock broker stands in: enough for topics, offsets and reading."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Consumer, IsolationLevel, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from madhatter_provider.local.home import LocalHome
from madhatter_provider.local.platform import Platform
from madhatter_provider.local.process import platform_processes

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def without_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalHome:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    return LocalHome(tmp_path / "home", REPOSITORY)


def test_it_says_what_stands_in_for_what(without_java: LocalHome) -> None:
    platform = Platform(without_java)
    kafka = platform.catalog.services["kafka"]
    assert kafka.kind == "emulator"
    assert "librdkafka" in kafka.version
    told = {absent.name: absent for absent in platform.catalog.absent}
    assert "mock broker" in told["apache-kafka"].reason
    assert "openjdk" in told["apache-kafka"].remedy
    assert {"pubsub", "function", "pubsub-setup"} <= told.keys(), "the emulator needs Java too"
    assert "dataflow" in platform.catalog.nodes


def test_slices_can_be_made_and_read(without_java: LocalHome) -> None:
    platform = Platform(without_java)
    platform.start(["kafka"])
    try:
        servers = platform.env["KAFKA_BOOTSTRAP_SERVERS"]
        admin = AdminClient({"bootstrap.servers": servers})
        described = admin.describe_topics(TopicCollection(["clicks"]))["clicks"].result(10)
        assert str(described.topic_id) != "AAAAAAAAAAAAAAAAAAAAAA"

        producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True})
        for number in range(500):
            producer.produce("clicks", b"%d" % number, partition=0)
        assert producer.flush(20) == 0

        first = TopicPartition("clicks", 0)
        asked = admin.list_offsets(
            {first: OffsetSpec.latest()}, isolation_level=IsolationLevel.READ_COMMITTED
        )
        assert asked[first].result(10).offset == 500

        consumer = Consumer({"bootstrap.servers": servers, "group.id": "t", "auto.offset.reset": "error"})
        consumer.assign([TopicPartition("clicks", 0, 100)])
        assert [m.offset() for m in consumer.consume(400, timeout=20)] == list(range(100, 500))
        consumer.close()
    finally:
        platform.stop()
    assert platform_processes(without_java.root) == []
