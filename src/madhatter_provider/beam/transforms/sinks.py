"""Where results go:

Kafka topics, Pub/Sub, files. A bundle ends only when everything it wrote was acknowledged.
"""

# Beam reads annotations at run time, so their evaluation is not postponed in this module.
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import apache_beam as beam
import msgspec

from madhatter_provider.core.errors import BrokerError, TransientError
from madhatter_provider.core.fraud.alerts import Alert

# A broker that restarts in between is waited for.
_SECONDS = 60.0


class WriteTopic(beam.DoFn):
    """Writes (key or None, value) to a Kafka topic and passes nothing on."""

    def __init__(self, bootstrap_servers: str, topic: str, config: Mapping[str, Any] | None = None) -> None:
        self._servers, self._topic, self._config = bootstrap_servers, topic, dict(config or {})
        self._producer: Any = None
        self._refused: list[str] = []

    def setup(self) -> None:
        from confluent_kafka import Producer

        settings = {
            "bootstrap.servers": self._servers,
            "enable.idempotence": True,
            "linger.ms": 2,
            "compression.type": "lz4",
        }
        self._producer = Producer({**self._config, **settings})

    def process(self, element: tuple[bytes | None, bytes]) -> None:
        self._producer.produce(self._topic, element[1], element[0], on_delivery=self._delivered)
        self._producer.poll(0)

    def finish_bundle(self) -> None:
        """Wait for the acknowledgements.

        :raises BrokerError: not all came in time: the bundle is done again.
        """
        waiting = self._producer.flush(_SECONDS) if len(self._producer) else 0
        if waiting or self._refused:
            reasons = (
                ", ".join(sorted(set(self._refused))) or f"{waiting} not acknowledged in {_SECONDS:.0f} s"
            )
            self._refused.clear()
            raise BrokerError(
                f"Kafka did not take messages: {reasons}", where=self._topic, remedy="Look at its log."
            )

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._refused.append(str(error))


class PublishAlerts(beam.DoFn):
    """Publishes alerts to Pub/Sub as CloudEvents, in order per customer, and passes them on.

    :param topic: ``projects/<project>/topics/<topic>``. ``PUBSUB_EMULATOR_HOST`` leads to the emulator.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._client: Any = None
        self._sent: list[Future[str]] = []

    def setup(self) -> None:
        from google.cloud.pubsub_v1 import PublisherClient
        from google.cloud.pubsub_v1.types import BatchSettings, PublisherOptions

        self._client = PublisherClient(
            batch_settings=BatchSettings(max_latency=0.005),
            publisher_options=PublisherOptions(enable_message_ordering=True),
        )

    def process(self, element: Alert) -> list[Alert]:
        self._sent.append(
            self._client.publish(
                self._topic, element.to_json(), ordering_key=element.customer_id, **element.attributes()
            )
        )
        return [element]

    def finish_bundle(self) -> None:
        """Wait for the message ids.

        :raises TransientError: Pub/Sub refused a message or did not answer: the bundle is done again.
        """
        from google.api_core.exceptions import GoogleAPIError

        sent, self._sent = self._sent, []
        try:
            for future in sent:
                future.result(_SECONDS)
        except (GoogleAPIError, TimeoutError) as err:
            raise TransientError(
                f"Pub/Sub did not take an alert: {err}",
                where=self._topic,
                remedy="Does the topic exist? Is the service up?",
            ) from err

    def teardown(self) -> None:
        if self._client is not None:
            self._client.stop()


def alert_message(alert: Alert) -> tuple[bytes, bytes]:
    """Key and value of an alert on Kafka."""
    return alert.customer_id.encode(), alert.to_json()


def unkeyed(value: bytes) -> tuple[None, bytes]:
    """A message without a key."""
    return None, value


def alert_line(alert: Alert) -> str:
    """A line of an NDJSON file."""
    return msgspec.json.encode(msgspec.json.decode(alert.to_json())).decode()
