"""The watcher of a Kafka topic. Its events are hints that there is work; the truth is the position in the
asset's state.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from madhatter_provider.core.announcing import Announcer
from madhatter_provider.core.errors import MadHatterError
from madhatter_provider.core.slice_state import DAGS_KEY, lowest_position, record_key

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0


class KafkaSliceTrigger(BaseEventTrigger):
    """Emit an event when a topic has unclaimed messages.

    Use it in an ``AssetWatcher``; the DAG on that asset claims its slice with ``KafkaClaimSliceOperator`` or
    ``KafkaToSnowflakeOperator``.

    :param topic: topic to watch.
    :param kafka_config_id: connection id.
    :param min_messages: announce as soon as this many new messages are there.
    :param max_wait: seconds; announce fewer when the first of them has waited this long.
    :param reannounce_after: seconds; announce again while the position has not reached what was announced.
        A lost event heals itself after this time.
    :param poll_interval: seconds between two looks at the topic's ends.
    """

    def __init__(
        self,
        topic: str,
        kafka_config_id: str = "kafka_default",
        min_messages: int = 10_000,
        max_wait: float = 10.0,
        reannounce_after: float = 60.0,
        poll_interval: float = 0.5,
    ) -> None:
        super().__init__()
        self.topic, self.kafka_config_id = topic, kafka_config_id
        self.min_messages, self.max_wait = min_messages, max_wait
        self.reannounce_after, self.poll_interval = reannounce_after, poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments."""
        return (
            "madhatter_provider.triggers.kafka_slice.KafkaSliceTrigger",
            {
                "topic": self.topic,
                "kafka_config_id": self.kafka_config_id,
                "min_messages": self.min_messages,
                "max_wait": self.max_wait,
                "reannounce_after": self.reannounce_after,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch for ever."""
        from madhatter_provider.triggers.offset_hub import hub_for

        config = await self._usable_config()
        announcer = Announcer(self.min_messages, self.max_wait, self.reannounce_after, await self._position())
        hub = hub_for(config, self.poll_interval)
        state = hub.watch(self.topic, self.poll_interval)
        try:
            while True:
                await self._wait(state.changed, announcer.wait_seconds(time.monotonic()))
                state.changed.clear()
                if announcer.must_check(time.monotonic()):
                    announcer.checked(await self._position(), time.monotonic())
                why = announcer.observe(state.ends, time.monotonic())
                if why:
                    yield TriggerEvent(
                        {"topic": self.topic, "ends": {str(p): o for p, o in state.ends.items()}, "why": why}
                    )
        finally:
            hub.unwatch(self.topic)

    async def _usable_config(self) -> dict[str, Any]:
        """The connection's configuration. Nobody starts a watcher again that has ended: while the connection
        is missing or wrong, it says so and looks again.
        """
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return await asyncio.to_thread(self._client_config)
            except MadHatterError as err:
                log.error("Cannot watch topic %s (still trying): %s", self.topic, err)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _client_config(self) -> dict[str, Any]:
        from madhatter_provider.hooks.kafka import KafkaSliceHook

        return KafkaSliceHook(self.kafka_config_id).client_config

    async def _position(self) -> dict[int, int] | None:
        """What all DAGs on the asset have claimed; ``None`` if none has."""
        if self.asset_state_store is None:
            return None
        store: Any = self.asset_state_store
        dags = await store.aget(DAGS_KEY, [])
        return lowest_position([await store.aget(record_key(d)) for d in dags])

    @staticmethod
    async def _wait(changed: asyncio.Event, seconds: float | None) -> None:
        """Until the topic changes or something is due."""
        try:
            await asyncio.wait_for(changed.wait(), seconds)
        except TimeoutError:
            return
