"""A slice of a real topic, landed by one process and by several, whatever dies; and in bounded memory."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Producer

from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.errors import LostRangeError, WorkerDied
from madhatter_provider.core.landing.batch import Batch
from madhatter_provider.core.landing.land import Landing, land
from madhatter_provider.core.landing.local_store import LocalStore
from madhatter_provider.core.landing.manifest import Manifest
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.hooks import kafka_reader
from madhatter_provider.hooks.kafka import KafkaSliceHook
from madhatter_provider.hooks.kafka_reader import read_slice
from madhatter_provider.testing.kafka import RunningKafka
from madhatter_provider.transfers.landing_step import land_slice

pytestmark = pytest.mark.integration
CONTRACT = load_contract(Path(__file__).parents[2] / "include/contracts/searches.odcs.yaml")
MEMORY_LIMIT = 512 << 20


def owned(topic: str, ends: dict[int, int], topic_id: str = "topic-id") -> Slice:
    return Slice(topic, topic_id, tuple(OffsetRange(p, 0, end) for p, end in ends.items()))


def fill(broker: str, topic: str, counts: dict[int, int], value: Callable[[int], bytes]) -> None:
    producer = Producer(
        {
            "bootstrap.servers": broker,
            "linger.ms": 20,
            "compression.type": "lz4",
            "message.max.bytes": 20_000_000,
        }
    )
    for partition, n in counts.items():
        for i in range(n):
            producer.produce(topic, value(i), partition=partition)
            producer.poll(0)
    producer.flush()


def digests(root: Path) -> dict[str, str]:
    return {
        str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in root.rglob("*")
        if f.is_file()
    }


@pytest.fixture
def hook(kafka_broker: str, monkeypatch: pytest.MonkeyPatch) -> KafkaSliceHook:
    connection = {"conn_type": "kafka", "extra": {"bootstrap.servers": kafka_broker}}
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(connection))
    return KafkaSliceHook()


class Topic:
    """A topic of three partitions, and jobs that land it."""

    def __init__(self, hook: KafkaSliceHook, broker: str, name: str, row: Callable[..., bytes]) -> None:
        self.hook = hook
        fill(broker, name, {0: 400, 1: 300, 2: 50}, lambda i: b"oops" if i % 10 == 9 else row(i))
        bounds = hook.bounds(name)
        self.owned = owned(name, dict(bounds.ends), bounds.topic_id)

    def land(self, root: Path, processes: int) -> Manifest:
        job = Landing(CONTRACT, self.owned, "run", LocalStore(root))
        return land_slice(job, self.hook, processes=processes)


@pytest.fixture
def filled(hook: KafkaSliceHook, kafka_broker: str, topic: Any, search_row: Callable[..., bytes]) -> Topic:
    return Topic(hook, kafka_broker, topic(3), search_row)


def test_several_processes_write_the_same_files_as_one(filled: Topic, tmp_path: Path) -> None:
    one = filled.land(tmp_path / "one", 1)
    several = filled.land(tmp_path / "several", 2)
    assert several == one
    assert (one.read, one.quarantined) == (750, 75)
    assert digests(tmp_path / "several") == digests(tmp_path / "one")


def workers() -> list[psutil.Process]:
    return [
        p
        for p in psutil.Process().children(recursive=True)
        if p.status() != psutil.STATUS_ZOMBIE and "landing_process" in " ".join(p.cmdline())
    ]


def test_a_process_that_dies_fails_the_try_and_leaves_nothing(
    filled: Topic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = subprocess.Popen

    def start_and_kill(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        process = start(*args, **kwargs)
        process.kill()
        return process

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", start_and_kill)
        with pytest.raises(WorkerDied, match="without a word") as caught:
            filled.land(tmp_path, 2)
    assert caught.value.transient
    assert workers() == []
    assert digests(tmp_path) == {}
    assert filled.land(tmp_path, 2).read == 750


def test_an_error_of_a_process_is_the_error_of_the_landing(filled: Topic, tmp_path: Path) -> None:
    gone = OffsetRange(0, 1_000, 1_010)
    filled.owned = Slice(filled.owned.topic, filled.owned.topic_id, (gone, OffsetRange(1, 0, 300)))
    with pytest.raises(LostRangeError, match="gone from the broker"):
        filled.land(tmp_path, 2)
    assert workers() == []


PARENT = """
import json, sys
from pathlib import Path
from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.landing.land import Landing, land_written
from madhatter_provider.core.landing.local_store import LocalStore
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.hooks.landing_processes import write_in_processes
contract, root, servers, topic = sys.argv[1:]
owned = Slice(topic, "id", (OffsetRange(0, 0, 10**9), OffsetRange(1, 0, 10**9)))
job = Landing(load_contract(contract), owned, "run", LocalStore(root))
config = {"bootstrap.servers": servers, "fetch.wait.max.ms": 50}
def wait_for_ever(messages, size):
    print("read", flush=True)
    sys.stdin.read()
