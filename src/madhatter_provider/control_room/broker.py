"""Where the brokers' log starts and ends stand: asked in the background, never waited for.

A page gets what is known, and how old it is. All topics that somebody wants are asked for together, one
question at a time. Topics that nobody has asked for in a while are forgotten.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from madhatter_provider.core.errors import MadHatterError, TopicError
from madhatter_provider.core.slices.claims import TopicBounds

Bounds = Callable[[Sequence[str]], Mapping[str, TopicBounds | MadHatterError]]

_KEPT_SECONDS: Final = 300.0


@dataclass(slots=True)
class TopicEnds:
    """What is known of one topic. ``bounds`` are of the last good answer, of ``told_at``; ``fault`` of the
    last one.
    """

    bounds: TopicBounds | None = None
    told_at: datetime | None = None
    fault: MadHatterError | None = None
    answered_at: float = float("-inf")
    wanted_at: float = field(default_factory=time.monotonic)

    @property
    def pending(self) -> bool:
        """Whether nothing has been answered yet."""
        return self.answered_at == float("-inf")


class BrokerEnds:
    """Bounds of topics.

    :param ask: asks for topics, blocking; called in a thread of its own. ``None``: brokers are not asked.
    :param fresh: seconds between two questions about one topic.
    """

    def __init__(self, ask: Bounds | None, *, fresh: float = 5.0) -> None:
        self._ask, self._fresh = ask, fresh
        self._topics: dict[str, TopicEnds] = {}
        self._running = False
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="control-room-kafka")

    @property
    def asked(self) -> bool:
        """Whether brokers are asked at all."""
        return self._ask is not None

    def look(self, topics: Iterable[str]) -> Mapping[str, TopicEnds]:
        """What is known now; what is not, or is old, is being asked for."""
        if self._ask is None:
            return {}
        now = time.monotonic()
        with self._lock:
            found = {topic: self._topics.setdefault(topic, TopicEnds()) for topic in topics}
            for one in found.values():
                one.wanted_at = now
            old = [t for t, one in found.items() if now - one.answered_at > self._fresh]
            if old and not self._running:
                self._running = True
                self._pool.submit(self._refresh, old)
            for topic in [t for t, one in self._topics.items() if now - one.wanted_at > _KEPT_SECONDS]:
                del self._topics[topic]
        return found

    def _refresh(self, topics: Sequence[str]) -> None:
        """Ask, and then for what was wanted meanwhile for the first time: nobody waits for two rounds."""
        assert self._ask is not None
        while topics:
            answers: Mapping[str, TopicBounds | MadHatterError] = {}
            try:
                answers = self._ask(topics)
            except MadHatterError as err:
                answers = dict.fromkeys(topics, err)
            finally:
                with self._lock:
                    for topic in topics:
                        self._note(topic, answers.get(topic))
                    topics = [t for t, one in self._topics.items() if one.pending] if answers else []
                    self._running = bool(topics)

    def _note(self, topic: str, answer: TopicBounds | MadHatterError | None) -> None:
        one = self._topics.get(topic)
        if one is None:
            return
        one.answered_at = time.monotonic()
        if isinstance(answer, TopicBounds):
            one.bounds, one.told_at, one.fault = answer, datetime.now(UTC), None
            return
        one.fault = answer
        if isinstance(answer, TopicError):  # it is gone, or not for this connection: it has no ends
            one.bounds = one.told_at = None


class KafkaClients:
    """One admin client for all topics; a fault throws it away, so that a mended connection is read anew."""

    def __init__(self, config_id: str) -> None:
        self._config_id = config_id
        self._reader: object | None = None

    def bounds(self, topics: Sequence[str]) -> dict[str, TopicBounds | MadHatterError]:
        """Log start and last stable end of every topic, or what the broker says against it: three questions,
        however many topics. One caller at a time.

        :raises MadHatterError: no broker answered.
        """
        from madhatter_provider.hooks.topic_ends import TopicEndsReader

        reader = self._reader
        if not isinstance(reader, TopicEndsReader):
            reader = TopicEndsReader(self._config_id)
            reader.reconnect()
            self._reader = reader
        try:
            layouts = reader.describe(topics)
            known = {t: found for t, found in layouts.items() if not isinstance(found, MadHatterError)}
            asked = {t: (*found.led, *found.leaderless) for t, found in known.items()}
            starts, ends = (reader.starts(asked), reader.ends(asked)) if asked else ({}, {})
        except MadHatterError:
            self._reader = None
            raise
        found: dict[str, TopicBounds | MadHatterError] = {
            t: said for t, said in layouts.items() if isinstance(said, MadHatterError)
        }
        for topic, layout in known.items():
            errors = [*starts[topic].errors.values(), *ends[topic].errors.values()]
            found[topic] = (
                errors[0]
                if errors
                else TopicBounds(topic, layout.epoch, starts[topic].offsets, ends[topic].offsets)
            )
        return found
