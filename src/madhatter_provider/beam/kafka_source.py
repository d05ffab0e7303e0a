"""Read Kafka topics for ever, in pure Python: one splittable DoFn, one restriction, one consumer.

The cost of the local runner follows the number of bundles, so all partitions of all topics share one
restriction: a vector of positions. One round of :class:`ReadTopics`:

1. The restriction's positions are committed to the consumer group: everything before them was handed on in
   earlier, finished rounds. Each commit carries the Kafka time of the last message, so that a restart knows
   how far to look back.
2. Messages are read for ``checkpoint_seconds``, claimed one by one and emitted.
3. The watermark moves: to now if nothing waits in Kafka, else to the oldest partition's last message, less a
   second each.
4. The rest is deferred (self-checkpoint): the runner ends the bundle and goes on with the next one.

A job that starts again begins ``lookback_seconds`` before the committed positions: state is rebuilt, alerts
made twice have the same id. Delivery is at least once.

:func:`drain` ends all readers of this process at the end of their round: the watermark goes to infinity,
    windows close, the pipeline ends by itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from madhatter_provider.beam.positions import Positions, PositionsTracker, Restriction, RestrictionCoder
from madhatter_provider.core.errors import BrokerError, ConfigurationError, TopicError

_LOG = logging.getLogger(__name__)
_DRAIN = threading.Event()
_MARKS: dict[str, Timestamp] = {}
_ANSWER_SECONDS = 20.0
_WATERMARK_LAG_SECONDS = 2.0
_NEW_PARTITIONS_SECONDS = 30.0
STARTS = ("earliest", "latest")


def drain() -> None:
    """End all readers of this process in good order."""
    _DRAIN.set()


def source_watermark() -> Timestamp | None:
    """The oldest watermark of this process's readers; None before there is one."""
    return min(_MARKS.values(), default=None)


@dataclass(frozen=True)
class TopicsToRead:
    """What to read, and how.

    :param start: where a partition without a committed position begins: ``earliest`` or ``latest``.
    :param lookback_seconds: how far before the committed positions a job begins.
    :param checkpoint_seconds: length of a round; longer is cheaper, shorter is quicker.
    :param config: more settings for librdkafka (security and the like).
    """

    bootstrap_servers: str
    topics: tuple[str, ...]
    group: str
    start: str = "earliest"
    lookback_seconds: float = 120.0
    checkpoint_seconds: float = 0.3
    config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.start not in STARTS or not self.topics:
            raise ConfigurationError(
                f"Cannot read {self.topics} from {self.start!r}",
                where="streaming job",
                remedy=f"Name topics, and a start of {' or '.join(STARTS)}.",
            )


class FirstPositions(RestrictionProvider):
    """Finds where to begin."""

    def initial_restriction(self, element: TopicsToRead) -> Restriction:
        """Positions of all partitions: committed ones less the look-back, else the start.

        :raises BrokerError: Kafka does not answer.
        :raises TopicError: a topic does not exist.
        """
        with _Client(element) as client:
            return Restriction(client.first_positions())

    def create_tracker(self, restriction: Restriction) -> PositionsTracker:
        return PositionsTracker(restriction)

    def restriction_size(self, element: TopicsToRead, restriction: Restriction) -> int:
        return 1

    def restriction_coder(self) -> RestrictionCoder:
        return RestrictionCoder()

    def truncate(self, element: TopicsToRead, restriction: Restriction) -> None:
        """A drain stops reading: what is not read yet is left to the next job."""


