"""Settings of a running broker and of its topics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource


def configure(bootstrap: str, kind: Any, name: str, settings: Mapping[str, str]) -> None:
    """Set them.

    :param kind: ``ResourceType.TOPIC`` or ``ResourceType.BROKER``.
    :param name: the topic, or the broker's id.
    """
    _alter(bootstrap, kind, name, settings, AlterConfigOpType.SET)


@contextmanager
def configured(bootstrap: str, kind: Any, name: str, settings: Mapping[str, str]) -> Iterator[None]:
    """Set them for a while: for a broker that others use too."""
    _alter(bootstrap, kind, name, settings, AlterConfigOpType.SET)
    try:
        yield
    finally:
        _alter(bootstrap, kind, name, settings, AlterConfigOpType.DELETE)


def _alter(bootstrap: str, kind: Any, name: str, settings: Mapping[str, str], operation: Any) -> None:
    entries = [ConfigEntry(key, value, incremental_operation=operation) for key, value in settings.items()]
    asked = ConfigResource(kind, name, incremental_configs=entries)
    admin = AdminClient({"bootstrap.servers": bootstrap})  # it must outlive its answers
    for done in admin.incremental_alter_configs([asked]).values():
        done.result(timeout=15)
