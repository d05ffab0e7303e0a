"""Kafka as slices need it: bounds of a topic, the messages of a slice, the mirrored position.

The connection is the official one (type ``kafka``); its extra is the confluent-kafka configuration.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.apache.kafka.hooks.base import KafkaBaseHook

from madhatter_provider.core.claims import TopicBounds
from madhatter_provider.core.errors import (
    BrokerError,
    ConfigurationError,
    LostRangeError,
    MadHatterError,
    TopicError,
)
from madhatter_provider.core.landing import Batch
from madhatter_provider.core.offsets import OffsetRange, Slice
from madhatter_provider.core.topic_epoch import TopicEpoch, describe_topic

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError
    from confluent_kafka.admin import AdminClient

# librdkafka's defaults leave the reader idle most of the time: 215k messages a second against 861k with these
# (134-byte messages, one local broker).
READER_DEFAULTS = {
    "queued.min.messages": 200_000,
    "queued.max.messages.kbytes": 262_144,
    "fetch.message.max.bytes": 8_388_608,
    "fetch.wait.max.ms": 50,
    "check.crcs": False,
}
# Not negotiable: with any other value of these a slice could lose messages or read uncommitted ones.
READER_FIXED = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
}
# consume() waits this long for a full batch, so it is what a small slice waits.
CONSUME_SECONDS = 0.05
_CLIENT_KEYS_OF_CONSUMERS = ("group.id", "auto.offset.reset", "enable.auto.commit")


class KafkaSliceHook(KafkaBaseHook):
    """Reads bounds and slices.

    :param kafka_config_id: connection id.
    :param timeout: seconds for one request to the broker.
    """

    def __init__(self, kafka_config_id: str = "kafka_default", timeout: float = 15.0) -> None:
        super().__init__(kafka_config_id=kafka_config_id)
        self.timeout = timeout

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

        return AdminClient(self.client_config)

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
            starts, ends = ({tp.partition: f.result().offset for tp, f in answer.items()} for answer in asked)
        except KafkaException as err:
            raise explain(err.args[0], topic, self._place) from err
        return TopicBounds(topic, described.id, starts, ends)

    def _describe(self, topic: str) -> TopicEpoch:
        from confluent_kafka import KafkaException

        try:
            return describe_topic(self.admin, topic, self.timeout)
        except KafkaException as err:
            raise explain(err.args[0], topic, self._place) from err

    def offsets_at(self, topic: str, partitions: Sequence[int], timestamp_ms: int) -> dict[int, int]:
        """First offset at or after a time, per partition; the end where there is none."""
        from confluent_kafka import KafkaException, TopicPartition
        from confluent_kafka.admin import OffsetSpec

        wanted = {TopicPartition(topic, p): OffsetSpec.for_timestamp(timestamp_ms) for p in partitions}
        try:
            found = {tp.partition: f.result().offset for tp, f in self.admin.list_offsets(wanted).items()}
        except KafkaException as err:
            raise explain(err.args[0], topic, self._place) from err
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
        from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException

        bounds = self.bounds(topic)
        try:
            asked = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
            found = next(iter(asked.values())).result(self.timeout).topic_partitions
        except KafkaException as err:
            raise explain(err.args[0], topic, self._place) from err
        committed = {tp.partition: tp.offset for tp in found if tp.topic == topic and tp.offset >= 0}
        return {p: max(0, end - max(committed.get(p, 0), bounds.starts[p])) for p, end in bounds.ends.items()}

    def mirror_position(self, group: str, topic: str, topic_id: str, position: Mapping[int, int]) -> None:
        """Commit the position to a consumer group: lag tools see it, and it outlives Airflow's state."""
        from confluent_kafka import TopicPartition

        offsets = [TopicPartition(topic, p, o, metadata=topic_id) for p, o in position.items()]
        self._ask_coordinator(group, topic, lambda c: c.commit(offsets=offsets, asynchronous=False))

    def mirrored_position(
        self, group: str, topic: str, topic_id: str, partitions: Sequence[int]
    ) -> dict[int, int]:
        """The position mirrored for this epoch of the topic; empty if there is none."""
        from confluent_kafka import TopicPartition

        wanted = [TopicPartition(topic, p) for p in partitions]
        committed = self._ask_coordinator(group, topic, lambda c: c.committed(wanted, timeout=self.timeout))
        return {tp.partition: tp.offset for tp in committed if tp.offset >= 0 and tp.metadata == topic_id}

    def _ask_coordinator(self, group: str, topic: str, question: Callable[[Consumer], Any]) -> Any:
        """Ask the group's coordinator; a broker that has just started needs a moment to become one."""
        from confluent_kafka import Consumer, KafkaError, KafkaException

        settling = (
            KafkaError.NOT_COORDINATOR,
            KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
            KafkaError.COORDINATOR_NOT_AVAILABLE,
        )
        consumer = Consumer({**self.config, "group.id": group, "enable.auto.commit": False})
        deadline = time.monotonic() + self.timeout
        try:
            while True:
                try:
                    return question(consumer)
                except KafkaException as err:
                    if err.args[0].code() not in settling or time.monotonic() > deadline:
                        raise explain(err.args[0], topic, self._place) from err
                time.sleep(0.2)
        finally:
            consumer.close()