@beam.DoFn.unbounded_per_element()
class ReadTopics(beam.DoFn):
    """Emits (topic, value) with the message's Kafka time."""

    TRACKER = beam.DoFn.RestrictionParam(FirstPositions())
    WATERMARK = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider())

    def __init__(self) -> None:
        self._client: _Client | None = None

    def teardown(self) -> None:
        if self._client is not None:
            self._client.close()

    def process(
        self,
        element: TopicsToRead,
        tracker: Any = TRACKER,
        watermark: Any = WATERMARK,
    ) -> Iterator[TimestampedValue[tuple[str, bytes]]]:
        if self._client is None:
            self._client = _Client(element)
        client = self._client
        client.go_to(tracker.current_restriction().positions)
        client.commit()
        for topic, partition, offset, message in client.round():
            if not tracker.try_claim((topic, partition, offset)):
                client.forget()
                return
            client.passed(topic, partition, offset, message)
            if message is not None:
                yield TimestampedValue((topic, message.value() or b""), message.timestamp()[1] / 1000)
        reached, before = client.event_time(), watermark.current_watermark()
        if reached is not None:
            mark = Timestamp.of(reached - _WATERMARK_LAG_SECONDS)
            watermark.set_watermark(mark if before is None else max(before, mark))
            _MARKS[element.group] = watermark.current_watermark()
        if _DRAIN.is_set():
            client.commit(final=True)
            tracker.try_claim(PositionsTracker.CLOSE)
        else:
            tracker.defer_remainder(Duration(0))


