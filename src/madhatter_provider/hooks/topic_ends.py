"""Many topics at once: which they are, and where their last stable offsets stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from madhatter_provider.core.errors import MadHatterError
from madhatter_provider.core.slices.topic_epoch import epoch_of
from madhatter_provider.hooks.kafka import KafkaSliceHook, known_offset
from madhatter_provider.hooks.kafka_errors import explain

REQUEST_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class TopicLayout:
    """A topic's epoch, and its partitions by whether they have a leader."""

    epoch: str
    led: tuple[int, ...]
    leaderless: tuple[int, ...]


@dataclass(slots=True)
class PartitionOffsets:
    """Offsets of a topic's partitions, and what is wrong with those that have none."""

    offsets: dict[int, int] = field(default_factory=dict)
    errors: dict[int, MadHatterError] = field(default_factory=dict)


class TopicEndsReader:
    """Asks the brokers of one connection. Its calls block, and may be made from several threads.

    :param kafka_config_id: connection id; :meth:`reconnect` reads it.
    """

    def __init__(self, kafka_config_id: str) -> None:
        self.kafka_config_id = kafka_config_id
        self._hook: KafkaSliceHook | None = None

    def reconnect(self) -> None:
        """Read the connection; one that has changed gets a new client.

        :raises ConfigurationError: the connection is missing or wrong.
        """
        hook = KafkaSliceHook(self.kafka_config_id, timeout=REQUEST_SECONDS)
        if self._hook is None or hook.client_config != self._hook.client_config:
            self._hook = hook

    def close(self) -> None:
        """Give up the client. It ends here, in this thread, unless another one still asks."""
        self._hook = None

    def describe(self, topics: Sequence[str]) -> dict[str, TopicLayout | MadHatterError]:
        """The layout of each topic, or what the broker says against it.

        :raises BrokerError: no answer in time.
        :raises ConfigurationError: the broker does not let this client in.
        """
        from confluent_kafka import KafkaException

        hook = self._connected()
        try:
            try:
                return self._describe(hook, topics)
            except KafkaException:
                # Descriptions are asked of one broker, and it may have died since the client chose it: with
                # any other's answer it chooses anew.
                hook.admin.list_topics(timeout=REQUEST_SECONDS)
                return self._describe(hook, topics)
        except KafkaException as err:
            raise hook.explain(err, f"{topics[0]} and others") from err

    def _describe(
        self, hook: KafkaSliceHook, topics: Sequence[str]
    ) -> dict[str, TopicLayout | MadHatterError]:
        from confluent_kafka import KafkaException, TopicCollection

        found: dict[str, TopicLayout | MadHatterError] = {}
        asked = hook.admin.describe_topics(TopicCollection(list(topics)), request_timeout=REQUEST_SECONDS)
        for topic, future in asked.items():
            try:
                found[topic] = _layout(topic, future.result())
            except KafkaException as err:
                if err.args[0].code() < 0:  # not the broker's answer: there was none
                    raise
                found[topic] = explain(err.args[0], topic, self.kafka_config_id)
        return found

    def ends(self, asked: Mapping[str, Sequence[int]]) -> dict[str, PartitionOffsets]:
        """Last stable offsets, in one request to every broker concerned.

        :raises BrokerError: nothing answered in time.
        :raises ConfigurationError: the broker does not let this client in.
        """
        from confluent_kafka.admin import OffsetSpec

        return self._offsets(asked, OffsetSpec.latest())

    def starts(self, asked: Mapping[str, Sequence[int]]) -> dict[str, PartitionOffsets]:
        """First offsets that the log still has, in the same way."""
        from confluent_kafka.admin import OffsetSpec

        return self._offsets(asked, OffsetSpec.earliest())

    def _offsets(self, asked: Mapping[str, Sequence[int]], spec: Any) -> dict[str, PartitionOffsets]:
        from confluent_kafka import IsolationLevel, KafkaException, TopicPartition

        hook = self._connected()
        hook.admin.poll(0)  # serves callbacks, OAuth's refresh of tokens among them
        wanted = {TopicPartition(t, p): spec for t, partitions in asked.items() for p in partitions}
        futures = hook.admin.list_offsets(
            wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=REQUEST_SECONDS
        )
        answers = {t: PartitionOffsets() for t in asked}
        silent: list[KafkaException] = []
        for tp, future in futures.items():
            try:
                answers[tp.topic].offsets[tp.partition] = known_offset(future.result())
            except KafkaException as err:
                answers[tp.topic].errors[tp.partition] = explain(err.args[0], tp.topic, self.kafka_config_id)
                if err.args[0].code() < 0:
                    silent.append(err)
        if silent and len(silent) == len(futures):
            raise hook.explain(silent[0], "all") from silent[0]
        return answers

    def _connected(self) -> KafkaSliceHook:
        assert self._hook is not None, "reconnect first"
        return self._hook


def _layout(topic: str, described: Any) -> TopicLayout:
    led = tuple(sorted(p.id for p in described.partitions if p.leader is not None and p.leader.id >= 0))
    epoch = epoch_of(topic, described)
    return TopicLayout(epoch.id, led, tuple(p for p in epoch.partitions if p not in led))
