"""The streaming job on Prism with a real broker: finds, counts, drains, resumes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import yaml
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from madhatter_provider.core.contracts.contract import load_contracts
from madhatter_provider.core.decoding.row_reader import RowReader
from madhatter_provider.core.fraud.rules import CustomerState, Profile, event_of, observe
from madhatter_provider.local.prism import ensure_prism, prism_path
from madhatter_provider.local.traffic import Outgoing, generate
from madhatter_provider.local.traffic.profiles import profiles
from madhatter_provider.local.traffic.send import Sender, write_profiles

pytestmark = [pytest.mark.integration, pytest.mark.slow]
REPOSITORY = Path(__file__).parents[2]
CACHE = Path(os.environ.get("MADHATTER_CACHE") or REPOSITORY / ".madhatter" / "cache")
SEED = 81
INPUTS = ("clicks", "transactions", "system_logs")


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not reached: {what}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def prism() -> str:
    said = ensure_prism(CACHE, version("apache-beam"), os.environ)
    path = prism_path(CACHE, version("apache-beam"))
    if not path.exists():
        pytest.skip(f"no Prism here: {said}")
    return str(path)


class Job:
    """The streaming job's process, its topics and its counters."""

    def __init__(self, servers: str, prism: str, folder: Path, topic: Any) -> None:
        self.servers, self.prism, self.folder = servers, prism, folder
        self.topics = {stream: topic(3, name=stream) for stream in INPUTS}
        self.alerts_topic, self.metrics_topic = topic(3, name="alerts"), topic(1, name="metrics")
        self.process: subprocess.Popen[bytes] | None = None
        write_profiles(folder / "profiles.ndjson", profiles(SEED))
        (folder / "contracts").mkdir()
        for stream, name in self.topics.items():
            document = yaml.safe_load((REPOSITORY / f"include/contracts/{stream}.odcs.yaml").read_text())
            custom = [p for p in document["customProperties"] if p["property"] != "topic"]
            document["customProperties"] = [*custom, {"property": "topic", "value": name}]
            (folder / f"contracts/{stream}.odcs.yaml").write_text(yaml.safe_dump(document))

    def start(self, *, lookback: float = 120) -> None:
        arguments = {
            "runner": "PrismRunner", "prism_location": self.prism, "prism_log_level": "warn",
            "kafka_bootstrap_servers": self.servers, "contracts": self.folder / "contracts",
            "profiles": self.folder / "profiles.ndjson", "alerts_topic": self.alerts_topic,
            "metrics_topic": self.metrics_topic, "group": self.alerts_topic, "lookback_seconds": lookback,
        }  # fmt: skip
        self.counters_file.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [
                sys.executable, str(REPOSITORY / "include/beam/streaming_fraud.py"),
                *(f"--{name}={value}" for name, value in arguments.items()),
            ],
            env={**os.environ, "MADHATTER_JOB_METRICS": str(self.counters_file)},
            stdout=(self.folder / "job.log").open("ab"), stderr=subprocess.STDOUT,
        )  # fmt: skip
        wait_for(self.counters_file.exists, f"the job runs:\n{(self.folder / 'job.log').read_text()[-2000:]}")

    @property
    def counters_file(self) -> Path:
        return self.folder / "counters.json"

    @property
    def counters(self) -> dict[str, int]:
        return dict(json.loads(self.counters_file.read_text())["counters"])

    @property
    def watermark(self) -> float:
        """Unix seconds."""
        return float(json.loads(self.counters_file.read_text())["watermark"] or 0) / 1e6

    def drain(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        """SIGKILL to the job and its runner."""
        assert self.process is not None
        for process in [
            *psutil.Process(self.process.pid).children(recursive=True),
            psutil.Process(self.process.pid),
        ]:
            process.kill()
        self.process.wait(10)

    def send(self, messages: list[Outgoing]) -> None:
        sender = Sender(self.servers, io.StringIO(), self.topics)
        sender.run((m for m in messages if m.stream in INPUTS), start=0.0)

    def read(self, topic: str) -> list[dict[str, Any]]:
        consumer = Consumer(
            {"bootstrap.servers": self.servers, "group.id": "test", "enable.partition.eof": True}
        )
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
        rows, ends = [], 0
        while ends < len(partitions):
            for m in consumer.consume(1000, 1.0):
                ends += bool(m.error())
                if not m.error():
                    rows.append(json.loads(m.value() or b""))
        consumer.close()
        return rows


@pytest.fixture
def job(kafka_broker: str, prism: str, tmp_path: Path, topic: Any) -> Iterator[Job]:
    made = Job(kafka_broker, prism, tmp_path, topic)
    made.start()
    yield made
    assert made.process is not None
    if made.process.poll() is None:
        made.kill()


def expected_customers(messages: list[Outgoing]) -> set[str]:
    """Customers that the rules alert when they see the same events one by one."""
    contracts = load_contracts(REPOSITORY / "include/contracts")
    reader = RowReader({stream: contracts[stream] for stream in INPUTS})
    known = {p["customer_id"]: msgspec.convert(p, Profile) for p in profiles(SEED)}
    states: defaultdict[str, CustomerState] = defaultdict(CustomerState)
    found = set()
    for m in messages:
        if m.stream in INPUTS and m.defect is None:
            event = event_of(m.stream, reader.read(m.stream, m.value))
            if event is not None and observe(states[event[0]], known[event[0]], event[1]):
                found.add(event[0])
    return found


def test_finds_what_the_rules_find_and_drains_in_good_order(job: Job) -> None:
    messages = list(generate(SEED, 300, 40, start=time.time() - 45))
    job.send(messages)
    rows = Counter(
        f"rows/{'valid' if m.defect is None else 'invalid'}_{m.stream}"
        for m in messages
        if m.stream in INPUTS
    )
    wait_for(
        lambda: {n: c for n, c in job.counters.items() if n.startswith("rows/")} == rows, f"counters {rows}"
    )
    # Nothing waits in Kafka: the watermark follows the clock.
    wait_for(lambda: time.time() - job.watermark < 15, "the watermark moves")
    assert job.watermark < time.time()
    assert job.process is not None
    runner = psutil.Process(job.process.pid).children(recursive=True)
    assert job.drain() == 0
    assert not [p for p in runner if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    alerts = job.read(job.alerts_topic)
    assert {a["customer_id"] for a in alerts} == expected_customers(messages)
    assert len({a["alert_id"] for a in alerts}) == len(alerts)
    metrics = job.read(job.metrics_topic)
    complete = {row["metric_id"]: row["events"] for row in metrics}
    good = [m for m in messages if m.defect is None and m.stream == "transactions"]
    counted = sum(n for name, n in complete.items() if name.startswith(("sales|", "declined|")))
    late = sum(m.late for m in good)
    assert len(good) - late <= counted <= len(good)


def test_a_killed_job_goes_on_where_it_was_and_looking_back_it_misses_nothing(job: Job) -> None:
    messages = [m for m in generate(SEED, 200, 50, start=time.time() - 60) if m.stream in INPUTS]
    first, second = messages[: len(messages) // 2], messages[len(messages) // 2 :]

    def rows() -> int:
        return sum(n for name, n in job.counters.items() if name.startswith("rows/"))

    job.send(first)
    wait_for(lambda: rows() == len(first), "the first half was read")
    time.sleep(2)  # positions are committed once a second
    job.kill()
    job.send(second)
    job.start(lookback=0)
    wait_for(lambda: rows() >= len(second), "the second half was read")
    time.sleep(6)  # counters are written every five seconds
    assert rows() == len(second)
    job.kill()
    job.start(lookback=600)
    wait_for(lambda: rows() == len(messages), "all was read again")
    assert job.drain() == 0
    alerts = job.read(job.alerts_topic)
    assert {a["customer_id"] for a in alerts} >= expected_customers(messages)
    assert max(Counter(a["alert_id"] for a in alerts).values()) > 1  # found again under the same id


def test_a_broker_that_dies_and_comes_back_costs_no_event(
    start_kafka: Any, prism: str, tmp_path: Path
) -> None:
    node = start_kafka()
    admin = AdminClient({"bootstrap.servers": node.bootstrap_servers})

    def topic(partitions: int, *, name: str) -> str:
        admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)
        return name

    job = Job(node.bootstrap_servers, prism, tmp_path, topic)
    job.start()
    messages = [m for m in generate(SEED, 100, 40, start=time.time() - 60) if m.stream in INPUTS]
    half = len(messages) // 2
    job.send(messages[:half])

    def rows() -> int:
        return sum(n for name, n in job.counters.items() if name.startswith("rows/"))

    try:
        wait_for(lambda: rows() == half, "the first half was read")
        node.stop(grace=0)
        time.sleep(4)
        node.start()
        job.send(messages[half:])
        wait_for(lambda: rows() == len(messages), "the second half was read")
        assert job.drain() == 0
        assert {a["customer_id"] for a in job.read(job.alerts_topic)} == expected_customers(messages)
    finally:
        if job.process is not None and job.process.poll() is None:
            job.kill()
