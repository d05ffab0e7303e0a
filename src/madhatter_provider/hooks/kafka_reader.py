"""Read the messages of a slice: with ``assign()``, never as a member of a group.

Memory is bounded whatever the slice's size, its number of partitions and the size of its messages: what the
client queues, what one call takes from the queue, and how many ranges are read at a time: ``WIDE`` until
``WIDE_BYTES`` of unfinished ones have been read, for whoever writes them holds a part of each; from then on,
``NARROW``.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

from madhatter_provider.core.errors import BrokerError, LostRangeError
from madhatter_provider.core.landing.batch import Batch
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.hooks.kafka_errors import explain

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError

# librdkafka's defaults leave the reader idle most of the time: 215k messages a second against 861k with these
# (134-byte messages, one local broker). They also bound its memory: the bytes queued, and the number of
# messages queued, each of which costs some 300 bytes more than its content.
READER_DEFAULTS = {
    "queued.max.messages.kbytes": 32_768,
    "fetch.wait.max.ms": 50,
    "fetch.queue.backoff.ms": 5,  # a full queue is looked at again after this long, not after a second
    "check.crcs": False,
}
QUEUED_MESSAGES = 200_000
# Most that a broker sends at a time. The client looks at the length of its queue before it asks, not when it
# unpacks what came; and this counts compressed bytes, which lz4 can make 250 times as many.
FETCH_BYTES = 256 << 10
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
CONSUME_BYTES = 8 << 20
WIDE, NARROW = 8, 4
WIDE_BYTES = 32 << 20
WIDE_MESSAGES = 200_000


def reader_config(config: Mapping[str, Any], partitions: int) -> dict[str, Any]:
    """Configuration of a client that reads so many partitions; the connection's own settings come first,
    except for those that no slice can do without.
    """
    at_once = min(partitions, WIDE)
    shares = {
        "queued.min.messages": max(1_000, QUEUED_MESSAGES // at_once),
        "fetch.message.max.bytes": FETCH_BYTES // at_once,
    }
    return {**READER_DEFAULTS, **shares, "group.id": "madhatter", **config, **READER_FIXED}


def read_slice(
    config: Mapping[str, Any], owned: Slice, *, batch: int, stall_seconds: float, where: str
) -> Iterator[Batch]:
    """See :meth:`KafkaSliceHook.read`."""
    from confluent_kafka import Consumer

    if not len(owned):
        return
    consumer = Consumer(reader_config(config, len(owned.partitions)))
    try:
        yield from _Reading(consumer, owned.topic, deque(owned), batch, stall_seconds, where).batches()
    finally:
        consumer.close()


@dataclass(slots=True)
class _Reading:
    """One pass over a slice.

    ``waiting`` are the ranges, or what is left of them, that are not being read; ``active`` those that are,
    one of each partition; ``held`` the bytes and messages read of each unfinished range; ``taken`` the bytes
    that arrived last.
    """

    consumer: Consumer
    topic: str
    waiting: deque[OffsetRange]
    batch: int
    stall_seconds: float
    where: str
    active: dict[int, OffsetRange] = field(default_factory=dict)
    held: dict[int, tuple[int, int]] = field(default_factory=dict)
    narrow: bool = False
    taken: int = 0

    def batches(self) -> Iterator[Batch]:
        self._fill()
        alive, take = time.monotonic(), min(self.batch, 256)
        while self.active:
            arrived = self.consumer.consume(take, timeout=CONSUME_SECONDS)
            self.taken = 0
            yield from self._sort(arrived)
            if arrived:
                take = max(1, min(self.batch, CONSUME_BYTES * len(arrived) // max(self.taken, 1)))
                alive = time.monotonic()  # whoever writes the messages may have taken long
            elif time.monotonic() - alive > self.stall_seconds:
                raise self._stalled()

    def _sort(self, arrived: Sequence[Any]) -> Iterator[Batch]:
        """Messages of the ranges by partition; a range that has ended says so."""
        from confluent_kafka import Message

        ends: dict[int, int] = {}
        if any(map(Message.error, arrived)):
            ends = self._ends(arrived)
            arrived = [m for m in arrived if m.error() is None]
        for partition, run in groupby(arrived, cast(Callable[[Any], int], Message.partition)):
            if partition in self.active:
                yield self._take(partition, list(run))
        for partition, end in ends.items():
            mine = self.active.get(partition)
            if mine is not None and end >= mine.end:
                yield self._end(Batch(partition))
        if not self.narrow and self._too_much():
            self._narrow_down()
        # Only now: what else arrived of a partition whose range has ended belongs to no range.
        self._fill()

    def _take(self, partition: int, messages: Sequence[Any]) -> Batch:
        from confluent_kafka import Message

        mine = self.active[partition]
        offsets: list[Any] = list(map(Message.offset, messages))
        batch = Batch(
            partition,
            offsets,
            [t for _, t in map(Message.timestamp, messages)],
            list(map(Message.key, messages)),
            list(map(Message.value, messages)),
            list(map(Message.headers, messages)),
        )
        size, reached = batch.size, batch.offsets[-1] + 1
        self.taken += size
        if reached >= mine.end:
            return self._end(batch.cut(batch.before(mine.end)))
        self.active[partition] = OffsetRange(partition, reached, mine.end)
        held, n = self.held.get(partition, (0, 0))
        self.held[partition] = (held + size, n + len(batch))
        return batch

    def _end(self, last: Batch) -> Batch:
        """A range has ended."""
        del self.active[last.partition]
        self.held.pop(last.partition, None)
        self._unassign([last.partition])
        last.ended = True
        return last

    def _ends(self, arrived: Sequence[Any]) -> dict[int, int]:
        """Ends of partitions that were met.

        :raises MadHatterError: reading on cannot help.
        """
        from confluent_kafka import KafkaError

        ends = {}
        for m in arrived:
            error = m.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                ends[m.partition()] = m.offset()
            elif error is not None:
                _raise_unless_retriable(error, self.topic, self.active.get(m.partition()), self.where)
        return ends

    def _fill(self) -> None:
        """Begin with waiting ranges, in their order, as many as may be read at a time."""
        from confluent_kafka import TopicPartition

        begun, left = [], deque[OffsetRange]()
        for r in self.waiting:
            if r.partition in self.active or len(self.active) >= (NARROW if self.narrow else WIDE):
                left.append(r)
            else:
                self.active[r.partition] = r
                begun.append(TopicPartition(self.topic, r.partition, r.start))
        self.waiting = left
        if begun:
            self.consumer.incremental_assign(begun)

    def _too_much(self) -> bool:
        size = sum(size for size, _ in self.held.values())
        return size > WIDE_BYTES or sum(n for _, n in self.held.values()) > WIDE_MESSAGES

    def _narrow_down(self) -> None:
        """Go on with a few ranges; the others wait where they are."""
        self.narrow = True
        stopped = sorted(self.active)[NARROW:]
        self.waiting.extendleft(self.active.pop(partition) for partition in reversed(stopped))
        self._unassign(stopped)

    def _unassign(self, partitions: Sequence[int]) -> None:
        from confluent_kafka import TopicPartition

        if partitions:
            self.consumer.incremental_unassign([TopicPartition(self.topic, p) for p in partitions])

    def _stalled(self) -> BrokerError:
        left = " ".join(map(str, [*self.active.values(), *self.waiting]))
        return BrokerError(
            f"No message for {self.stall_seconds:.0f} s, {len(self.active)} ranges unfinished",
            where=f"connection {self.where}, topic {self.topic} {left[:300]}",
            remedy="Check the broker and its partitions' leaders; the task can be retried.",
        )


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
