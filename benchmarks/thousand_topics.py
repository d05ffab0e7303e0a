"""A thousand watched topics in one process: threads, memory, CPU while idle, time to an announcement.

The process is like a triggerer's runner: it has imported the same modules, and each position that a trigger
reads takes 20 ms of one supervisor::

    .madhatter/venv/bin/python benchmarks/thousand_topics.py --topics 1000 --seconds 60
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import time
import uuid
from typing import Any

import psutil
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

STATE_SECONDS = 0.02
TOUCHED = 50


class Supervisor:
    """Answers one state read at a time: nothing is claimed yet."""

    def __init__(self) -> None:
        self._one = asyncio.Lock()
        self.reads = 0

    async def aget(self, key: str, default: Any = None) -> Any:
        """The list of DAGs, which is empty."""
        async with self._one:
            self.reads += 1
            await asyncio.sleep(STATE_SECONDS)
        return default


def create(servers: str, names: list[str]) -> None:
    """Create the topics, and wait until all have leaders."""
    admin = AdminClient({"bootstrap.servers": servers})
    for first in range(0, len(names), 100):
        some = [NewTopic(name, 1, 1) for name in names[first : first + 100]]
        for made in admin.create_topics(some, request_timeout=120).values():
            made.result(120)
    while not set(names) <= {
        name
        for name, topic in admin.list_topics(timeout=60).topics.items()
        if topic.partitions and all(p.leader >= 0 for p in topic.partitions.values())
    }:
        time.sleep(0.5)


async def longest_block(pause: float = 0.01) -> float:
    """Longest time that the loop did not come back, until cancelled."""
    longest = 0.0
    try:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(pause)
            longest = max(longest, time.perf_counter() - began - pause)
    except asyncio.CancelledError:
        return longest


async def measure(servers: str, names: list[str], seconds: float) -> None:
    """Watch, be idle, send, print."""
    from madhatter_provider.triggers.kafka_slice import KafkaSliceTrigger

    process = psutil.Process()
    before = process.memory_info().rss >> 20
    supervisor, heard = Supervisor(), dict[str, float]()

    async def listen(name: str) -> None:
        trigger = KafkaSliceTrigger(name, kafka_config_id="bench", min_messages=1)
        trigger.asset_state_store = supervisor  # type: ignore[assignment]
        async for event in trigger.run():
            heard[event.payload["topic"]] = time.time()

    watchdog = asyncio.create_task(longest_block())
    tasks = [asyncio.create_task(listen(name)) for name in names]
    await asyncio.sleep(10)
    cpu, began = sum(process.cpu_times()[:2]), time.monotonic()
    await asyncio.sleep(seconds)
    idle = (sum(process.cpu_times()[:2]) - cpu) / (time.monotonic() - began)
    producer, sent = Producer({"bootstrap.servers": servers, "linger.ms": 0}), dict[str, float]()
    for name in random.sample(names, min(TOUCHED, len(names))):
        producer.produce(name, b"x")
        producer.flush()
        sent[name] = time.time()
        await asyncio.sleep(0.1)
    await asyncio.sleep(5)
    delays = sorted(heard[name] - at for name, at in sent.items() if name in heard)
    watchdog.cancel()
    print("| what | figure | target |\n|---|---|---|")
    print(f"| threads | {process.num_threads()} | 12 |")
    print(
        f"| memory of the process, MB | {process.memory_info().rss >> 20} (before watching {before}) | 250 |"
    )
    print(f"| CPU while idle, cores | {idle:.2f} | 0.2 |")
    print(f"| announced | {len(delays)} of {len(sent)} | all |")
    print(f"| message to announcement, p50 / max, s | {statistics.median(delays):.2f} / {delays[-1]:.2f} | |")
    print(f"| state reads | {supervisor.reads} | |")
    print(f"| longest block of the event loop, s | {await watchdog:.2f} | 0.2 |")
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def main() -> None:
    """Create the topics and measure."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--bootstrap-servers", default=os.environ.get("KAFKA_BOOTSTRAP_SERVERS", ""))
    options.add_argument("--topics", type=int, default=1000)
    options.add_argument("--seconds", type=float, default=60.0)
    chosen = options.parse_args()
    if not chosen.bootstrap_servers:
        options.error('start it first: madhatter local up; eval "$(madhatter local env)"')
    import airflow.jobs.triggerer_job_runner  # noqa: F401  what the runner has imported anyway

    extra = {"bootstrap.servers": chosen.bootstrap_servers}
    os.environ["AIRFLOW_CONN_BENCH"] = json.dumps({"conn_type": "kafka", "extra": extra})
    run = uuid.uuid4().hex[:6]
    names = [f"bench-{run}-{number:04d}" for number in range(chosen.topics)]
    create(chosen.bootstrap_servers, names)
    asyncio.run(measure(chosen.bootstrap_servers, names, chosen.seconds))
    admin = AdminClient({"bootstrap.servers": chosen.bootstrap_servers})
    for gone in admin.delete_topics(names, request_timeout=120).values():
        gone.result(120)


if __name__ == "__main__":
    main()
