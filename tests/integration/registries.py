"""The kit's schema registry behind a password, and Confluent's own client and serializers for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from madhatter_provider.testing.schema_registry import RunningSchemaRegistry

Serialize = Callable[[Any], bytes]


class RunningRegistry(RunningSchemaRegistry):
    """A registry that asks for a password."""

    USER, PASSWORD = "producer", "s3cret"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, f"{self.USER}:{self.PASSWORD}")

    @property
    def client(self) -> SchemaRegistryClient:
        """Confluent's own client."""
        return SchemaRegistryClient({"url": self.url, "basic.auth.user.info": f"{self.USER}:{self.PASSWORD}"})

    def avro(self, topic: str, schema: dict[str, Any]) -> Serialize:
        """Confluent's Avro serializer."""
        serializer = AvroSerializer(self.client, json.dumps(schema))
        return lambda record: serializer(record, SerializationContext(topic, MessageField.VALUE))

    def json_schema(self, topic: str, schema: dict[str, Any]) -> Serialize:
        """Confluent's JSON Schema serializer."""
        serializer = JSONSerializer(json.dumps(schema), self.client)
        return lambda message: serializer(message, SerializationContext(topic, MessageField.VALUE))

    def protobuf(self, topic: str, kind: Any) -> Serialize:
        """Confluent's Protobuf serializer."""
        from confluent_kafka.schema_registry.protobuf import ProtobufSerializer

        serializer = ProtobufSerializer(kind, self.client, {"use.deprecated.format": False})
        return lambda message: serializer(message, SerializationContext(topic, MessageField.VALUE))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A running registry."""
    running = RunningRegistry(tmp_path_factory.mktemp("registry"))
    running.start()
    yield running
    running.stop()
