"""What the demo asks Kafka while it waits."""

from __future__ import annotations

from collections.abc import Mapping

from madhatter_provider.core.contracts.contract import Contract

_SECONDS = 30


class Broker:
    """Ends of the streams' topics, and how far a consumer group is behind them."""

    def __init__(self, bootstrap: str, contracts: Mapping[str, Contract]) -> None:
        from confluent_kafka.admin import AdminClient

        self._bootstrap = bootstrap
        self._admin = AdminClient({"bootstrap.servers": bootstrap})
        self._contracts = contracts

    def ends(self) -> dict[str, dict[int, int]]:
        """Last stable offsets by stream and partition."""
        from confluent_kafka import IsolationLevel, TopicPartition
        from confluent_kafka.admin import OffsetSpec

        from madhatter_provider.hooks.kafka import known_offset

        stream_of = {c.topic: name for name, c in self._contracts.items()}
        topics = self._admin.list_topics(timeout=_SECONDS).topics
        places = [TopicPartition(t, p) for t in stream_of for p in topics[t].partitions]
        asked = self._admin.list_offsets(
            {place: OffsetSpec.latest() for place in places}, isolation_level=IsolationLevel.READ_COMMITTED
        )
        found: dict[str, dict[int, int]] = {name: {} for name in self._contracts}
        for place, future in asked.items():
            found[stream_of[place.topic]][place.partition] = known_offset(future.result())
        return found

    def unread(self, group: str) -> int:
        """Messages that a consumer group has not read of the partitions it has committed for."""
        from confluent_kafka import Consumer, TopicPartition

        stream_of, ends = {c.topic: name for name, c in self._contracts.items()}, self.ends()
        places = [TopicPartition(t, p) for t, name in stream_of.items() for p in ends[name]]
        # Not the admin client: its request for a group's offsets ends the process (librdkafka 2.16) while the
        # group's coordinator is away.
        consumer = Consumer(
            {"bootstrap.servers": self._bootstrap, "group.id": group, "enable.auto.commit": False}
        )
        try:
            committed = [c for c in consumer.committed(places, timeout=_SECONDS) if c.offset >= 0]
        finally:
            consumer.close()
        return sum(max(0, ends[stream_of[c.topic]][c.partition] - c.offset) for c in committed)
