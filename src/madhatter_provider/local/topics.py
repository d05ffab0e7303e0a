"""Create the topics that the contracts name."""

from __future__ import annotations

from pathlib import Path

from madhatter_provider.core.contracts.contract import Contract, load_contracts
from madhatter_provider.core.errors import BrokerError

_SECONDS = 30
PUBLISHED = "published"
"""Folder, beside the streams' contracts, of those of topics that are written but not landed."""


def create_topics(servers: str, contracts: Path) -> str:
    """Create what is missing; topics that exist are left alone. Returns a few words for the summary.

    :raises BrokerError: Kafka did not create one.
    :raises ContractError: a contract is wrong.
    """
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient({"bootstrap.servers": servers})
    asked = admin.create_topics(
        [
            NewTopic(c.topic, c.partitions, 1, config={"cleanup.policy": "compact"} if c.compacted else {})
            for c in _all_contracts(contracts)
        ]
    )
    created = 0
    for name, future in asked.items():
        try:
            future.result(timeout=_SECONDS)
            created += 1
        except KafkaException as err:
            if err.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise BrokerError(
                    f"Kafka did not create a topic: {err}", where=f"{name} on {servers}",
                    remedy="Read the broker's log: madhatter local logs kafka.",
                ) from err  # fmt: skip
    return f"{created} created, {len(asked) - created} kept"


def ask_for_topics(servers: str, contracts: Path) -> str:
    """The same on librdkafka's mock broker, which makes a topic when its metadata is asked for."""
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": servers})
    names = [contract.topic for contract in _all_contracts(contracts)]
    for name in names:
        admin.list_topics(name, timeout=_SECONDS)
    return f"{len(names)} on the mock broker, with its fixed number of partitions"


def _all_contracts(folder: Path) -> list[Contract]:
    published = folder / PUBLISHED
    more = load_contracts(published) if published.is_dir() else {}
    return [*load_contracts(folder).values(), *more.values()]
