"""SASL over TLS with access rules: all that is done with a slice, and what is said when it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from madhatter_provider.core.errors import ConfigurationError, TopicError
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.hooks.kafka import KafkaSliceHook
from madhatter_provider.local.kafka_security import Mechanism
from madhatter_provider.testing.kafka import unique_topic
from madhatter_provider.testing.secure_kafka import SecureKafka
from madhatter_provider.triggers.kafka_slice import KafkaSliceTrigger

pytestmark = pytest.mark.integration


TIMEOUT = 1.0


@pytest.fixture
def connect(secure_kafka: SecureKafka, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``connect(mechanism, **changes)`` sets the user's connection ``kafka_default``."""

    def set_connection(mechanism: Mechanism = "PLAIN", **changes: Any) -> None:
        connection = secure_kafka.user_connection(mechanism, **{"log_level": 0, **changes})
        monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", connection)

    return set_connection


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_slice_is_read_and_mirrored(
    secure_kafka: SecureKafka, connect: Callable[..., None], mechanism: Mechanism
) -> None:
    topic = unique_topic(secure_kafka, 1)
    secure_kafka.send(topic, [b"x", b"y"])
    secure_kafka.allow("READ", topic=topic)
    secure_kafka.allow("READ", group="madhatter")
    secure_kafka.allow("READ", group=f"madhatter.{topic}")
    connect(mechanism)
    hook = KafkaSliceHook()
    bounds = hook.bounds(topic)
    assert bounds.ends == {0: 2}
    owned = Slice(topic, bounds.topic_id, (OffsetRange(0, 0, 2),))
    assert [value for batch in hook.read(owned) for value in batch.values] == [b"x", b"y"]
    hook.mirror_position(f"madhatter.{topic}", topic, bounds.topic_id, {0: 2})
    assert hook.lag(f"madhatter.{topic}", topic) == {0: 0}


def test_a_missing_right_says_which(secure_kafka: SecureKafka, connect: Callable[..., None]) -> None:
    topic = unique_topic(secure_kafka, 1)
    secure_kafka.send(topic, [b"x"])
    connect()
    hook = KafkaSliceHook(timeout=5)
    with pytest.raises(TopicError, match="Topic authorization failed") as caught:
        hook.bounds(topic)
    assert f"topic {topic}" in caught.value.where
    secure_kafka.allow("DESCRIBE", topic=topic)
    bounds = hook.bounds(topic)
    owned = Slice(topic, bounds.topic_id, (OffsetRange(0, 0, 1),))
    with pytest.raises(TopicError, match="authorization failed") as caught:
        list(hook.read(owned, stall_seconds=5))
    assert "READ" in caught.value.remedy
    with pytest.raises(TopicError, match="Group authorization failed"):
        hook.mirror_position("madhatter.forbidden", topic, bounds.topic_id, {0: 1})
    with pytest.raises(TopicError, match="Group authorization failed"):
        hook.lag("madhatter.forbidden", topic)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sasl.password": "wrong"}, "Invalid username or password"),
        ({"ssl.ca.location": "probe"}, "certificate"),
        ({"ssl.ca.location": "/no/such/authority.pem"}, "ssl.ca.location"),
        ({"sasl.mechanism": "SCRAM"}, "SCRAM"),
    ],
)
def test_a_refused_connection_says_why_and_is_not_tried_again(
    connect: Callable[..., None], changes: dict[str, str], said: str
) -> None:
    connect(**changes)
    for ask in (
        lambda hook: hook.bounds("any"),
        lambda hook: hook.mirror("g", "any", [0]),
    ):
        with pytest.raises(ConfigurationError, match=said) as caught:
            ask(KafkaSliceHook(timeout=TIMEOUT))
        assert "kafka_default" in caught.value.where
        assert "sasl.*" in caught.value.remedy


@pytest.mark.asyncio
async def test_a_watcher_starts_when_it_may_and_says_why_it_may_not(
    secure_kafka: SecureKafka, connect: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    topic = await asyncio.to_thread(unique_topic, secure_kafka, 1)
    await asyncio.to_thread(secure_kafka.send, topic, [b"x"])
    connect("SCRAM-SHA-512")
    events: Any = KafkaSliceTrigger(topic, min_messages=1, poll_interval=0.1).run()
    announced = asyncio.create_task(anext(events))
    while "Topic authorization failed" not in caplog.text:
        await asyncio.sleep(0.1)
        assert not announced.done()
    assert f"Cannot watch topic {topic}" in caplog.text
    await asyncio.to_thread(secure_kafka.allow, "DESCRIBE", topic=topic)
    assert (await asyncio.wait_for(announced, 30)).payload["ends"] == {"0": 1}
    await events.aclose()
