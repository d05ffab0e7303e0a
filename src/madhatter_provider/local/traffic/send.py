"""Send generated traffic to Kafka at its due time, and write down the labels.

1. Topics that do not exist are created with the contract's number of partitions.
2. A message is handed over when it is due; its delivery report tells its partition and offset.
3. Labels of bad rows, duplicates and late events are written with those coordinates as reports come in; a
   fraud case with the payments that were really delivered is written at the end, also after SIGTERM or
   Ctrl-C.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.errors import BrokerError, TopicError
from madhatter_provider.local.traffic.faults import Fault
from madhatter_provider.local.traffic.generate import STREAMS, Outgoing

if TYPE_CHECKING:
    from confluent_kafka import Message

_TIMEOUT_SECONDS = 20.0
_TICK_SECONDS = 0.02


def ensure_topics(bootstrap_servers: str, contracts: Mapping[str, Contract]) -> None:
    """Create the topics of ``contracts`` that do not exist.

    :raises BrokerError: Kafka does not answer.
    :raises TopicError: Kafka refuses a topic.
    """
    # log_level 0: that a broker is away is said once, by the error.
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    try:
        have = admin.list_topics(timeout=_TIMEOUT_SECONDS).topics
    except KafkaException as err:
        raise _no_answer(bootstrap_servers, err) from err
    missing = [NewTopic(c.topic, c.partitions, 1) for c in contracts.values() if c.topic not in have]
    for topic, future in (admin.create_topics(missing) if missing else {}).items():
        try:
            future.result(_TIMEOUT_SECONDS)
        except KafkaException as err:
            if err.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicError(
                    f"Kafka refused the topic: {err}", where=topic, remedy="Create it by hand."
                ) from err


class Sender:
    """Sends one run of traffic and keeps its labels.

    :param labels: text file for the labels, one JSON object a line.
    :param topics: topic of each stream; default: the stream's name.
    """

    def __init__(
        self, bootstrap_servers: str, labels: TextIO, topics: Mapping[str, str] | None = None
    ) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "linger.ms": 5,
                "compression.type": "lz4",
            }
        )
        self._where, self._labels, self._topics = bootstrap_servers, labels, dict(topics or {})
        self._cases: dict[str, dict[str, Any]] = {}
        self._stopped = (
            False  # a plain flag: an Event must not be set by a signal handler that may interrupt its wait
        )
        self.sent: Counter[str] = Counter()
        self.failed = 0
        self.bad: Counter[tuple[str, str]] = Counter()
        self.duplicates: Counter[str] = Counter()
        self.late: Counter[str] = Counter()

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Send nothing more; :meth:`run` returns after the outstanding reports.

        May be used as a signal handler.
        """
        self._stopped = True

    def label_faults(self, planned: Iterable[Fault], start: float) -> None:
        """Write the labels of planted faults. ``start``: Unix time of second 0."""
        for f in planned:
            times = {"from": start + f.begin, "until": start + f.end}
            self._write({"kind": "fault", "fault": f.kind, "subject": f.subject, **times})

    def run(self, messages: Iterable[Outgoing], start: float) -> None:
        """Send all messages, each ``due`` seconds after ``start`` (Unix time), and write the fraud labels.

        :raises BrokerError: Kafka did not take every message.
        """
        try:
            for message in messages:
                while (ahead := start + message.due - time.time()) > 0 and not self._stopped:
                    self._producer.poll(0)
                    time.sleep(min(ahead, _TICK_SECONDS))
                if self._stopped:
                    break
                self._send(message)
            outstanding = self._producer.flush(120)
        finally:
            for case in self._cases.values():
                self._write(case)
            self._labels.flush()
        if outstanding or self.failed:
            raise BrokerError(
                f"Kafka did not take {outstanding + self.failed} messages",
                where=self._where,
                remedy="Look at the broker's log.",
            )

    def summary(self) -> dict[str, Any]:
        """What was sent, per stream, for people and for checks."""
        bad: dict[str, dict[str, int]] = {stream: {} for stream in STREAMS}
        for (stream, defect), number in sorted(self.bad.items()):
            bad[stream][defect] = number
        return {
            "sent": {stream: self.sent[stream] for stream in STREAMS},
            "bad": bad,
            "duplicates": {stream: self.duplicates[stream] for stream in STREAMS},
            "late": {stream: self.late[stream] for stream in STREAMS},
            "fraud_cases": dict(sorted(Counter(case["fraud_kind"] for case in self._cases.values()).items())),
        }

    def _send(self, message: Outgoing) -> None:
        topic = self._topics.get(message.stream, message.stream)
        report = partial(self._delivered, message)
        while True:
            try:
                self._producer.produce(topic, message.value, message.key, on_delivery=report)
                return
            except BufferError:  # the broker is slow or away: wait for room
                self._producer.poll(0.1)

    def _delivered(self, message: Outgoing, error: KafkaError | None, report: Message) -> None:
        if error is not None:
            self.failed += 1
            return
        self.sent[message.stream] += 1
        if message.defect:
            self.bad[message.stream, message.defect] += 1
            self._write(self._coordinates("bad", message, report, defect=message.defect))
        elif message.duplicate:
            self.duplicates[message.stream] += 1
            self._write(self._coordinates("duplicate", message, report, event_id=message.event_id))
        elif message.late:
            self.late[message.stream] += 1
            self._write(self._coordinates("late", message, report, event_id=message.event_id))
        if message.case:
            case = self._cases.setdefault(
                message.case,
                {
                    "kind": "fraud",
                    "case": message.case,
                    "fraud_kind": message.fraud_kind,
                    "customer_id": message.customer_id,
                    "event_ids": [],
                },
            )
            case["event_ids"].append(message.event_id)

    def _coordinates(self, kind: str, message: Outgoing, report: Message, **more: str) -> dict[str, Any]:
        place = {"topic": report.topic(), "partition": report.partition(), "offset": report.offset()}
        return {"kind": kind, "stream": message.stream, **place, **more}

    def _write(self, label: dict[str, Any]) -> None:
        self._labels.write(msgspec.json.encode(label).decode() + "\n")


def send_traffic(sender: Sender, messages: Iterable[Outgoing], start: float) -> None:
    """Run ``sender`` in the main thread; SIGTERM and SIGINT end the traffic early but in good order."""
    before = {number: signal.signal(number, sender.stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        sender.run(messages, start)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def write_profiles(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write profiles as NDJSON, complete or not at all.

    :return: the number of profiles.
    """
    temporary = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    number = 0
    with temporary.open("wb") as out:
        for row in rows:
            out.write(msgspec.json.encode(row) + b"\n")
            number += 1
    temporary.replace(path)
    return number


def _no_answer(where: str, err: KafkaException) -> BrokerError:
    return BrokerError(f"Kafka does not answer: {err}", where=where, remedy="Start it: `madhatter local up`.")
