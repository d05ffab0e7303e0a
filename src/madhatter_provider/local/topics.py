"""Create the topics that the contracts name."""

from __future__ import annotations

from pathlib import Path

from madhatter_provider.core.contracts.contract import load_contracts
from madhatter_provider.core.errors import BrokerError

_SECONDS = 30


def create_topics(servers: str, contracts: Path) -> str:
    """Create what is missing; topics that exist are left alone. Returns a few words for the summary.

    :raises BrokerError: Kafka did not create one.
    :raises ContractError: a contract is wrong.
    """
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    wanted = load_contracts(contracts).values()
    admin = AdminClient({"bootstrap.servers": servers})
    asked = admin.create_topics([NewTopic(c.topic, c.partitions, 1) for c in wanted])
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
    names = [contract.topic for contract in load_contracts(contracts).values()]
    for name in names:
        admin.list_topics(name, timeout=_SECONDS)
    return f"{len(names)} on the mock broker, with its fixed number of partitions"
