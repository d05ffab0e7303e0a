"""The ends of the topics of many streams, with what could not be asked left out."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from madhatter_provider.core.errors import BrokerError, MadHatterError
from madhatter_provider.core.operations.topic_ends import TopicEnd
from madhatter_provider.hooks.topic_ends import TopicEndsReader

log = logging.getLogger(__name__)


def stream_ends(topics: Mapping[str, str], kafka_config_id: str) -> list[TopicEnd]:
    """Last stable offsets of every partition.

    What Kafka does not tell is logged and left out: the check ``broker`` measures how old the last answer is.

    :param topics: topic by stream.
    :raises ConfigurationError: the connection is missing or wrong.
    """
    reader = TopicEndsReader(kafka_config_id)
    reader.reconnect()
    try:
        layouts = reader.describe(sorted(set(topics.values())))
        asked = {
            topic: found.led for topic, found in layouts.items() if not isinstance(found, MadHatterError)
        }
        answers = reader.ends(asked) if asked else {}
    except BrokerError as err:
        log.warning("No ends of topics: %s", err.what)
        return []
    ends = []
    for stream, topic in topics.items():
        layout = layouts[topic]
        if isinstance(layout, MadHatterError):
            log.warning("No end of %s: %s", topic, layout.what)
            continue
        ends += [TopicEnd(stream, layout.epoch, p, end) for p, end in sorted(answers[topic].offsets.items())]
    return ends
