"""The local schema registry as a process, and what producers do with it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from madhatter_provider.local.process import ProcessId, end, free_port, spawn, tail

Serialize = Callable[[Any], bytes]


class RunningRegistry:
    """A registry that may be stopped and started again; its schemas stay."""

    USER, PASSWORD = "producer", "s3cret"

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._mark = f"schema-registry@{folder}"
        self._process: ProcessId | None = None

    def start(self) -> None:
        """Start the process and wait until it answers."""
        command = [
            sys.executable, "-W", "ignore", "-m", "madhatter_provider.local.schema_registry",
            "--port", str(self.port), "--data", str(self.folder / "schemas.json"),
            "--user", f"{self.USER}:{self.PASSWORD}",
        ]  # fmt: skip
        log = self.folder / "registry.log"
        child, self._process = spawn(command, env=os.environ, log=log, cwd=self.folder, mark=self._mark)
        deadline = time.monotonic() + 30
        while not self._answers():
            if child.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"The schema registry did not start:\n{tail(log, 30)}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return httpx.get(self.url).status_code == 401
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """End it at once."""
        end(self._process, self._mark, grace=0)

    @property
    def client(self) -> SchemaRegistryClient:
        """Confluent's own client."""
        return SchemaRegistryClient({"url": self.url, "basic.auth.user.info": f"{self.USER}:{self.PASSWORD}"})

    def airflow_connection(self, **changes: Any) -> str:
        """The registry as an Airflow connection (JSON)."""
        at = {"host": "127.0.0.1", "port": self.port, "login": self.USER, "password": self.PASSWORD}
        return json.dumps({"conn_type": "http", **at, **changes})

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
