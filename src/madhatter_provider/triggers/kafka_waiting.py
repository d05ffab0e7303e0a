"""Look at Kafka again and again without holding a worker, until something is so."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from madhatter_provider.core.errors import MadHatterError, TransientError
from madhatter_provider.core.incident import Incident

log = logging.getLogger(__name__)


class KafkaWaitingTrigger(BaseTrigger):
    """Base of triggers that look in a thread until :meth:`look` gives an answer.

    What a retry can mend is waited for; any other error ends the wait and is raised by the task.

    :param kafka_config_id: connection id of Kafka.
    :param poll_interval: seconds between two looks.
    """

    def __init__(self, kafka_config_id: str, poll_interval: float) -> None:
        super().__init__()
        self.kafka_config_id, self.poll_interval = kafka_config_id, poll_interval

    @abstractmethod
    def look(self) -> dict[str, Any] | None:
        """What the task is told when the wait is over; ``None`` while it is not. May block."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: the answer, or the error that the task is to raise."""
        incident = Incident(f"{type(self).__name__}: no answer")
        while True:
            try:
                answer = await asyncio.to_thread(self.look)
            except TransientError as err:
                incident.complain(str(err), time.monotonic())
            except MadHatterError as err:
                kind, what, where, remedy = type(err).__name__, err.what, err.where, err.remedy
                yield TriggerEvent({"error": kind, "what": what, "where": where, "remedy": remedy})
                return
            else:
                incident.over()
                if answer is not None:
                    yield TriggerEvent(answer)
                    return
            await asyncio.sleep(max(self.poll_interval, incident.pause))
