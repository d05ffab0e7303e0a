"""The platform's real services: up, down, killed, restarted; data and ports stay."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from madhatter_provider.core.contracts.contract import load_contracts
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.local.home import LocalHome
from madhatter_provider.local.platform import Platform
from madhatter_provider.local.process import platform_processes
from madhatter_provider.local.service import get_json, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHome]:
    """A platform's home that is empty but for the shared cache; nothing of it runs afterwards."""
    cache = os.environ.get("MADHATTER_CACHE") or str(REPOSITORY / ".madhatter" / "cache")
    monkeypatch.setenv("MADHATTER_CACHE", cache)
    if shutil.which("java") is None:
        pytest.skip("no Java here: Kafka and the Pub/Sub emulator need it")
    found = LocalHome(tmp_path / "home", REPOSITORY)
    yield found
    Platform(found).stop()
    assert platform_processes(found.root) == []


def _query(platform: Platform, statement: str) -> list[tuple[Any, ...]]:
    """Rows of a statement, by the stock connector in a process of its own (it reads the CA once)."""
    code = (
        "import json, os, sys, snowflake.connector as s; e = os.environ;"
        "c = s.connect(user=e['SNOWFLAKE_USER'], account=e['SNOWFLAKE_ACCOUNT'], host=e['SNOWFLAKE_HOST'],"
        "port=int(e['SNOWFLAKE_PORT']), private_key_file=e['SNOWFLAKE_PRIVATE_KEY_FILE'],"
        "database='MADHATTER', schema='OPS', insecure_mode=True);"
        "print(json.dumps(c.cursor().execute(sys.argv[1]).fetchall(), default=str))"
    )
    done = platform.run(sys.executable, "-c", code, statement, timeout=120)
    assert done.returncode == 0, done.stderr
    return [tuple(row) for row in json.loads(done.stdout.splitlines()[-1])]


def _end_offset(servers: str, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "test"})
    try:
        return int(consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)[1])
    finally:
        consumer.close()


def test_killed_services_come_back_with_ports_and_data(home: LocalHome) -> None:
    platform = Platform(home)
    platform.start(["kafka", "snowflake"])
    servers = platform.env["KAFKA_BOOTSTRAP_SERVERS"]
    producer = Producer({"bootstrap.servers": servers, "acks": "all", "log_level": 0})
    for _ in range(50):
        producer.produce("clicks", b"{}", partition=0)
    assert producer.flush(20) == 0
    _query(platform, "CREATE TABLE OPS.PROBE AS SELECT 7 AS N")
    before = platform.ports
    for name in ("kafka", "snowflake"):
        platform.kill(name, signal.SIGKILL)
    assert wait_until(lambda: not any(s.alive for s in platform.services), seconds=10)

    again = Platform(home)
    again.start(["kafka", "snowflake"])
    assert again.ports == before
    assert _end_offset(servers, "clicks") == 50
    assert _query(again, "SELECT N FROM OPS.PROBE") == [(7,)]


def test_steps_made_topics_and_tables(home: LocalHome) -> None:
    platform = Platform(home)
    platform.start(["topics", "sql"])
    consumer = Consumer({"bootstrap.servers": platform.env["KAFKA_BOOTSTRAP_SERVERS"], "group.id": "t"})
    topics = {name: len(t.partitions) for name, t in consumer.list_topics(timeout=20).topics.items()}
    consumer.close()
    contracts = load_contracts(REPOSITORY / "include" / "contracts").values()
    assert topics.items() >= {c.topic: c.partitions for c in contracts}.items()
    assert _query(platform, "SELECT COUNT(*) FROM OPS.SLICES") == [(0,)]


def test_restart_repeats_what_the_emulator_forgot(home: LocalHome) -> None:
    platform = Platform(home)
    if "pubsub" not in platform.catalog.nodes:
        pytest.skip("no Pub/Sub emulator here")
    platform.start(["pubsub-setup"])
    platform.restart("pubsub")
    found = get_json(
        f"http://{platform.env['PUBSUB_EMULATOR_HOST']}/v1/projects/madhatter-local/subscriptions"
    )
    names = {s["name"].rsplit("/", 1)[1]: s.get("pushConfig", {}) for s in found["subscriptions"]}
    assert platform.env["FUNCTION_URL"] in names["fraud-alerts-function"]["pushEndpoint"]
    assert "fraud-alerts-audit" in names


def test_unknown_names_are_refused(home: LocalHome) -> None:
    with pytest.raises(ConfigurationError, match="No port is named 'kafak'"):
        Platform(home, pinned_ports={"kafak": 1})
    with pytest.raises(ConfigurationError, match="kafak"):
        Platform(home).start(["kafak"])
    with pytest.raises(ConfigurationError, match="kafak"):
        Platform(home).restart("kafak")


def test_command_line(home: LocalHome) -> None:
    env = {**os.environ, "MADHATTER_HOME": str(home.root)}

    def madhatter(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "madhatter_provider.cli.main", "local", *words]
        return subprocess.run(
            command, env=env, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False
        )

    assert madhatter("status").returncode == 3
    up = madhatter("up", "--only", "webhook")
    assert up.returncode == 0, up.stderr
    assert "webhook" in up.stdout
    again = madhatter("up", "--only", "webhook")
    assert "runs already" in again.stdout
    told = {s["name"]: s for s in json.loads(madhatter("status", "--json").stdout)}
    assert told["webhook"]["alive"]
    assert told["webhook"]["rss_mb"] > 0
    assert not told["kafka"]["alive"]
    assert madhatter("logs", "webhook").returncode == 0
    assert madhatter("logs", "wehbook").returncode != 0
    assert f"export MADHATTER_HOME={home.root}" not in madhatter("env").stdout, "it is set already"
    assert "export KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:" in madhatter("env").stdout
    assert madhatter("down").returncode == 0
    assert platform_processes(home.root) == []
