"""One poller per process and connection, shared by every slice trigger.

A single ``AdminClient`` asks for the last stable offsets of all watched topics in one batched request per
poll, in a worker thread; a waiting trigger is woken only when its topic has changed. No consumer, and no
message is ever read here. Errors are per partition and never end the poller.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

log = logging.getLogger(__name__)

METADATA_SECONDS = 30.0
MAX_BACKOFF_SECONDS = 30.0
REQUEST_SECONDS = 10.0
COMPLAIN_SECONDS = 60.0


@dataclass(slots=True)
class TopicEnds:
    """Last stable offsets of one topic. ``version`` grows with every change; ``error`` is why nothing is
    known (or newer).
    """

    ends: dict[int, int] = field(default_factory=dict)
    version: int = 0
    watchers: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    error: str | None = None
    complained: float = 0.0


class OffsetHub:
    """The poller of one connection within one event loop.

    :param config: client configuration.
    :param poll_seconds: time between two requests; the shortest any of its triggers asks for.
    """

    def __init__(self, config: Mapping[str, Any], poll_seconds: float) -> None:
        self._config = dict(config)
        self.poll_seconds = poll_seconds
        self._topics: dict[str, TopicEnds] = {}
        self._partitions: dict[str, tuple[int, ...]] = {}
        self._metadata_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._failures = 0

    def watch(self, topic: str, poll_seconds: float) -> TopicEnds:
        """Start to watch a topic; every call needs one :meth:`unwatch`."""
        self.poll_seconds = min(self.poll_seconds, poll_seconds)
        state = self._topics.setdefault(topic, TopicEnds())
        state.watchers += 1
        if topic not in self._partitions:
            self._metadata_at = 0.0
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(
                self._poll_for_ever(), name="madhatter-offset-hub"
            )
        return state

    def unwatch(self, topic: str) -> None:
        """Stop watching; the last one out ends the poller."""
        state = self._topics[topic]
        state.watchers -= 1
        if state.watchers == 0:
            del self._topics[topic]
            self._partitions.pop(topic, None)
        if not self._topics and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _poll_for_ever(self) -> None:
        from confluent_kafka.admin import AdminClient

        admin: AdminClient | None = None
        while True:
            try:
                if admin is None:
                    admin = await asyncio.to_thread(AdminClient, self._config)
                await self._poll_once(admin)
                self._failures = 0
            except Exception as err:
                # Whatever goes wrong, the watchers must live: they ask again, ever more slowly.
                self._failures += 1
                for topic, state in self._topics.items():
                    self._complain(topic, state, str(err))
            await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        if not self._failures:
            return self.poll_seconds
        longest = min(MAX_BACKOFF_SECONDS, self.poll_seconds * 2.0 ** min(self._failures, 10))
        return random.uniform(self.poll_seconds, max(longest, self.poll_seconds))

    async def _poll_once(self, admin: AdminClient) -> None:
        if time.monotonic() - self._metadata_at > METADATA_SECONDS:
            self._partitions = await asyncio.to_thread(_partitions_of, admin, tuple(self._topics))
            self._metadata_at = time.monotonic()
        for topic in self._topics.keys() - self._partitions.keys():
            self._complain(topic, self._topics[topic], "the topic does not exist, or may not be described")
        asked = {t: self._partitions[t] for t in self._topics if t in self._partitions}
        answers = await asyncio.to_thread(_last_stable_offsets, admin, asked) if asked else {}
        for topic, (ends, error) in answers.items():
            state = self._topics.get(topic)
            if state is None:
                continue
            if error:
                self._complain(topic, state, error)
                self._metadata_at = 0.0
            elif state.error:
                log.info("Topic %s answers again", topic)
                state.error = None
            merged = {**state.ends, **ends}
            if merged != state.ends:
                state.ends, state.version = merged, state.version + 1
                state.changed.set()

    def _complain(self, topic: str, state: TopicEnds, error: str) -> None:
        """One line per incident, repeated once a minute."""
        now = time.monotonic()
        if state.error != error or now - state.complained > COMPLAIN_SECONDS:
            log.warning("Cannot watch topic %s (still trying): %s", topic, error)
            state.complained = now
        state.error = error


def _partitions_of(admin: AdminClient, topics: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    if len(topics) == 1:
        listed = admin.list_topics(topics[0], timeout=REQUEST_SECONDS).topics
    else:
        listed = admin.list_topics(timeout=REQUEST_SECONDS).topics
    return {
        t: tuple(listed[t].partitions)
        for t in topics
        if t in listed and listed[t].error is None and listed[t].partitions
    }


def _last_stable_offsets(
    admin: AdminClient, asked: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[dict[int, int], str | None]]:
    """Per topic: the offsets that are known, and the first error if some are not. Waits here, in a thread: a
    thousand futures awaited in the event loop would block it for a tenth of a second."""
    from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
    from confluent_kafka.admin import OffsetSpec

    wanted = {
        TopicPartition(t, p): OffsetSpec.latest() for t, partitions in asked.items() for p in partitions
    }
    futures = admin.list_offsets(
        wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=REQUEST_SECONDS
    )
    answers: dict[str, tuple[dict[int, int], str | None]] = {t: ({}, None) for t in asked}
    for tp, future in futures.items():
        ends, error = answers[tp.topic]
        try:
            ends[tp.partition] = future.result().offset
        except KafkaException as err:
            answers[tp.topic] = (ends, error or f"partition {tp.partition}: {err.args[0].str()}")
    return answers


_hubs: dict[tuple[int, str], OffsetHub] = {}


def hub_for(config: Mapping[str, Any], poll_seconds: float) -> OffsetHub:
    """The hub of this event loop for this configuration."""
    key = (id(asyncio.get_running_loop()), json.dumps(config, sort_keys=True, default=repr))
    return _hubs.setdefault(key, OffsetHub(config, poll_seconds))
