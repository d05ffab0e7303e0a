"""SASL over TLS with access rules: all that is done with a slice, and what is said when it is refused."""

from __future__ import annotations

import pytest

from madhatter_provider.hooks.kafka import KafkaSliceHook
from madhatter_provider.local.kafka_security import Mechanism
from madhatter_provider.testing.kafka import unique_topic
from madhatter_provider.testing.secure_kafka import SecureKafka

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_bounds(secure_kafka: SecureKafka, monkeypatch: pytest.MonkeyPatch, mechanism: Mechanism) -> None:
    topic = unique_topic(secure_kafka, 1)
    secure_kafka.send(topic, [b"x"])
    secure_kafka.allow("DESCRIBE", topic=topic)
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", secure_kafka.user_connection(mechanism))
    assert KafkaSliceHook().bounds(topic).ends == {0: 1}