def read_slice(
    config: Mapping[str, Any], owned: Slice, *, batch: int, stall_seconds: float, where: str
) -> Iterator[Batch]:
    """See :meth:`KafkaSliceHook.read`."""
    from confluent_kafka import Consumer, TopicPartition

    for ranges in _layers(owned):
        consumer = Consumer({**READER_DEFAULTS, "group.id": "madhatter", **config, **READER_FIXED})
        try:
            consumer.assign([TopicPartition(owned.topic, r.partition, r.start) for r in ranges.values()])
            yield from _drain(consumer, owned.topic, ranges, batch, stall_seconds, where)
        finally:
            consumer.close()


def _layers(owned: Slice) -> Iterator[dict[int, OffsetRange]]:
    """Rounds with one range per partition each: a consumer reads one place of a partition at a time."""
    left = list(owned)
    while left:
        layer: dict[int, OffsetRange] = {}
        for r in left:
            layer.setdefault(r.partition, r)
        left = [r for r in left if layer[r.partition] is not r]
        yield layer


def _drain(
    consumer: Consumer,
    topic: str,
    ranges: dict[int, OffsetRange],
    batch: int,
    stall_seconds: float,
    where: str,
) -> Iterator[Batch]:
    from confluent_kafka import TopicPartition

    unfinished, alive = dict(ranges), time.monotonic()
    while unfinished:
        arrived = consumer.consume(batch, timeout=CONSUME_SECONDS)
        batches, reached = _sort(arrived, topic, unfinished, where)
        for partition, offset in reached.items():
            mine = unfinished.get(partition)
            if mine is not None and offset >= mine.end:
                del unfinished[partition]
                consumer.incremental_unassign([TopicPartition(topic, partition)])
        yield from batches
        if arrived:
            alive = time.monotonic()
        elif time.monotonic() - alive > stall_seconds:
            raise BrokerError(
                f"No message for {stall_seconds:.0f} s, {len(unfinished)} ranges unfinished",
                where=f"connection {where}, topic {topic} {' '.join(map(str, unfinished.values()))}",
                remedy="Check the broker and its partitions' leaders; the task can be retried.",
            )


def _sort(
    arrived: Sequence[Any], topic: str, wanted: Mapping[int, OffsetRange], where: str
) -> tuple[list[Batch], dict[int, int]]:
    """Messages of the ranges by partition, and the offset up to which each partition is known."""
    from confluent_kafka import KafkaError

    by_partition: dict[int, list[Any]] = {}
    reached: dict[int, int] = {}
    for m in arrived:
        error, partition = m.error(), m.partition()
        if error is None:
            by_partition.setdefault(partition, []).append(m)
        elif error.code() == KafkaError._PARTITION_EOF:
            reached[partition] = m.offset()
        else:
            _raise_unless_retriable(error, topic, wanted.get(partition), where)
    batches = []
    for partition, messages in by_partition.items():
        mine = wanted.get(partition)
        if mine is None:
            continue
        reached[partition] = max(reached.get(partition, 0), messages[-1].offset() + 1)
        batch = Batch(
            partition,
            [m.offset() for m in messages],
            [m.timestamp()[1] for m in messages],
            [m.key() for m in messages],
            [m.value() for m in messages],
            [m.headers() for m in messages],
        )
        batches.append(batch.cut(batch.before(mine.end)))
    return batches, reached


def _raise_unless_retriable(error: KafkaError, topic: str, mine: OffsetRange | None, where: str) -> None:
    from confluent_kafka import KafkaError as Codes

    if error.code() in (Codes._AUTO_OFFSET_RESET, Codes.OFFSET_OUT_OF_RANGE):
        raise LostRangeError(
            "Messages of this slice are gone from the broker",
            where=f"topic {topic} {mine}",
            remedy="Retention was shorter than the run's delay; replay from landing files, if any.",
        )
    explained = explain(error, topic, where)
    if error.fatal() or not explained.transient:
        raise explained


def explain(error: KafkaError, topic: str, where: str) -> MadHatterError:
    """Map a Kafka error to this package's tree.

    :param where: connection id and address.
    """
    from confluent_kafka import KafkaError as Codes

    place = f"connection {where}, topic {topic}"
    if error.code() in (Codes.UNKNOWN_TOPIC_OR_PART, Codes._UNKNOWN_TOPIC, Codes._UNKNOWN_PARTITION):
        return TopicError(
            f"The topic does not exist: {error.str()}", where=place, remedy="Create it, or mend its name."
        )
    if error.code() in (
        Codes.TOPIC_AUTHORIZATION_FAILED,
        Codes.GROUP_AUTHORIZATION_FAILED,
        Codes.CLUSTER_AUTHORIZATION_FAILED,
    ):
        return TopicError(
            f"Kafka refuses access: {error.str()}",
            where=place,
            remedy="Grant DESCRIBE and READ on the topic to the connection's principal.",
        )
    if error.code() in (
        Codes._AUTHENTICATION,
        Codes.SASL_AUTHENTICATION_FAILED,
        Codes._SSL,
        Codes._INVALID_ARG,
    ):
        return ConfigurationError(
            f"Kafka does not accept this connection: {error.str()}",
            where=place,
            remedy="Check security.protocol, sasl.* and ssl.* in the connection's extra.",
        )
    return BrokerError(
        f"Kafka: {error.str()}",
        where=place,
        remedy="Check that the broker runs and is reachable; the task can be retried.",
    )
