"""What Kafka's errors mean to a person, in this package's tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from madhatter_provider.core.errors import BrokerError, ConfigurationError, MadHatterError, TopicError

if TYPE_CHECKING:
    from confluent_kafka import KafkaError


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
    if error.code() == Codes.GROUP_AUTHORIZATION_FAILED:
        return TopicError(
            f"Kafka refuses access: {error.str()}",
            where=place,
            remedy="Grant READ on the consumer group to the connection's principal.",
        )
    if error.code() in (Codes.TOPIC_AUTHORIZATION_FAILED, Codes.CLUSTER_AUTHORIZATION_FAILED):
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
