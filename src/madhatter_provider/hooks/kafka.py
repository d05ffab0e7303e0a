"""Kafka as slices need it: bounds of a topic, the messages of a slice, the mirrored position.

The connection is the official one (type ``kafka``); its extra is the confluent-kafka configuration.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.apache.kafka.hooks.base import KafkaBaseHook

from madhatter_provider.core.errors import ConfigurationError, MadHatterError, TopicError
from madhatter_provider.core.landing.land import Batch
from madhatter_provider.core.slices.claims import TopicBounds
from madhatter_provider.core.slices.offsets import Slice
from madhatter_provider.core.slices.state import Mirror
from madhatter_provider.core.slices.topic_epoch import TopicEpoch, describe_topic
from madhatter_provider.hooks.kafka_errors import explain
from madhatter_provider.hooks.kafka_reader import read_slice
from madhatter_provider.hooks.kafka_refusals import Refusals
from madhatter_provider.hooks.kafka_sizes import sample_sizes

if TYPE_CHECKING:
    from confluent_kafka import KafkaException, TopicPartition
    from confluent_kafka.admin import AdminClient, ListOffsetsResultInfo

T = TypeVar("T")

_CLIENT_KEYS_OF_CONSUMERS = ("group.id", "auto.offset.reset", "enable.auto.commit")


class KafkaSliceHook(KafkaBaseHook):
    """Reads bounds and slices.

    :param kafka_config_id: connection id.
    :param timeout: seconds for one request to the broker.
    """

    def __init__(self, kafka_config_id: str = "kafka_default", timeout: float = 15.0) -> None:
        super().__init__(kafka_config_id=kafka_config_id)
        self.timeout = timeout
        self._refusals = Refusals()

    @cached_property
    def config(self) -> dict[str, Any]:
        """Client configuration of the connection.

        :raises ConfigurationError: the connection is missing, or has no ``bootstrap.servers``.
        """
        from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError

        try:
            return dict(self._build_config())
        except (AirflowNotFoundException, AirflowRuntimeError) as err:
            raise ConfigurationError(
                f"There is no connection {self.kafka_config_id!r}",
                where=self.kafka_config_id,
                remedy='Add a connection of type kafka whose extra is {"bootstrap.servers": "host:port"}.',
            ) from err
        except ValueError as err:
            raise ConfigurationError(
                str(err),
                where=f"Airflow connection {self.kafka_config_id}",
                remedy='Set the connection\'s extra to a JSON object with "bootstrap.servers".',
            ) from err

    @property
    def _place(self) -> str:
        """Connection and address, for messages."""
        return f"{self.kafka_config_id} ({self.config['bootstrap.servers']})"

    @property
    def client_config(self) -> dict[str, Any]:
        """The configuration without what only consumers understand."""
        return {k: v for k, v in self.config.items() if k not in _CLIENT_KEYS_OF_CONSUMERS}

    @cached_property
    def admin(self) -> AdminClient:
        """Admin client of the connection."""
        from confluent_kafka.admin import AdminClient

        return AdminClient(self._refusals.heard_in(self.client_config))

    def explain(self, err: KafkaException, topic: str) -> MadHatterError:
        """What an error of the admin client means, or of making it."""
        error = err.args[0]
        if "admin" in vars(self):
            error = self._refusals.cause(error, self.admin)
        return explain(error, topic, self._place)

    def bounds(self, topic: str) -> TopicBounds:
        """Log start and last stable end of every partition.

        :raises TopicError: the topic does not exist or may not be described.
        :raises BrokerError: no answer in time.
        """
        from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
        from confluent_kafka.admin import OffsetSpec

        described = self._describe(topic)
        partitions = [TopicPartition(topic, p) for p in described.partitions]
        try:
            asked = [
                self.admin.list_offsets(
                    {tp: spec for tp in partitions},
                    request_timeout=self.timeout,
                    isolation_level=IsolationLevel.READ_COMMITTED,
                )
                for spec in (OffsetSpec.earliest(), OffsetSpec.latest())
            ]
            starts, ends = (
                {tp.partition: known_offset(f.result()) for tp, f in answer.items()} for answer in asked
            )
        except KafkaException as err:
            raise self.explain(err, topic) from err
        return TopicBounds(topic, described.id, starts, ends)

    def _describe(self, topic: str) -> TopicEpoch:
        from confluent_kafka import KafkaException

        try:
            return describe_topic(self.admin, topic, self.timeout)
        except KafkaException as err:
            raise self.explain(err, topic) from err

    def offsets_at(self, topic: str, partitions: Sequence[int], timestamp_ms: int) -> dict[int, int]:
        """First offset at or after a time, per partition; the end where there is none."""
        from confluent_kafka import KafkaException, TopicPartition
        from confluent_kafka.admin import OffsetSpec

        wanted = {TopicPartition(topic, p): OffsetSpec.for_timestamp(timestamp_ms) for p in partitions}
        try:
            asked = self.admin.list_offsets(wanted, request_timeout=self.timeout)
            found = {tp.partition: known_offset(f.result()) for tp, f in asked.items()}
        except KafkaException as err:
            raise self.explain(err, topic) from err
        ends = self.bounds(topic).ends
        return {p: o if o >= 0 else ends[p] for p, o in found.items()}

    def read(self, owned: Slice, *, batch: int = 10_000, stall_seconds: float = 60.0) -> Iterator[Batch]:
        """All messages of a slice, in batches of one partition each, in offset order within it.

        A range ends when a message at or after its last offset arrives, or at the end of the partition:
        offsets have holes, so messages are never counted.

        :raises TopicError: the topic was deleted and created again since the slice was claimed.
        :raises LostRangeError: retention has deleted the beginning of a range.
        :raises BrokerError: nothing arrived for ``stall_seconds``.
        """
        now = self._describe(owned.topic).id
        if now != owned.topic_id:
            raise TopicError(
                f"The topic was created again: its id is {now}, the slice was claimed of {owned.topic_id}",
                where=f"connection {self._place}, {owned}",
                remedy="Those messages are gone; the next run begins the new topic at its start.",
            )
        return read_slice(self.config, owned, batch=batch, stall_seconds=stall_seconds, where=self._place)

    def lag(self, group: str, topic: str) -> dict[int, int]:
        """Messages that a consumer group has not read, by partition; all, where it has committed nothing.

        :raises TopicError: the topic or the group may not be read.
        :raises BrokerError: no answer in time.
        """
        bounds = self.bounds(topic)
        committed = {tp.partition: tp.offset for tp in self._committed(group, topic, sorted(bounds.ends))}
        return {p: max(0, end - max(committed.get(p, 0), bounds.starts[p])) for p, end in bounds.ends.items()}

    def bytes_per_offset(self, pending: Slice) -> dict[int, float]:
        """Mean size of keys, values and headers by partition, estimated from its first messages.

        :raises BrokerError: nothing arrived in time.
        """
        return sample_sizes(self.config, pending, seconds=self.timeout, where=self._place)

    def mirror_position(
        self, group: str, topic: str, topic_id: str, position: Mapping[int, int], *, back: bool = False
    ) -> None:
        """Commit the position to a consumer group: lag tools see it, and it outlives Airflow's state.

        :param back: commit it as it is; otherwise no partition moves backwards within an epoch.
        :raises TopicError: the group may not be read or written.
        :raises BrokerError: no answer in time.
        """
        from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition

        if not back:
            position = self.mirror(group, topic, sorted(position)).forward(topic_id, position)
        wanted = [TopicPartition(topic, p, o, metadata=topic_id) for p, o in position.items()]

        def commit() -> None:
            asked = self.admin.alter_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group, wanted)], request_timeout=self.timeout
            )
            for answer in asked[group].result().topic_partitions:
                if answer.error is not None:
                    raise KafkaException(answer.error)

        self._ask_coordinator(topic, commit)

    def mirror(self, group: str, topic: str, partitions: Sequence[int]) -> Mirror:
        """What a mirror group holds of these partitions.

        :raises TopicError: the group may not be read.
        :raises BrokerError: no answer in time.
        """
        committed = self._committed(group, topic, partitions)
        return Mirror({tp.partition: (tp.metadata or "", tp.offset) for tp in committed})

    def _committed(self, group: str, topic: str, partitions: Sequence[int]) -> list[TopicPartition]:
        """What a group has committed for a topic.

        The admin client is asked whether the coordinator is there and may be asked: it answers at once, where
        a consumer would wait. The offsets are read by a consumer: with librdkafka 2.16, the admin client's
        request for them ends the process if the coordinator is not there.
        """
        from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

        def describe() -> None:
            try:
                self.admin.describe_consumer_groups([group], request_timeout=self.timeout)[group].result()
            except KafkaException as err:
                if (
                    err.args[0].code() != KafkaError._UNSUPPORTED_FEATURE
                ):  # who lacks that has no rules either
                    raise

        def ask() -> list[TopicPartition]:
            wanted = [TopicPartition(topic, p) for p in partitions]
            return [tp for tp in consumer.committed(wanted, timeout=self.timeout) if tp.offset >= 0]

        self._ask_coordinator(topic, describe)
        consumer = Consumer({**self.config, "group.id": group, "enable.auto.commit": False})
        try:
            return self._ask_coordinator(topic, ask)
        finally:
            consumer.close()

    def _ask_coordinator(self, topic: str, question: Callable[[], T]) -> T:
        """Ask a group's coordinator; a broker that has just started needs a moment to become one.

        The admin client commits, not a consumer: where the group is forbidden, a consumer's commit waits for
        45 s and does not say why.
        """
        from confluent_kafka import KafkaError, KafkaException

        settling = (
            KafkaError.NOT_COORDINATOR,
            KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
            KafkaError.COORDINATOR_NOT_AVAILABLE,
        )
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                return question()
            except KafkaException as err:
                if err.args[0].code() not in settling or time.monotonic() > deadline:
                    raise self.explain(err, topic) from err
            time.sleep(0.2)


def known_offset(answer: ListOffsetsResultInfo) -> int:
    """The offset of an answer to ``list_offsets``.

    :raises KafkaException: the partition's broker did not answer: the client gives no error then, but an
        impossible offset.
    """
    from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException

    if answer.offset == OFFSET_INVALID:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the partition's leader did not answer"))
    return int(answer.offset)
