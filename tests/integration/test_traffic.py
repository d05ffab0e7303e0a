"""Traffic on a real broker: topics, coordinates in the labels, order, the end in good order."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from madhatter_provider.core.contracts.contract import load_contracts
from madhatter_provider.core.errors import BrokerError
from madhatter_provider.local.traffic import generate
from madhatter_provider.local.traffic.generate import STREAMS
from madhatter_provider.local.traffic.send import Sender, ensure_topics

pytestmark = pytest.mark.integration
REPOSITORY = Path(__file__).parents[2]
CONTRACTS = {s: c for s, c in load_contracts(REPOSITORY / "include/contracts").items() if s in STREAMS}
COMMAND = [sys.executable, "-c", "from madhatter_provider.cli.traffic import app; app()"]


def read(servers: str, topics: list[str]) -> dict[tuple[str, int, int], bytes]:
    """All messages by topic, partition and offset."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "test", "enable.partition.eof": True})
    known = consumer.list_topics(timeout=10).topics
    places = [TopicPartition(t, p, 0) for t in topics for p in known[t].partitions]
    consumer.assign(places)
    found: dict[tuple[str, int, int], bytes] = {}
    ends = 0
    while ends < len(places):
        for m in consumer.consume(5000, 1.0):
            if m.error():
                ends += 1
            else:
                found[str(m.topic()), int(m.partition() or 0), int(m.offset() or 0)] = m.value() or b""
    consumer.close()
    return found


def send(servers: str, topics: dict[str, str], **arguments: Any) -> tuple[Sender, list[dict[str, Any]]]:
    """Send without waiting for due times; returns the labels too."""
    out = io.StringIO()
    sender = Sender(servers, out, topics)
    sender.run(generate(**arguments), start=0.0)
    return sender, [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.fixture
def topics(kafka_broker: str, topic: Any) -> dict[str, str]:
    return {stream: topic(CONTRACTS[stream].partitions, name=stream) for stream in STREAMS}


def test_labels_point_at_exactly_the_bad_rows_and_duplicates(
    kafka_broker: str, topics: dict[str, str]
) -> None:
    sender, labels = send(kafka_broker, topics, seed=71, rate=300, seconds=40)
    stored = read(kafka_broker, list(topics.values()))
    sent = list(generate(seed=71, rate=300, seconds=40))
    assert len(stored) == len(sent) == sum(sender.sent.values())
    assert Counter(m.value for m in sent) == Counter(stored.values())
    bad = {(x["topic"], x["partition"], x["offset"]): x["defect"] for x in labels if x["kind"] == "bad"}
    assert Counter(stored[place] for place in bad) == Counter(m.value for m in sent if m.defect)
    again = [(x["topic"], x["partition"], x["offset"]) for x in labels if x["kind"] == "duplicate"]
    assert Counter(stored[place] for place in again) == Counter(m.value for m in sent if m.duplicate)
    twice = Counter(stored.values())
    assert all(twice[stored[place]] == 2 for place in again)
    late = [x["event_id"] for x in labels if x["kind"] == "late"]
    assert sorted(late) == sorted(m.event_id for m in sent if m.late)
    fraud = [x for x in labels if x["kind"] == "fraud"]
    assert Counter(e for x in fraud for e in x["event_ids"]) == Counter(m.event_id for m in sent if m.case)
    assert all(x["fraud_kind"] in x["case"] and x["customer_id"] for x in fraud)


def test_topics_are_made_with_the_contracts_partitions(kafka_broker: str) -> None:
    for _ in range(2):
        ensure_topics(kafka_broker, CONTRACTS)
    known = AdminClient({"bootstrap.servers": kafka_broker}).list_topics(timeout=10).topics
    assert {s: len(known[c.topic].partitions) for s, c in CONTRACTS.items()} == {
        s: c.partitions for s, c in CONTRACTS.items()
    }


def test_a_broker_that_is_not_there_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("madhatter_provider.local.traffic.send._TIMEOUT_SECONDS", 1.0)
    with pytest.raises(BrokerError, match="does not answer"):
        ensure_topics("127.0.0.1:1", CONTRACTS)


def run_command(servers: str, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    env = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": servers}
    files = ["--labels", str(folder / "labels.ndjson"), "--summary", str(folder / "summary.json")]
    return subprocess.Popen(
        [*COMMAND, *arguments, *files], cwd=REPOSITORY, env=env, stdout=subprocess.DEVNULL
    )


def test_the_command_keeps_time_and_writes_a_summary(kafka_broker: str, tmp_path: Path) -> None:
    process = run_command(kafka_broker, tmp_path, "--seconds", "4", "--rate", "200", "--break", "clicks")
    assert process.wait(60) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert 3.5 < summary["finished"] - summary["started"] < 8
    assert set(summary["sent"]) == set(STREAMS)
    assert summary["bad"]["clicks"]["contract_break"] > 50
    labels = [json.loads(line) for line in (tmp_path / "labels.ndjson").read_text().splitlines()]
    broken = [x for x in labels if x.get("defect") == "contract_break"]
    assert {x["stream"] for x in broken} == {"clicks"}
    assert len(broken) == summary["bad"]["clicks"]["contract_break"]


def test_sigterm_ends_the_traffic_early_but_with_all_labels(kafka_broker: str, tmp_path: Path) -> None:
    process = run_command(kafka_broker, tmp_path, "--seconds", "600", "--rate", "300", "--customers", "500")
    deadline = time.monotonic() + 60
    while not (tmp_path / "labels.ndjson").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    labels = [json.loads(line) for line in (tmp_path / "labels.ndjson").read_text().splitlines()]
    assert sum(summary["sent"].values()) > 200
    assert sum(x["kind"] == "bad" for x in labels) == sum(sum(d.values()) for d in summary["bad"].values())


def test_profiles_are_written_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "profiles.ndjson"
    subprocess.run([*COMMAND, "profiles", "--seed", "3", "--customers", "50", "--out", str(out)], check=True)
    assert len([json.loads(line) for line in out.read_text().splitlines()]) == 50
    assert [p.name for p in out.parent.iterdir()] == ["profiles.ndjson"]
