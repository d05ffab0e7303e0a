"""What a hub knows of one topic, and when it looks at it again."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from madhatter_provider.core.errors import MadHatterError
from madhatter_provider.core.incident import Incident

if TYPE_CHECKING:
    from madhatter_provider.hooks.topic_ends import PartitionOffsets, TopicLayout

log = logging.getLogger(__name__)

METADATA_SECONDS = 30.0


class WatchedTopic:
    """One topic.

    ``epoch`` is its id, ``None`` until it was described; ``ends`` are its last stable offsets, of this epoch;
    ``asked`` are the partitions that are worth asking; ``incident`` is what is wrong.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.epoch: str | None = None
        self.ends: dict[int, int] = {}
        self.asked: tuple[int, ...] = ()
        self.describe_at = 0.0
        self.watches: set[Watch] = set()
        self.incident = Incident()
        self._partitions = 0
        self._shrunk = False

    def described(self, found: TopicLayout | MadHatterError, now: float) -> None:
        """Take in what the broker says of the topic."""
        if isinstance(found, MadHatterError):
            self.asked = ()
            self._complain(f"{found.what} {found.remedy}", now)
            return
        if found.epoch != self.epoch:
            if self.epoch is not None:
                log.info("Topic %s was created again; its id is now %s", self.name, found.epoch)
            self.epoch, self.ends, self._shrunk = found.epoch, {}, False
        self.asked, self._partitions = found.led, len(found.led) + len(found.leaderless)
        self.describe_at = now + METADATA_SECONDS
        if found.leaderless:
            self._complain(f"no leader for {_named(found.leaderless)}", now)

    def answered(self, answer: PartitionOffsets, now: float) -> None:
        """Take in its ends; wake its watchers if they have changed."""
        if answer.errors:
            # Not asked again before the topic is described: one that does not answer makes all others wait.
            self.asked = tuple(p for p in self.asked if p not in answer.errors)
            first = next(iter(answer.errors.values()))
            self._complain(f"{_named(tuple(answer.errors))}: {first.what}", now)
        elif len(self.asked) == self._partitions:
            self.incident.over()
        if not self._shrunk and any(end < self.ends.get(p, 0) for p, end in answer.offsets.items()):
            # Another topic of that name, or a log that was cut off: the description tells.
            self._shrunk, self.describe_at = True, 0.0
            return
        self._shrunk = False
        merged = {**self.ends, **answer.offsets}
        if merged != self.ends:
            self.ends = merged
            for watch in self.watches:
                watch.changed.set()

    def _complain(self, error: str, now: float) -> None:
        self.incident.complain(error, now)
        self.describe_at = now + self.incident.pause


class Watch:
    """One watcher's view of a topic."""

    def __init__(self, topic: WatchedTopic, poll_seconds: float) -> None:
        self.topic, self.poll_seconds = topic, poll_seconds
        self.changed = asyncio.Event()
        if topic.ends:
            self.changed.set()

    async def change(self, seconds: float | None) -> None:
        """Return when the topic has changed since the last call, or after that time."""
        try:
            await asyncio.wait_for(self.changed.wait(), seconds)
        except TimeoutError:
            return
        finally:
            self.changed.clear()


def _named(partitions: tuple[int, ...]) -> str:
    return f"partition{'s'[: len(partitions) > 1]} {', '.join(map(str, partitions))}"
