"""Which topic this is: its id, which changes when the topic is deleted and created again, and its partitions.

Brokers without topic ids (Kafka before 2.8, some that only speak its protocol) get a constant in its place.
There a topic that was created again is not recognised: its offsets are taken for those of its predecessor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient, TopicDescription

_NO_ID = "A" * 22  # sixteen zero bytes in base64


@dataclass(frozen=True, slots=True)
class TopicEpoch:
    """A topic as it is now. ``id`` is the broker's topic id, or ``unversioned.<topic>`` where it has none."""

    id: str
    partitions: tuple[int, ...]


def describe_topic(admin: AdminClient, topic: str, timeout: float) -> TopicEpoch:
    """Ask the broker.

    :param timeout: seconds for the request.
    :raises KafkaException: the topic does not exist, may not be described, or no answer came in time.
    """
    from confluent_kafka import TopicCollection

    asked = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout)
    return epoch_of(topic, asked[topic].result())


def epoch_of(topic: str, description: TopicDescription) -> TopicEpoch:
    """The epoch that a description tells."""
    known = str(description.topic_id)
    # With the topic's name in it: rows of several topics are told apart by this id alone.
    ident = f"unversioned.{topic}" if known == _NO_ID else known
    return TopicEpoch(ident, tuple(sorted(p.id for p in description.partitions)))
