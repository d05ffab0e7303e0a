"""One poller per event loop and connection, shared by every slice trigger.

A single admin client asks for the last stable offsets of all watched topics in one batched request per poll,
in a thread; a watcher is woken only when its topic has changed. No consumer, and no message is ever read
here.

* What is wrong with a partition concerns that partition, what is wrong with a topic that topic: both are left
  out and looked at again, ever more slowly. Only when no broker answers nothing is seen.
* Descriptions have a thread of their own: the one broker that they are asked of may be away, and the ends
  that the others know must not wait for it.
* Topics are described anew every ``METADATA_SECONDS``: partitions that were added are seen, and a topic that
  was created again has another id. An end that goes down has its topic described at once.
* The connection is read anew every ``CONNECTION_SECONDS``, and after every failure.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from madhatter_provider.core.incident import Incident
from madhatter_provider.triggers.watched_topic import Watch, WatchedTopic

if TYPE_CHECKING:
    from madhatter_provider.hooks.topic_ends import TopicEndsReader

log = logging.getLogger(__name__)

CONNECTION_SECONDS = 60.0
# Topics that are due to be described this soon are described with those that are due now.
TOGETHER_SECONDS = 5.0
# So many topics are named in one line of the log.
NAMED = 5
# Each state-store call takes about 20 ms of the triggerer's supervisor. More than a few at once would make
# its heartbeat wait for all of them.
STATE_READS = 4

P = ParamSpec("P")
T = TypeVar("T")


class OffsetHub:
    """The poller of one connection within one event loop.

    :param kafka_config_id: connection id.
    """

    def __init__(self, kafka_config_id: str) -> None:
        self.kafka_config_id = kafka_config_id
        self.state_reads = asyncio.Semaphore(STATE_READS)
        self._topics: dict[str, WatchedTopic] = {}
        self.describing = Incident(f"Cannot describe the topics of connection {kafka_config_id}")
        self.asking = Incident(f"Cannot watch the topics of connection {kafka_config_id}")
        self._reconnect_at = 0.0
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def watch(self, topic: str, poll_seconds: float) -> Iterator[Watch]:
        """Watch a topic within the block.

        :param poll_seconds: time between two requests; the shortest that any watcher asks for counts.
        """
        watched = self._topics.setdefault(topic, WatchedTopic(topic))
        watch = Watch(watched, poll_seconds)
        watched.watches.add(watch)
        if self._task is None:
            self._task = asyncio.create_task(self._poll_for_ever(), name="madhatter-offset-hub")
        try:
            yield watch
        finally:
            watched.watches.discard(watch)
            if not watched.watches:
                self._topics.pop(topic, None)
            if not self._topics:
                self._end()

    def _end(self) -> None:
        """The last watcher has left."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        for hubs in _hubs.values():
            if hubs.get(self.kafka_config_id) is self:
                del hubs[self.kafka_config_id]

    async def _poll_for_ever(self) -> None:
        threads = ThreadPoolExecutor(2, thread_name_prefix="madhatter-offset-hub")
        try:
            reader = await _run(threads, _open_reader, self.kafka_config_id)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._repeat(self.describing, self._describe, reader, threads))
                    both.create_task(self._repeat(self.asking, self._ask, reader, threads))
            finally:
                threads.submit(reader.close)  # ends the client, which takes a while
        finally:
            threads.shutdown(wait=False)

    async def _repeat(
        self,
        incident: Incident,
        step: Callable[[TopicEndsReader, ThreadPoolExecutor], Awaitable[None]],
        reader: TopicEndsReader,
        threads: ThreadPoolExecutor,
    ) -> None:
        while True:
            try:
                await step(reader, threads)
                incident.over()
            except Exception as err:
                # Whatever goes wrong, the watchers must live: they ask again, ever more slowly.
                incident.complain(str(err), time.monotonic())
                self._reconnect_at = 0.0
            await asyncio.sleep(max(self._poll_seconds, incident.pause))

    @property
    def _poll_seconds(self) -> float:
        asked = (w.poll_seconds for t in self._topics.values() for w in t.watches)
        return min(asked, default=1.0)  # none is left when the poller is about to be cancelled

    async def _describe(self, reader: TopicEndsReader, threads: ThreadPoolExecutor) -> None:
        now = time.monotonic()
        if now >= self._reconnect_at:
            await _run(threads, reader.reconnect)
            self._reconnect_at = now + CONNECTION_SECONDS
        topics = self._topics
        if not any(t.describe_at <= now for t in topics.values()):
            return
        due = [t.name for t in topics.values() if t.describe_at <= now + TOGETHER_SECONDS]
        found = await _run(threads, reader.describe, due)
        for name in found.keys() & topics.keys():
            topics[name].described(found[name], time.monotonic())
        self._say()

    async def _ask(self, reader: TopicEndsReader, threads: ThreadPoolExecutor) -> None:
        topics = self._topics
        asked = {t.name: t.asked for t in topics.values() if t.asked}
        if not asked:
            return
        epochs = {name: topics[name].epoch for name in asked}
        answers = await _run(threads, reader.ends, asked)
        for name in answers.keys() & topics.keys():
            # A topic that was described meanwhile, and is another, is asked again.
            if topics[name].epoch == epochs[name]:
                topics[name].answered(answers[name], time.monotonic())
        self._say()

    def _say(self) -> None:
        """What began or ended at the same time for the same reason: one line, however many topics."""
        news: dict[str | None, list[str]] = {}
        for topic in self._topics.values():
            if topic.incident.unsaid:
                topic.incident.unsaid = False
                news.setdefault(topic.incident.error, []).append(topic.name)
        for error, names in news.items():
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            about = ", ".join(sorted(names)[:NAMED]) + more
            if error is None:
                log.info("Topic %s: answers again", about)
            else:
                log.warning("Cannot watch topic %s (still trying): %s", about, error)


def _open_reader(kafka_config_id: str) -> TopicEndsReader:
    """Imports the client, which takes a while: in a thread."""
    from madhatter_provider.hooks.topic_ends import TopicEndsReader

    return TopicEndsReader(kafka_config_id)


async def _run(threads: ThreadPoolExecutor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a thread, in the context of this task: Airflow finds its connections by it."""
    call = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(threads, call)


_hubs: dict[asyncio.AbstractEventLoop, dict[str, OffsetHub]] = {}


def hub_for(kafka_config_id: str) -> OffsetHub:
    """The hub of this event loop for this connection."""
    for loop in [loop for loop in _hubs if loop.is_closed()]:
        del _hubs[loop]
    hubs = _hubs.setdefault(asyncio.get_running_loop(), {})
    return hubs.setdefault(kafka_config_id, OffsetHub(kafka_config_id))
