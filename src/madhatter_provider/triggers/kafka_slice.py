"""The watcher of a Kafka topic. Its events are hints that there is work; the truth is the position in the
asset's state.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from madhatter_provider.core.errors import StateLostError
from madhatter_provider.core.incident import Incident
from madhatter_provider.core.slices.announcing import Announcer, claimed_by_all
from madhatter_provider.core.slices.claim_json import read_record
from madhatter_provider.core.slices.claims import ClaimRecord
from madhatter_provider.core.slices.state import DAGS_KEY, record_key
from madhatter_provider.triggers.offset_hub import hub_for
from madhatter_provider.triggers.watched_topic import WatchedTopic

log = logging.getLogger(__name__)


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
        announcer = Announcer(self.min_messages, self.max_wait, self.reannounce_after)
        hub = hub_for(self.kafka_config_id)
        with hub.watch(self.topic, self.poll_interval) as watch:
            while True:
                await watch.change(announcer.wait_seconds(time.monotonic()))
                await self._look_at_position(announcer, watch.topic, hub.state_reads)
                ends = dict(watch.topic.ends)
                why = announcer.observe(ends, time.monotonic())
                if why:
                    yield TriggerEvent(
                        {"topic": self.topic, "ends": {str(p): o for p, o in ends.items()}, "why": why}
                    )

    async def _look_at_position(
        self, announcer: Announcer, topic: WatchedTopic, slots: asyncio.Semaphore
    ) -> None:
        """Tell the announcer what is claimed, if it must know: reading that is dear."""
        epoch = topic.epoch
        if epoch is None or not any(topic.ends.values()):
            return
        if epoch != announcer.epoch:
            announcer.begin(epoch, await self._position(epoch, slots))
        elif announcer.must_check(time.monotonic()):
            announcer.checked(await self._position(epoch, slots), time.monotonic())

    async def _position(self, epoch: str, slots: asyncio.Semaphore) -> Mapping[int, int] | None:
        """What all DAGs on the asset have claimed; ``None`` if none has. While Airflow does not answer, it
        asks again: nobody could be told of an event either.
        """
        incident = Incident(f"Cannot read the position of topic {self.topic}")
        while True:
            try:
                async with slots:
                    return claimed_by_all(await self._records(), epoch)
            except StateLostError as err:
                # The claiming task says so too: it must be started.
                log.error("Position of topic %s: %s", self.topic, err)
                return None
            except AirflowRuntimeError as err:
                incident.complain(str(err), time.monotonic())
            await asyncio.sleep(incident.pause)

    async def _records(self) -> list[ClaimRecord | None]:
        if self.asset_state_store is None:
            return []
        store: Any = self.asset_state_store
        stored = [await store.aget(record_key(dag)) for dag in await store.aget(DAGS_KEY, [])]
        return [None if value is None else read_record(value) for value in stored]
