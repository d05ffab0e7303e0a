"""Where the brokers' log starts and ends stand: asked in the background, never waited for.

A page gets what is known, and how old it is. Topics that nobody has asked for in a while are forgotten.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from madhatter_provider.core.errors import MadHatterError
from madhatter_provider.core.slices.claims import TopicBounds

Bounds = Callable[[str], TopicBounds]

_KEPT_SECONDS: Final = 300.0
_WORKERS: Final = 4
_REQUEST_SECONDS: Final = 4.0


@dataclass(slots=True)
class TopicEnds:
    """What is known of one topic. ``bounds`` and ``fault`` are of the last answer that came."""

    bounds: TopicBounds | None = None
    fault: MadHatterError | None = None
    answered_at: float = float("-inf")
    wanted_at: float = field(default_factory=time.monotonic)
    running: bool = False

    @property
    def pending(self) -> bool:
        """Whether nothing has been answered yet."""
        return self.answered_at == float("-inf")


class BrokerEnds:
    """Bounds of topics.

    :param ask: asks for one topic, blocking; called in several threads. ``None``: brokers are not asked.
    :param fresh: seconds between two questions about one topic.
    """

    def __init__(self, ask: Bounds | None, *, fresh: float = 5.0) -> None:
        self._ask, self._fresh = ask, fresh
        self._topics: dict[str, TopicEnds] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="control-room-kafka")

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
            for topic, one in found.items():
                one.wanted_at = now
                if not one.running and now - one.answered_at > self._fresh:
                    one.running = True
                    self._pool.submit(self._refresh, topic, one)
            for topic in [t for t, one in self._topics.items() if now - one.wanted_at > _KEPT_SECONDS]:
                del self._topics[topic]
        return found

    def _refresh(self, topic: str, one: TopicEnds) -> None:
        assert self._ask is not None
        try:
            one.bounds, one.fault = self._ask(topic), None
        except MadHatterError as err:
            one.fault = err
        finally:
            one.answered_at = time.monotonic()
            one.running = False


class KafkaClients:
    """One admin client for all topics; a fault throws it away, so that a mended connection is read anew."""

    def __init__(self, config_id: str) -> None:
        self._config_id = config_id
        self._hook: object | None = None
        self._lock = threading.Lock()

    def bounds(self, topic: str) -> TopicBounds:
        """Log start and last stable end.

        :raises MadHatterError: the broker did not say.
        """
        from madhatter_provider.hooks.kafka import KafkaSliceHook

        with self._lock:
            hook = self._hook
            if not isinstance(hook, KafkaSliceHook):
                hook = self._hook = KafkaSliceHook(self._config_id, timeout=_REQUEST_SECONDS)
                hook.config  # noqa: B018  read once, here: a cached property
        try:
            return hook.bounds(topic)
        except MadHatterError as err:
            if err.transient:
                with self._lock:
                    self._hook = None
            raise
