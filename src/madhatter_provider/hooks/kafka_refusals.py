"""Why a broker does not let a client in.

A wrong password or an unknown authority looks like a broker that does not answer: the client tries again
until the request's time is over, and says the reason to its error callback only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from confluent_kafka import KafkaError


class Refusals:
    """Remembers the last reason that one client was given."""

    def __init__(self) -> None:
        self._last: KafkaError | None = None

    def heard_in(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration with the callback that listens; one that is there already is called too."""
        theirs = config.get("error_cb")

        def listen(error: KafkaError) -> None:
            self._hear(error)
            if theirs is not None:
                theirs(error)

        return {**config, "error_cb": listen}

    def _hear(self, error: KafkaError) -> None:
        from confluent_kafka import KafkaError as Codes

        if error.code() in (Codes._AUTHENTICATION, Codes._SSL, Codes._RESOLVE):
            self._last = error

    def cause(self, error: KafkaError, client: Any) -> KafkaError:
        """The reason behind an error of a request, or the error itself.

        :param client: the client, whose ``poll`` serves the callbacks.
        """
        from confluent_kafka import KafkaError as Codes

        if error.code() not in (Codes._TIMED_OUT, Codes._TRANSPORT, Codes._ALL_BROKERS_DOWN):
            return error
        client.poll(0)
        reason, self._last = self._last, None
        return reason or error
