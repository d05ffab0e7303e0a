"""A real Kafka node, or librdkafka's mock broker, as a process that tests may kill and start again."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from madhatter_provider.local.kafka import KafkaNode, kafka_node
from madhatter_provider.local.process import ProcessId, end, free_port, spawn, tail
from madhatter_provider.testing.leash import leashed

_START_SECONDS = 60
_LEADERS_SECONDS = 10


class Broker:
    """Something that speaks Kafka's protocol.

    :param command: starts it.
    :param node: knows the address, and whether it answers.
    """

    def __init__(self, folder: Path, node: KafkaNode, command: list[str]) -> None:
        self.node = node
        self._folder, self._command = folder, command
        self._log, self._mark = folder / "kafka.log", f"kafka@{folder}"
        self._process: ProcessId | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Address for clients; the same after a restart."""
        return self.node.bootstrap_servers

    @property
    def airflow_connection(self) -> str:
        """The same as an Airflow connection (JSON)."""
        return json.dumps({"conn_type": "kafka", "extra": self.node.client_config})

    def start(self) -> None:
        """Start it and wait until it answers."""
        child, self._process = spawn(
            leashed(self._command), env=os.environ, log=self._log, cwd=self._folder, mark=self._mark
        )
        deadline = time.monotonic() + _START_SECONDS
        while not self.node.ready():
            if child.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"Kafka did not start:\n{tail(self._log, 30)}")
            time.sleep(0.1)

    def stop(self, *, grace: float = 10.0) -> None:
        """End it; ``grace=0`` kills it."""
        end(self._process, self._mark, grace=grace)

    def create_topic(self, name: str, partitions: int = 3, config: Mapping[str, str] | None = None) -> str:
        """Create a topic; it may be used when the call returns, the name."""
        from confluent_kafka.admin import AdminClient
        from confluent_kafka.cimpl import NewTopic

        admin = AdminClient(self.node.client_config)
        new = NewTopic(name, partitions, 1, config=dict(config or {}))
        admin.create_topics([new])[name].result(timeout=30)
        deadline = time.monotonic() + _LEADERS_SECONDS
        # The broker answers before every leader is known to clients.
        while not _has_leaders(admin, name, partitions):
            assert time.monotonic() < deadline, f"topic {name} has no leaders"
            time.sleep(0.02)
        return name

    def delete_topic(self, name: str) -> None:
        """Delete a topic, if it is there, and wait until it is gone."""
        from confluent_kafka import KafkaError, KafkaException
        from confluent_kafka.admin import AdminClient

        admin = AdminClient(self.node.client_config)
        try:
            admin.delete_topics([name])[name].result(timeout=30)
        except KafkaException as err:
            if err.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
        deadline = time.monotonic() + _LEADERS_SECONDS
        while name in admin.list_topics(timeout=10).topics:
            assert time.monotonic() < deadline, f"topic {name} is still there"
            time.sleep(0.02)

    def send(
        self,
        topic: str,
        values: Iterable[bytes | str | Mapping[str, Any] | None],
        partition: int | None = None,
    ) -> int:
        """Send messages, mappings as JSON, and wait until the broker has them; their number.

        :param partition: where to; without it the client chooses.
        """
        from confluent_kafka import Producer

        producer = Producer({**self.node.client_config, "enable.idempotence": True})
        sent = 0
        for value in values:
            content = json.dumps(value) if isinstance(value, Mapping) else value
            producer.produce(topic, content, partition=-1 if partition is None else partition)
            producer.poll(0)
            sent += 1
        assert producer.flush(30) == 0, f"{topic}: not all of {sent} messages were taken"
        return sent


class RunningKafka(Broker):
    """A real Apache Kafka node; its data stays over a restart.

    :param cache: folder of Kafka's jars; they are fetched once.
    :raises ConfigurationError: Java or Maven is missing.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        port = free_port()
        node = kafka_node(cache, folder, port, free_port([port]))
        super().__init__(folder, node, node.command)

    def start(self) -> None:
        """Start the node and wait until it answers."""
        self.node.prepare()
        super().start()


class MockKafka(Broker):
    """librdkafka's mock broker: needs no Java and starts at once.

    Its limits: :mod:`madhatter_provider.local.mock_broker`.
    """

    def __init__(self, folder: Path) -> None:
        port = free_port()
        command = [sys.executable, "-m", "madhatter_provider.local.mock_broker", "--port", str(port)]
        super().__init__(folder, KafkaNode("", folder, folder, port, 0), command)

    def create_topic(self, name: str, partitions: int = 4, config: Mapping[str, str] | None = None) -> str:
        """Create a topic, which always has four partitions here; the name."""
        from confluent_kafka.admin import AdminClient

        assert partitions == 4, "the mock broker gives every topic four partitions"
        assert not config, "the mock broker knows no topic configuration"
        AdminClient(self.node.client_config).list_topics(name, timeout=30)
        return name


class MakeTopic(Protocol):
    """Makes a topic with a unique name and gives the name back."""

    def __call__(
        self, partitions: int = 3, *, name: str = "test", config: dict[str, str] | None = None
    ) -> str: ...


def unique_topic(
    broker: Broker, partitions: int = 3, *, name: str = "test", config: dict[str, str] | None = None
) -> str:
    """Create a topic whose name begins with ``name`` and is used by nobody else."""
    return broker.create_topic(f"{name}-{uuid.uuid4().hex[:8]}", partitions, config)


def _has_leaders(admin: Any, name: str, partitions: int) -> bool:
    known = admin.list_topics(name, timeout=10).topics[name].partitions
    return len(known) == partitions and all(p.leader >= 0 and p.error is None for p in known.values())
