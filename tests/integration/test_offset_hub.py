"""The offset hub against real Kafka: what changes under a topic, and what goes wrong around it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions
from confluent_kafka.cimpl import NewTopic

from madhatter_provider.hooks.topic_ends import TopicEndsReader
from madhatter_provider.local.kafka import KafkaNode
from madhatter_provider.local.process import free_port
from madhatter_provider.testing.kafka import Broker, MakeTopic, RunningKafka
from madhatter_provider.triggers import offset_hub, watched_topic
from madhatter_provider.triggers.kafka_slice import KafkaSliceTrigger
from madhatter_provider.triggers.offset_hub import hub_for

pytestmark = pytest.mark.integration

POLL = 0.05
SECONDS = 20


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Describe topics often, and wait for nothing long."""
    monkeypatch.setattr("madhatter_provider.hooks.topic_ends.REQUEST_SECONDS", 1.0)
    monkeypatch.setattr(watched_topic, "METADATA_SECONDS", 0.2)
    monkeypatch.setattr("madhatter_provider.core.incident.FIRST_BACKOFF_SECONDS", 0.1)
    monkeypatch.setattr("madhatter_provider.core.incident.MAX_BACKOFF_SECONDS", 0.4)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def to(servers: str, **extra: Any) -> None:
        connection = {"conn_type": "kafka", "extra": {"bootstrap.servers": servers, "log_level": 0, **extra}}
        monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(connection))

    return to


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def _loop_is_free(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What asks Kafka or Airflow never does so in the event loop's thread."""
    asked_in: set[int] = set()
    for name in ("__init__", "reconnect", "describe", "ends", "close"):
        real = getattr(TopicEndsReader, name)

        def asks(*args: Any, _real: Callable[..., Any] = real) -> Any:
            asked_in.add(threading.get_ident())
            return _real(*args)

        monkeypatch.setattr(TopicEndsReader, name, asks)
    yield
    assert threading.get_ident() not in asked_in


def send(servers: str, topic: str, partition: int, count: int = 1) -> None:
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 0})
    for _ in range(count):
        producer.produce(topic, b"x", partition=partition)
    assert producer.flush(20) == 0


@asynccontextmanager
async def announcements(trigger: KafkaSliceTrigger) -> AsyncIterator[asyncio.Queue[dict[str, Any]]]:
    """What a trigger announces while the block runs."""
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def listen() -> None:
        async for event in trigger.run():
            heard.put_nowait(event.payload)

    task = asyncio.create_task(listen())
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.asyncio
async def test_partitions_that_are_added_are_seen(
    kafka_broker: str, topic: MakeTopic, connect: Callable[..., None]
) -> None:
    connect(kafka_broker)
    name = topic(1)
    with hub_for("kafka_default").watch(name, POLL) as watch:
        await until(lambda: watch.topic.ends == {0: 0})
        admin = AdminClient({"bootstrap.servers": kafka_broker})
        admin.create_partitions([NewPartitions(name, 3)])[name].result(20)
        await until(lambda: watch.topic.ends == {0: 0, 1: 0, 2: 0})


@pytest.mark.asyncio
async def test_a_topic_that_was_created_again_is_announced(
    madhatter_kafka: RunningKafka, topic: MakeTopic, connect: Callable[..., None]
) -> None:
    servers = madhatter_kafka.bootstrap_servers
    connect(servers)
    name = topic(2)
    send(servers, name, 0, 9)
    trigger = KafkaSliceTrigger(name, min_messages=1, poll_interval=POLL)
    async with announcements(trigger) as heard:
        assert (await asyncio.wait_for(heard.get(), SECONDS))["ends"] == {"0": 9, "1": 0}
        await asyncio.to_thread(madhatter_kafka.delete_topic, name)
        await asyncio.to_thread(madhatter_kafka.create_topic, name, 1)
        await asyncio.to_thread(send, servers, name, 0, 3)
        again = await asyncio.wait_for(heard.get(), SECONDS)
        while again["ends"] != {"0": 3}:  # it may be seen while it fills
            again = await asyncio.wait_for(heard.get(), SECONDS)
        assert again["why"] == "new"


