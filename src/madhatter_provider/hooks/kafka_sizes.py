"""How large messages are: Kafka tells offsets, not bytes, so a few messages are read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from madhatter_provider.core.errors import BrokerError
from madhatter_provider.core.landing.batch import Batch
from madhatter_provider.core.slices.offsets import Slice
from madhatter_provider.hooks.kafka_errors import explain
from madhatter_provider.hooks.kafka_reader import FETCH_BYTES

if TYPE_CHECKING:
    from confluent_kafka import Message

SAMPLE = 200
SAMPLE_BYTES = 4 << 20
_MOST_AT_ONCE = 1_000
_CONFIG = {
    "group.id": "madhatter",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # A message less or more does not matter here, so a log that has moved on is no error.
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
    "queued.min.messages": SAMPLE,
    "queued.max.messages.kbytes": 32_768,
    "fetch.wait.max.ms": 50,
}


def sample_sizes(
    config: Mapping[str, Any], pending: Slice, *, seconds: float, where: str
) -> dict[int, float]:
    """Bytes per offset of the first messages of each partition: holes count as offsets without bytes. A
    partition that did not answer in time counts as the mean of the others.

    :param pending: what is sampled.
    :param seconds: most time that it takes.
    :raises BrokerError: no partition answered in time.
    """
    from confluent_kafka import Consumer, TopicPartition

    samples: dict[int, _Sample] = {}
    for r in pending:
        samples.setdefault(r.partition, _Sample(r.start)).end = r.end
    deadline = time.monotonic() + seconds
    shares = {"fetch.message.max.bytes": max(1, FETCH_BYTES // len(samples))}
    consumer = Consumer({**config, **_CONFIG, **shares})
    try:
        consumer.assign([TopicPartition(pending.topic, p, s.at) for p, s in samples.items()])
        while not all(s.done for s in samples.values()) and time.monotonic() < deadline:
            left = [p for p, s in samples.items() if not s.done]
            for m in consumer.consume(_MOST_AT_ONCE, timeout=0.1):
                sample = samples.get(m.partition() or 0)
                if sample is None or not sample.take(m):
                    _raise_if_hopeless(m, pending.topic, where)
            done = [TopicPartition(pending.topic, p) for p in left if samples[p].done]
            if done:
                consumer.incremental_unassign(done)
    finally:
        consumer.close()
    answered = [s for s in samples.values() if s.done or s.messages]
    if not answered:
        raise BrokerError(
            f"No message for {seconds:.0f} s: max_bytes needs the size of some",
            where=f"connection {where}, topic {pending.topic}",
            remedy="Check the broker and its partitions' leaders; the task can be retried.",
        )
    mean = sum(s.each for s in answered) / len(answered)
    return {p: s.each if s in answered else mean for p, s in samples.items()}


@dataclass(slots=True, eq=False)
class _Sample:
    """What is known of one partition: sampled from ``start`` up to ``at``."""

    start: int
    end: int = 0
    at: int = field(init=False)
    messages: int = 0
    bytes: int = 0
    done: bool = False

    def __post_init__(self) -> None:
        self.at = self.start

    @property
    def each(self) -> float:
        return self.bytes / max(1, self.at - self.start)

    def take(self, m: Message) -> bool:
        """Take in a message or the partition's end; neither of them: false."""
        from confluent_kafka import KafkaError

        error, offset = m.error(), m.offset() or 0
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            return False
        if self.done:
            return True
        if error is None:
            self.messages += 1
            self.bytes += Batch(0, [0], [0], [m.key()], [m.value()], [m.headers()]).size
            offset += 1
        self.at = max(self.at, min(offset, self.end))
        enough = self.messages >= SAMPLE or self.bytes >= SAMPLE_BYTES
        self.done = error is not None or self.at >= self.end or enough
        return True


def _raise_if_hopeless(m: Message, topic: str, where: str) -> None:
    error = m.error()
    if error is not None:
        explained = explain(error, topic, where)
        if error.fatal() or not explained.transient:
            raise explained
