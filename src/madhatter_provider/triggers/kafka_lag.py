"""Wait for a consumer group without holding a worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from madhatter_provider.core.errors import TransientError

log = logging.getLogger(__name__)


class KafkaLagTrigger(BaseTrigger):
    """Fires when a group lags behind a topic by no more than ``max_lag`` messages.

    :param poll_interval: seconds between two looks.
    """

    def __init__(
        self, topic: str, group_id: str, max_lag: int, kafka_config_id: str, poll_interval: float
    ) -> None:
        super().__init__()
        self.topic, self.group_id, self.max_lag = topic, group_id, max_lag
        self.kafka_config_id, self.poll_interval = kafka_config_id, poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments."""
        return (
            "madhatter_provider.triggers.kafka_lag.KafkaLagTrigger",
            {
                "topic": self.topic,
                "group_id": self.group_id,
                "max_lag": self.max_lag,
                "kafka_config_id": self.kafka_config_id,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the group has caught up; a broker that is away is waited for."""
        from madhatter_provider.hooks.kafka import KafkaSliceHook

        hook = KafkaSliceHook(self.kafka_config_id)
        while True:
            try:
                lag = sum((await asyncio.to_thread(hook.lag, self.group_id, self.topic)).values())
            except TransientError as err:
                log.warning("Lag of %s on %s unknown (still trying): %s", self.group_id, self.topic, err.what)
            else:
                if lag <= self.max_lag:
                    yield TriggerEvent({"lag": lag})
                    return
            await asyncio.sleep(self.poll_interval)