class _Client:
    """A consumer with its place in every partition."""

    def __init__(self, wanted: TopicsToRead) -> None:
        from confluent_kafka import Consumer, KafkaError

        self._wanted = wanted
        self._consumer: Any = Consumer(
            {
                **wanted.config,
                "bootstrap.servers": wanted.bootstrap_servers,
                "group.id": wanted.group,
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                # Few large fetches instead of one per message: at most a third of a round is spent waiting
                # for more.
                "fetch.min.bytes": 100_000,
                "fetch.wait.max.ms": max(10, int(wanted.checkpoint_seconds * 1000 / 3)),
            }
        )
        self._hopeless = (
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.UNKNOWN_TOPIC_OR_PART,
            KafkaError._AUTHENTICATION,
        )
        self._next: Positions = {}
        self._times: dict[tuple[str, int], int] = {}
        self._committed: Positions = {}
        self._commit_at = 0.0
        self._look_at = time.monotonic() + _NEW_PARTITIONS_SECONDS

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._consumer.close()

    def first_positions(self) -> Positions:
        """Where to begin; asks again for a while, since a broker that was just started knows no
        coordinator yet.
        """
        from confluent_kafka import KafkaException

        until = time.monotonic() + _ANSWER_SECONDS
        while True:
            try:
                return self._ask_first_positions()
            except KafkaException as err:
                if time.monotonic() > until:
                    raise BrokerError(
                        f"Kafka does not say where to begin: {err}",
                        where=self._wanted.bootstrap_servers,
                        remedy="Is it up?",
                    ) from err
                time.sleep(0.5)

    def _ask_first_positions(self) -> Positions:
        from confluent_kafka import TopicPartition

        wanted = [TopicPartition(t, p) for t in self._wanted.topics for p in self._partitions(t)]
        positions: Positions = {}
        for place in self._consumer.committed(wanted, timeout=_ANSWER_SECONDS):
            low, high = self._consumer.get_watermark_offsets(place, timeout=_ANSWER_SECONDS)
            start = low if self._wanted.start == "earliest" else high
            begin = self._looked_back(place) if place.offset >= 0 else start
            positions[place.topic, place.partition] = min(max(begin, low), high)
        return positions

    def _partitions(self, topic: str) -> Iterable[int]:
        metadata = self._consumer.list_topics(topic, timeout=_ANSWER_SECONDS).topics[topic]
        if metadata.error is not None:
            raise TopicError(
                f"Cannot read the topic: {metadata.error}", where=topic, remedy="Create it first."
            )
        return sorted(metadata.partitions)

    def _looked_back(self, place: Any) -> int:
        from confluent_kafka import TopicPartition

        if not self._wanted.lookback_seconds or not (place.metadata or "").isdigit():
            return int(place.offset)
        since = int(place.metadata) - int(self._wanted.lookback_seconds * 1000)
        asked = TopicPartition(place.topic, place.partition, max(0, since))
        found = self._consumer.offsets_for_times([asked], timeout=_ANSWER_SECONDS)[0].offset
        return min(int(found), int(place.offset)) if found >= 0 else int(place.offset)

    def go_to(self, positions: Positions) -> None:
        """Read on from ``positions``, and from the beginning of partitions made since."""
        if any(self._next.get(place) != offset for place, offset in positions.items()):
            self._next = dict(positions)
            self._assign()
        if time.monotonic() > self._look_at:
            self._look_at = time.monotonic() + _NEW_PARTITIONS_SECONDS
            self._add_new_partitions()

    def _add_new_partitions(self) -> None:
        from confluent_kafka import KafkaException

        try:
            known = {(topic, p) for topic in self._wanted.topics for p in self._partitions(topic)}
        except KafkaException as err:  # it is not urgent
            _LOG.warning("Kafka does not say whether there are new partitions: %s", err)
            return
        new = known - self._next.keys()
        if new:
            self._next.update(dict.fromkeys(new, 0))
            self._assign()

    def forget(self) -> None:
        """The next :meth:`go_to` must seek."""
        self._next = {}

    def commit(self, *, final: bool = False) -> None:
        """Commit the positions, at most once a second unless it is the last time.

        A failed commit is only a longer replay.
        """
        from confluent_kafka import KafkaException, TopicPartition

        moved = {
            place: offset
            for place, offset in self._next.items()
            if self._committed.get(place) != offset and place in self._times
        }
        if not moved or (not final and time.monotonic() < self._commit_at):
            return
        self._commit_at = time.monotonic() + 1.0
        places = [TopicPartition(t, p, offset, str(self._times[t, p])) for (t, p), offset in moved.items()]
        try:
            self._consumer.commit(offsets=places, asynchronous=not final)
            self._committed.update(moved)
        except KafkaException as err:
            _LOG.warning("Positions were not committed: %s", err)

    def round(self) -> Iterator[tuple[str, int, int, Any]]:
        """Topic, partition, offset and message of one round; no message where retention overran the
        position.
        """
        from confluent_kafka import KafkaError

        for message in self._consumer.consume(5000, self._wanted.checkpoint_seconds):
            topic, partition, error = message.topic(), message.partition(), message.error()
            if error is None:
                yield topic, partition, message.offset(), message
            elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                yield topic, partition, self._first_left(topic, partition) - 1, None
                self._assign()
            elif error.fatal() or error.code() in self._hopeless:
                raise BrokerError(
                    f"Kafka refuses to be read: {error}", where=topic or "", remedy="Look at its log."
                )
            else:  # a broker that is away comes back, and the client with it
                _LOG.warning("Kafka: %s", error)

    def passed(self, topic: str, partition: int, offset: int, message: Any) -> None:
        """Note that everything up to ``offset`` was handed on."""
        self._next[topic, partition] = offset + 1
        if message is not None:
            self._times[topic, partition] = message.timestamp()[1]

    def event_time(self) -> float | None:
        """Unix time up to which everything was read: now, or the last message of the partition furthest
        behind.

        None while a partition with unread messages, or of unknown length, has given nothing yet.
        """
        from confluent_kafka import TopicPartition

        reached = time.time()
        for (topic, partition), offset in self._next.items():
            high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)[1]
            if 0 <= high <= offset:
                continue
            last = self._times.get((topic, partition))
            if last is None:
                return None
            reached = min(reached, last / 1000)
        return reached

    def _first_left(self, topic: str, partition: int) -> int:
        from confluent_kafka import TopicPartition

        low, _ = self._consumer.get_watermark_offsets(
            TopicPartition(topic, partition), timeout=_ANSWER_SECONDS
        )
        _LOG.error("Messages are gone: %s[%d] %d to %d", topic, partition, self._next[topic, partition], low)
        return int(low)

    def _assign(self) -> None:
        from confluent_kafka import TopicPartition

        self._consumer.assign([TopicPartition(t, p, offset) for (t, p), offset in self._next.items()])
