"""Send messages to a topic, each acknowledged by all replicas, none twice by a resend.

The official ``ProduceToTopicOperator`` logs a message that was not delivered and goes on; here that is an
error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from madhatter_provider.core.errors import BrokerError
from madhatter_provider.hooks.kafka import KafkaSliceHook

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

    OnDelivery = Callable[[KafkaError | None, Message], None]


class KafkaPublishHook(KafkaSliceHook):
    """Sends messages with an idempotent producer.

    :param kafka_config_id: connection id.
    :param timeout: seconds that a message may take to be acknowledged.
    """

    def publish(self, topic: str, messages: Iterable[tuple[str, str]]) -> int:
        """Send messages (key, value) and wait until all of them are acknowledged; their number.

        :raises TopicError: the topic does not exist or may not be written.
        :raises BrokerError: the broker did not take all of them; some may have been taken.
        """
        from confluent_kafka import KafkaException, Producer

        self._describe(topic)  # the producer would wait half a minute for a topic that is not there
        # librdkafka's producer waits this long for the broker and then gives the message back.
        limits = {"enable.idempotence": True, "message.timeout.ms": int(self.timeout * 1000)}
        producer = Producer({**self.client_config, **limits})
        refused: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                refused.append(error)

        sent = 0
        for key, value in messages:
            while not _queued(producer, topic, key, value, delivered):
                producer.poll(1)
            producer.poll(0)
            sent += 1
        left = producer.flush(self.timeout + 5)
        if refused:
            raise self.explain(KafkaException(refused[0]), topic)
        if left:
            raise BrokerError(
                f"{left} of {sent} messages were not acknowledged",
                where=f"topic {topic}",
                remedy="Is the broker reachable? Try again.",
            )
        return sent


def _queued(producer: Producer, topic: str, key: str, value: str, delivered: OnDelivery) -> bool:
    """Hand a message to the producer; not while its queue is full."""
    try:
        producer.produce(topic, value, key, on_delivery=delivered)
    except BufferError:
        return False
    return True
