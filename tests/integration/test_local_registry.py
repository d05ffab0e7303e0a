"""A project with an Avro stream: its platform has a schema registry, and what is sent is what that says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from typer.testing import CliRunner, Result

from madhatter_provider.cli.main import app
from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.decoding.decoders import open_decoder
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.hooks.schema_registry import SchemaRegistry
from madhatter_provider.local.home import LocalHome
from madhatter_provider.local.platform import Platform
from madhatter_provider.local.process import platform_processes
from madhatter_provider.local.service import wait_until
from madhatter_provider.local.starter_project import starter_files

pytestmark = pytest.mark.integration
SAMPLES = "include/samples/orders.ndjson"
ORDER = {
    "type": "record", "name": "Order", "fields": [
        {"name": "order_id", "type": "string"},
        {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "customer_id", "type": "string"},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "currency", "type": "string"},
        {"name": "note", "type": ["null", "string"], "default": None},
    ],
}  # fmt: skip


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """Broker and registry of the project; the mock broker is up at once."""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    project = tmp_path / "shop"
    for name, content in starter_files().items():
        file = project / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    contract = project / "include/contracts/orders.odcs.yaml"
    contract.write_text(f"{contract.read_text()}  - {{property: format, value: avro}}\n")
    (project / "order.avsc").write_text(json.dumps(ORDER))
    home = LocalHome(tmp_path / "home", project)
    monkeypatch.setenv("MADHATTER_HOME", str(home.root))
    monkeypatch.chdir(project)
    running = Platform(home)
    try:
        running.start(["kafka", "schema-registry"])
        yield running
        contract.unlink()  # what is not in the catalog any more is ended too
    finally:
        Platform(home).stop()
    assert platform_processes(home.root) == []


def send(*words: str) -> Result:
    return CliRunner().invoke(app, ["local", "send", *words])


def sent(platform: Platform, topic: str) -> list[bytes]:
    """Messages of a topic. The mock broker has four partitions."""
    settings = {"bootstrap.servers": platform.env["KAFKA_BOOTSTRAP_SERVERS"], "group.id": "t"}
    consumer = Consumer({**settings, "auto.offset.reset": "error"})
    partitions = [TopicPartition(topic, p, 0) for p in range(4)]
    consumer.assign(partitions)
    try:
        count = sum(consumer.get_watermark_offsets(p, timeout=20)[1] for p in partitions)
        return [bytes(m.value() or b"") for m in consumer.consume(count, timeout=20)]
    finally:
        consumer.close()


def refused(done: Result) -> str:
    assert isinstance(done.exception, ConfigurationError), done.output
    return str(done.exception)


def test_lines_are_sent_as_the_registered_schema_says(platform: Platform, tmp_path: Path) -> None:
    said = refused(send("orders", SAMPLES))
    assert "No schema is registered for subject orders-value" in said
    assert "--schema FILE" in said
    done = send("orders", SAMPLES, "--schema", "order.avsc")
    assert "5 messages to orders" in done.output
    wrong = tmp_path / "wrong.ndjson"
    wrong.write_bytes(Path(SAMPLES).read_bytes() + b'{"order_id": "o-1"}\n')
    said = refused(send("orders", str(wrong)))
    assert "Line 6 is no message of the schema" in said
    assert "nothing was sent" in said

    platform.restart("schema-registry")  # it keeps what it was told
    done = send("orders", SAMPLES)
    assert "5 messages to orders" in done.output

    messages = sent(platform, "orders")
    assert len(messages) == 10
    url = platform.env["SCHEMA_REGISTRY_URL"]
    contract = load_contract("include/contracts/orders.odcs.yaml")
    decoded = open_decoder(contract, SchemaRegistry(url, url)).decode(messages)
    assert {b.rule for b in decoded.bad} == {"minimum"}
    rows: list[dict[str, Any]] = decoded.table.to_pylist()
    assert sorted(str(r["amount"]) for r in rows)[::2] == ["12.00", "230.00", "59.90", "8.15"]


def test_what_is_not_as_the_contract_says_is_refused(platform: Platform) -> None:
    Path("broken.avsc").write_text("{")
    assert "refuses the schema" in refused(send("orders", SAMPLES, "--schema", "broken.avsc"))
    Path("list.avsc").write_text('{"type": "array", "items": "int"}')
    assert "is not a record" in refused(send("orders", SAMPLES, "--schema", "list.avsc"))
    assert "No contract says that others" in refused(send("others", SAMPLES, "--schema", "order.avsc"))
    assert "5 messages to others" in send("others", SAMPLES).output
    assert sorted(sent(platform, "others")) == sorted(Path(SAMPLES).read_bytes().splitlines())
    platform.kill("schema-registry")
    assert wait_until(
        lambda: not any(s.alive for s in platform.services if s.name == "schema-registry"), seconds=10
    )
    assert "The local schema-registry does not run" in refused(send("orders", SAMPLES))