@pytest.mark.asyncio
async def test_a_missing_topic_is_said_once_and_found_when_it_comes(
    madhatter_kafka: RunningKafka,
    topic: MakeTopic,
    connect: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    servers = madhatter_kafka.bootstrap_servers
    connect(servers)
    there = topic(1)
    missing = f"later-{there}"
    hub = hub_for("kafka_default")
    with hub.watch(there, POLL) as first, hub.watch(missing, POLL) as second:
        await until(lambda: second.topic.incident.error)
        send(servers, there, 0)
        await until(lambda: first.topic.ends == {0: 1})
        assert "does not exist" in str(second.topic.incident.error)
        await asyncio.sleep(0.5)
        assert caplog.text.count(f"Cannot watch topic {missing} (still trying)") == 1
        await asyncio.to_thread(madhatter_kafka.create_topic, missing, 1)
        await until(lambda: second.topic.ends == {0: 0})
        assert second.topic.incident.error is None


@pytest.mark.asyncio
async def test_the_last_watcher_ends_client_and_threads(
    kafka_broker: str, topic: MakeTopic, connect: Callable[..., None]
) -> None:
    connect(kafka_broker)
    name = topic(1)

    def threads() -> list[str]:
        return [t.name for t in threading.enumerate() if t.name.startswith("madhatter-offset-hub")]

    hub = hub_for("kafka_default")
    with hub.watch(name, POLL) as one:
        with hub.watch(name, 10) as two:
            assert one.topic is two.topic
            await until(lambda: two.topic.ends)
        assert hub_for("kafka_default") is hub
        assert set(threads()) <= {"madhatter-offset-hub_0", "madhatter-offset-hub_1"}, "of one pool"
        assert threads()
    assert hub_for("kafka_default") is not hub
    await until(lambda: not threads())


def test_hubs_of_ended_loops_are_dropped(connect: Callable[..., None]) -> None:
    connect("127.0.0.1:1")

    async def abandon() -> None:
        hub_for("kafka_default").watch("any", POLL).__enter__()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(abandon())
    assert loop in offset_hub._hubs
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    asyncio.run(_touch())
    assert loop not in offset_hub._hubs


async def _touch() -> None:
    hub_for("kafka_default")


@pytest.mark.asyncio
async def test_a_changed_connection_reaches_running_watchers(
    kafka_broker: str, topic: MakeTopic, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_KAFKA_DEFAULT", raising=False)
    hub = hub_for("kafka_default")
    with hub.watch(topic(1), POLL) as watch:
        await until(lambda: "There is no connection 'kafka_default'" in str(hub.describing.error))
        connect("127.0.0.1:1")
        await until(lambda: "127.0.0.1:1" in str(hub.describing.error))
        connect(kafka_broker)
        await until(lambda: watch.topic.ends == {0: 0})
        assert hub.describing.error is None


@pytest.fixture
def two_brokers(start_kafka: Callable[[], RunningKafka], tmp_path: Path) -> Iterator[tuple[Broker, Broker]]:
    """A cluster of two, each of which may be killed and started again."""
    first = start_kafka()
    node = KafkaNode(
        first.node.java, first.node.jars, tmp_path, free_port(), first.node.controller_port, joins=first.node
    )
    node.prepare()
    second = Broker(tmp_path, node, node.command)
    second.start()
    yield first, second
    second.stop(grace=0)
    first.stop(grace=0)


@pytest.mark.asyncio
async def test_a_partition_without_a_leader_and_a_broker_that_restarts(
    two_brokers: tuple[Broker, Broker], connect: Callable[..., None]
) -> None:
    """The other partitions and topics are watched on; what comes back is watched again."""
    first, second = two_brokers
    servers = first.bootstrap_servers
    connect(servers)
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    wanted = {"spread": [[1], [2]], "other": [[1]]}
    made = [NewTopic(name, len(where), replica_assignment=where) for name, where in wanted.items()]
    for answer in admin.create_topics(made).values():
        answer.result(20)
    hub = hub_for("kafka_default")
    with hub.watch("spread", POLL) as spread, hub.watch("other", POLL) as other:
        await until(lambda: spread.topic.ends == {0: 0, 1: 0})
        await asyncio.to_thread(second.stop, grace=0)
        await until(lambda: "partition 1" in str(spread.topic.incident.error))
        await asyncio.to_thread(send, servers, "spread", 0)
        await asyncio.to_thread(send, servers, "other", 0)
        await until(lambda: spread.topic.ends == {0: 1, 1: 0} and other.topic.ends == {0: 1})
        assert hub.asking.error is None
        await asyncio.to_thread(second.start)
        await asyncio.to_thread(send, servers, "spread", 1)
        await until(lambda: spread.topic.ends == {0: 1, 1: 1})
        await until(lambda: spread.topic.incident.error is None)

        await asyncio.to_thread(first.stop, grace=0)
        await asyncio.to_thread(first.start)
        await asyncio.to_thread(send, servers, "other", 0)
        await until(lambda: other.topic.ends == {0: 2})


class _State(dict[str, Any]):
    """Stands for an asset's state store; counts what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = self.most = self.reads = 0

    async def aget(self, key: str, default: Any = None) -> Any:
        self.reads += 1
        self.reading += 1
        self.most = max(self.most, self.reading)
        await asyncio.sleep(0.01)
        self.reading -= 1
        return self.get(key, default)


@pytest.mark.asyncio
async def test_a_hundred_watchers_read_few_positions_at_once_and_their_connection_once(
    kafka_broker: str, topic: MakeTopic, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups: list[str] = []
    look_up = TopicEndsReader.reconnect

    def counted(reader: TopicEndsReader) -> None:
        lookups.append(reader.kafka_config_id)
        look_up(reader)

    monkeypatch.setattr(TopicEndsReader, "reconnect", counted)
    connect(kafka_broker)
    names = [topic(1) for _ in range(4)]
    send(kafka_broker, names[0], 0)
    state = _State()
    triggers = [KafkaSliceTrigger(names[i % 4], min_messages=1, poll_interval=POLL) for i in range(100)]
    heard: list[Any] = []

    async def listen(trigger: KafkaSliceTrigger) -> None:
        trigger.asset_state_store = state  # type: ignore[assignment]
        async for event in trigger.run():
            heard.append(event)

    tasks = [asyncio.create_task(listen(trigger)) for trigger in triggers]
    await until(lambda: len(heard) == 25)
    assert state.reads == 25, "no position is read of a topic without messages"
    assert state.most <= offset_hub.STATE_READS
    assert lookups == ["kafka_default"]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
