"""A real Kafka node with TLS, users and access rules, for what happens where not everything is allowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from madhatter_provider.local.kafka import kafka_node
from madhatter_provider.local.kafka_security import ADMIN, KafkaSecurity, Mechanism
from madhatter_provider.local.process import free_port
from madhatter_provider.testing.kafka import Broker

USER, PASSWORD = "loader", "loader-password"


class SecureKafka(Broker):
    """One node that takes SASL over TLS only. Its user :data:`USER` may do nothing until :meth:`allow`.

    :param cache: folder of Kafka's jars; they are fetched once.
    :raises ConfigurationError: Java or Maven is missing.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        self.security = KafkaSecurity(folder / "tls", {ADMIN: "admin-password", USER: PASSWORD})
        port = free_port()
        node = kafka_node(cache, folder, port, free_port([port]), self.security)
        super().__init__(folder, node, node.command)

    def start(self) -> None:
        """Start the node and wait until it answers."""
        self.node.prepare()
        super().start()

    def client_config(self, mechanism: Mechanism = "PLAIN", **changes: Any) -> dict[str, Any]:
        """Client configuration of :data:`USER`; ``**{"sasl.password": "…"}`` changes it."""
        return {
            "bootstrap.servers": self.bootstrap_servers,
            **self.security.client_config(USER, mechanism),
            **changes,
        }

    def user_connection(self, mechanism: Mechanism = "PLAIN", **changes: Any) -> str:
        """The same as an Airflow connection (JSON)."""
        return json.dumps({"conn_type": "kafka", "extra": self.client_config(mechanism, **changes)})

    def allow(self, *operations: str, topic: str | None = None, group: str | None = None) -> None:
        """Allow :data:`USER` something on a topic or a group.

        :param operations: ``READ``, ``DESCRIBE``, … as Kafka names them; READ brings DESCRIBE with it.
        """
        self._change(False, operations, topic, group)

    def forbid(self, *operations: str, topic: str | None = None, group: str | None = None) -> None:
        """Take back what :meth:`allow` allowed."""
        self._change(True, operations, topic, group)

    def _change(
        self, delete: bool, operations: tuple[str, ...], topic: str | None, group: str | None
    ) -> None:
        from confluent_kafka.admin import (
            AclBinding,
            AclBindingFilter,
            AclOperation,
            AclPermissionType,
            AdminClient,
            ResourcePatternType,
            ResourceType,
        )

        admin = AdminClient(self.node.client_config)
        named = {ResourceType.TOPIC: topic, ResourceType.GROUP: group}
        rules = [
            (
                resource, name, ResourcePatternType.LITERAL, f"User:{USER}", "*",
                AclOperation[operation], AclPermissionType.ALLOW,
            )
            for resource, name in named.items()
            if name is not None
            for operation in operations
        ]  # fmt: skip
        if delete:
            asked: dict[Any, Any] = admin.delete_acls([AclBindingFilter(*rule) for rule in rules])
        else:
            asked = admin.create_acls([AclBinding(*rule) for rule in rules])
        for answer in asked.values():
            answer.result(timeout=30)