land_written(job, lambda s: write_in_processes(
    job.writing, config, 2, s, where="test", on_read=wait_for_ever))
"""


def test_processes_of_a_killed_task_end_by_themselves(
    filled: Topic, kafka_broker: str, tmp_path: Path
) -> None:
    command = [
        sys.executable, "-c", PARENT,
        str(CONTRACT.path), str(tmp_path), kafka_broker, filled.owned.topic,
    ]  # fmt: skip
    parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    try:
        assert parent.stdout.readline() == b"read\n"
        children = psutil.Process(parent.pid).children()
        assert len(children) == 2
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


def test_a_restart_of_the_broker_is_waited_out(
    start_kafka: Callable[[], RunningKafka], search_row: Callable[..., bytes], tmp_path: Path
) -> None:
    node = start_kafka()
    name = node.create_topic("restarted", 2)
    fill(node.bootstrap_servers, name, {0: 3_000, 1: 3_000}, search_row)
    config = {"bootstrap.servers": node.bootstrap_servers, "fetch.message.max.bytes": 20_000, "log_level": 0}
    part = owned(name, {0: 3_000, 1: 3_000})

    def interrupted() -> Iterator[Batch]:
        batches = read_slice(config, part, batch=500, stall_seconds=60, where="test")
        yield next(batches)
        node.stop(grace=0)
        node.start()
        yield from batches

    manifest = land(Landing(CONTRACT, part, "run", LocalStore(tmp_path)), interrupted())
    assert (manifest.read, manifest.landed) == (6_000, 6_000)
    node.stop(grace=0)


def test_many_ranges_are_read_a_few_at_a_time_and_none_is_missed(
    kafka_broker: str, topic: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_reader, "WIDE", 5)
    monkeypatch.setattr(kafka_reader, "NARROW", 2)
    monkeypatch.setattr(kafka_reader, "WIDE_MESSAGES", 300)
    name = topic(8)
    fill(kafka_broker, name, dict.fromkeys(range(8), 200), lambda i: b"%d" % i)
    ranges = [OffsetRange(p, a, b) for p in range(8) for a, b in ((0, 90), (100, 101), (120, 200))]
    part = Slice(name, "id", tuple(ranges))
    found: dict[int, list[int]] = {}
    ended: list[int] = []
    config = {"bootstrap.servers": kafka_broker}
    for batch in read_slice(config, part, batch=40, stall_seconds=30, where="test"):
        found.setdefault(batch.partition, []).extend(batch.offsets)
        ended += [batch.partition] * batch.ended
    assert found == {p: [*range(90), 100, *range(120, 200)] for p in range(8)}
    assert sorted(ended) == sorted([*range(8)] * 3)


MEASURED = """
import json, sys
from pathlib import Path
import airflow.sdk  # as in a task
from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.landing.land import Landing, land
from madhatter_provider.core.landing.local_store import LocalStore
from madhatter_provider.core.slices.offsets import Slice
from madhatter_provider.hooks.kafka_reader import read_slice
contract, root, servers, owned = sys.argv[1:]
part = Slice.from_json(json.loads(owned))
batches = read_slice({"bootstrap.servers": servers}, part, batch=10_000, stall_seconds=60, where="test")
manifest = land(Landing(load_contract(contract), part, "run", LocalStore(root)), batches)
# Not getrusage: its peak begins with that of the process which started this one.
peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
print(json.dumps([manifest.read, int(peak) << 10]))
"""


# Elsewhere a peak can only be sampled, and a sampled one may miss what the limit is about.
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process its own peak of memory")
def test_memory_does_not_grow_with_the_slice(
    kafka_broker: str, topic: Any, tmp_path: Path, search_row: Callable[..., bytes]
) -> None:
    """400 MB in messages of 50 kB, repetitive ones, which lz4 makes 200 times as small: what is small on its
    way and large in memory must not pile up there.
    """
    name = topic(4, config={"max.message.bytes": "20000000"})
    value = search_row(1, padding="x" * 50_000, query="hat")
    counts = dict.fromkeys(range(4), 2_000)
    fill(kafka_broker, name, counts, lambda i: value)
    argv = [
        str(CONTRACT.path), str(tmp_path), kafka_broker, json.dumps(owned(name, counts).to_json()),
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *argv], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    read, peak = json.loads(done.stdout.splitlines()[-1])
    assert read == 4 * 2_000
    print(f"peak {peak >> 20} MiB")
    assert peak <= MEMORY_LIMIT
