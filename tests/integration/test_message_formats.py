"""Every message format from a real broker into the local Snowflake, counted by the oracle."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.sdk import Asset
from confluent_kafka import Producer
from confluent_kafka.admin import ResourceType
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.errors import ConfigurationError, RegistryUnavailable
from madhatter_provider.hooks import schema_registry
from madhatter_provider.local.oracle import judge_stream, quarantine_reasons
from madhatter_provider.transfers.kafka_to_snowflake import KafkaToSnowflakeOperator

from .broker_settings import configure
from .registries import RunningRegistry, registry  # noqa: F401

pytestmark = pytest.mark.integration
WHEN = datetime(2026, 11, 24, 6, 0, 0, 123000, UTC)
COLUMNS: list[dict[str, Any]] = [
    {"name": "event_id", "logicalType": "string", "physicalType": "VARCHAR(64)", "required": True},
    {"name": "event_time", "logicalType": "timestamp", "required": True},
    {"name": "amount", "logicalType": "number", "physicalType": "NUMBER(12,2)"},
    {"name": "note", "logicalType": "string"},
    {"name": "buyer", "logicalType": "object", "properties": [
        {"name": "age", "logicalType": "integer", "required": True}]},
    {"name": "tags", "logicalType": "array", "items": {"logicalType": "string"}},
]  # fmt: skip
V1: dict[str, Any] = {
    "type": "record", "name": "Order", "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "dropped_later", "type": "int"}],
}  # fmt: skip
V2: dict[str, Any] = {
    "type": "record", "name": "Order", "fields": [
        *V1["fields"][:3],
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "buyer", "type": {
            "type": "record", "name": "Buyer", "fields": [{"name": "age", "type": "int"}]}},
        {"name": "tags", "type": {"type": "array", "items": "string"}}],
}  # fmt: skip


class State(dict[str, Any]):
    """An asset's state store."""

    def set(self, key: str, value: Any, **_: Any) -> None:
        self[key] = value


class Flow:
    """One topic of one format, its table, and a task that lands it."""

    def __init__(self, broker: str, topic: str, snowflake: Any, folder: Path) -> None:
        self.broker, self.topic, self.snowflake = broker, topic, snowflake
        self.stream = topic.replace("-", "_")
        self._file = folder / f"{self.stream}.odcs.yaml"
        self._state, self._asset = State(), Asset(f"topic_{topic}")
        self.sql = snowflake.client()

    def declare(self, message_format: str, columns: list[dict[str, Any]], **custom: Any) -> None:
        """Write the contract; make table, pipe and view."""
        named = {"format": message_format, "topic": self.topic, **custom}
        contract = {
            "apiVersion": "v3.1.0", "kind": "DataContract", "version": "1.0.0",
            "schema": [{"name": self.stream, "physicalName": self.stream.upper(), "properties": columns}],
            "customProperties": [{"property": k, "value": v} for k, v in named.items()],
        }  # fmt: skip
        self._file.write_text(yaml.safe_dump(contract))
        self.snowflake.apply_sql({self.stream: load_contract(self._file)})

    def send(self, *values: bytes | None, **config: Any) -> None:
        producer = Producer({"bootstrap.servers": self.broker, **config})
        for i, value in enumerate(values):
            producer.produce(self.topic, value, partition=i % 2)
        producer.flush()

    def run(self, run_id: str, registry_id: str | None = "registry", **options: Any) -> Any:
        task = KafkaToSnowflakeOperator(
            task_id="land", topic=self.topic, asset=self._asset, contract=str(self._file),
            landing_root=self.snowflake.landing_root, schema_registry_conn_id=registry_id, poll_seconds=0.1,
            **options,
        )  # fmt: skip
        context: Any = {
            "dag": SimpleNamespace(dag_id=f"land_{self.topic}"),
            "run_id": run_id,
            "ti": SimpleNamespace(try_number=1, get_ti_count=lambda **_: 0),
            "dag_run": SimpleNamespace(run_type="manual", run_after=None),
            "task": task,
            "asset_state_store": {self._asset: self._state},
            "task_state_store": State(),
        }
        return task.execute(context)

    def counted(self) -> tuple[int, int]:
        """Rows loaded and quarantined, if every message is in exactly one place."""
        verdict = judge_stream(self.broker, self.sql, self.topic, f"RAW.{self.stream.upper()}")
        assert verdict.ok, verdict
        return verdict.loaded, verdict.quarantined

    def rules(self) -> list[str]:
        """Why rows are quarantined."""
        return sorted(quarantine_reasons(self.sql, self.topic).values())

    def rows(self, select: str) -> list[tuple[Any, ...]]:
        """Columns of the view in CORE."""
        found = self.sql.execute(f"SELECT {select} FROM CORE.{self.stream.upper()} ORDER BY EVENT_ID")
        return [tuple(row.values()) for row in found]


@pytest.fixture
def flow(
    kafka_broker: str,
    topic: Any,
    snowflake: Any,
    registry: RunningRegistry,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Flow:
    kafka = {"conn_type": "kafka", "extra": {"bootstrap.servers": kafka_broker}}
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(kafka))
    monkeypatch.setenv("AIRFLOW_CONN_REGISTRY", registry.airflow_connection)
    return Flow(kafka_broker, topic(2), snowflake, tmp_path)


def order(i: int, **more: Any) -> dict[str, Any]:
    return {"event_id": f"e{i:03d}", "event_time": WHEN, "amount": Decimal(f"{i}.25"), **more}


def test_avro_in_two_versions(flow: Flow, registry: RunningRegistry) -> None:  # noqa: F811
    flow.declare("avro", [*COLUMNS, {"name": "key_bytes", "logicalType": "string", "physicalType": "BINARY"}])
    old, new = registry.avro(flow.topic, V1), registry.avro(flow.topic, V2)
    first = [old(order(i, dropped_later=1)) for i in range(10)]
    second = [new(order(i, note="ü", buyer={"age": i}, tags=["a"])) for i in range(10, 20)]
    flow.send(*[v for pair in zip(first, second, strict=True) for v in pair], first[0][:-1], b"{}", None)
    result = flow.run("r1", processes=2)
    assert (result["row_count"], result["quarantined"]) == (20, 3)
    assert flow.counted() == (20, 3)
    assert flow.rules() == ["empty", "malformed_avro", "wire_format"]
    found = flow.rows("EVENT_ID, AMOUNT::VARCHAR, NOTE, BUYER:age::NUMBER, TAGS[0]::VARCHAR")
    assert found[3] == ("e003", "3.25", None, None, None)
    assert [str(v) for v in found[13]] == ["e013", "13.25", "ü", "13", "a"]


def _order_type() -> Any:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="orders.proto", package="shop", syntax="proto3", dependency=["google/protobuf/timestamp.proto"]
    )
    file.message_type.add(name="First").field.add(name="event_id", number=1, type=field.TYPE_STRING, label=1)
    made = file.message_type.add(name="Order")
    made.field.add(name="event_id", number=1, type=field.TYPE_STRING, label=1)
    at = {"type": field.TYPE_MESSAGE, "label": 1}
    made.field.add(name="event_time", number=2, type_name=".google.protobuf.Timestamp", **at)
    made.field.add(name="amount", number=3, type=field.TYPE_DOUBLE, label=1)
    made.field.add(name="buyer", number=4, type_name=".shop.Order.Buyer", **at)
    made.field.add(name="tags", number=5, type=field.TYPE_STRING, label=3)
    made.nested_type.add(name="Buyer").field.add(name="age", number=1, type=field.TYPE_INT64, label=1)
    __import__("google.protobuf.timestamp_pb2")
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Order"))


def test_protobuf(flow: Flow, registry: RunningRegistry) -> None:  # noqa: F811
    flow.declare("protobuf", COLUMNS, subject=f"{flow.topic}-value")
    kind = _order_type()
    serialize = registry.protobuf(flow.topic, kind)

    def message(i: int) -> bytes:
        made = kind(event_id=f"e{i:03d}", amount=i + 0.25, tags=["a", "b"], buyer={"age": i})
        made.event_time.FromDatetime(WHEN)
        return serialize(made)

    no_time = serialize(kind(event_id="no time"))
    flow.send(*(message(i) for i in range(10)), no_time, message(0)[:-1])
    assert flow.run("r1")["quarantined"] == 2
    assert flow.counted() == (10, 2)
    assert flow.rules() == ["malformed_protobuf", "required"]
    found = flow.rows("EVENT_ID, AMOUNT::VARCHAR, BUYER:age::NUMBER, TAGS[1]::VARCHAR")
    assert [str(v) for v in found[7]] == ["e007", "7.25", "7", "b"]


def test_json_schema(flow: Flow, registry: RunningRegistry) -> None:  # noqa: F811
    flow.declare("jsonschema", COLUMNS, validate=True)
    properties = {"event_id": {"type": "string"}, "amount": {"type": "number", "maximum": 1000}}
    schema = {"title": "Order", "type": "object", "properties": properties, "required": ["amount"]}
    serialize = registry.json_schema(flow.topic, schema)
    rows = [
        serialize(order(i, event_time=WHEN.isoformat(), amount=i, buyer={"age": i}, tags=[]))
        for i in range(10)
    ]
    too_much = rows[0][:5] + b'{"event_id": "x", "event_time": "2026-11-24T06:00:00Z", "amount": 1001}'
    flow.send(*rows, too_much, rows[0].replace(b'"age"', b'"old"'))
    assert flow.run("r1")["quarantined"] == 2
    assert flow.counted() == (10, 2)
    assert flow.rules() == ["json_schema", "nested"]
    assert [str(v) for v in flow.rows("EVENT_ID, BUYER:age::NUMBER")[7]] == ["e007", "7"]


def test_nested_json_and_raw_bytes_keep_every_digit(
    flow: Flow, kafka_broker: str, topic: Callable[..., str], snowflake: Any, tmp_path: Path
) -> None:
    flow.declare("json", COLUMNS)
    buyer = '{"age": 7, "spent": 12345678901234567890.1234567890, "more": [1, {"x": null}]}'

    def row(i: int, nested: str = buyer) -> bytes:
        return (
            f'{{"event_id": "e{i:03d}", "event_time": "2026-11-24T07:00:00.123+01:00", "amount": {i}.10, '
            f'"buyer": {nested}, "tags": ["a", "b"]}}'
        ).encode()

    flow.send(*(row(i) for i in range(10)), row(10, '{"age": "old"}'), b"\xff\xfe", row(11)[:-1])
    assert flow.run("r1", registry_id=None)["quarantined"] == 3
    assert flow.counted() == (10, 3)
    assert flow.rules() == ["malformed_json", "malformed_json", "nested"]
    name = flow.stream.upper()
    (stored,) = flow.sql.execute(f"SELECT BUYER FROM RAW.{name} WHERE EVENT_ID = 'e003'")
    assert stored["BUYER"] == buyer
    assert [str(v) for v in flow.rows("BUYER:age::NUMBER, TAGS[1]::VARCHAR, AMOUNT::VARCHAR")[3]] == [
        "7",
        "b",
        "3.10",
    ]

    raw = Flow(kafka_broker, topic(2), snowflake, tmp_path)
    raw.declare("raw", [{"name": "value", "logicalType": "string", "physicalType": "BINARY(67108864)"}])
    raw.send(b"\x00\xff", b"", None, "ü".encode())
    assert raw.run("r1", registry_id=None)["quarantined"] == 0
    assert raw.counted() == (4, 0)
    found = raw.sql.execute(
        f"SELECT HEX_ENCODE(VALUE) AS V FROM RAW.{raw.stream.upper()} ORDER BY _PARTITION, _OFFSET"
    )
    assert [row["V"] for row in found] == ["00FF", None, "", "C3BC"]


def test_messages_of_ten_megabytes(flow: Flow) -> None:
    """A good one and a bad one; Kafka is told to take them, the reader needs no setting."""
    configure(flow.broker, ResourceType.TOPIC, flow.topic, {"max.message.bytes": "11000000"})
    flow.declare("json", COLUMNS)
    text = "x" * 10_000_000
    good = json.dumps({"event_id": "big", "event_time": "2026-11-24T06:00:00Z", "note": text}).encode()
    small = json.dumps({"event_id": "small", "event_time": "2026-11-24T06:00:00Z", "note": "x"}).encode()
    flow.send(good, good[:-1], small, **{"message.max.bytes": 11_000_000})
    assert flow.run("r1", registry_id=None)["quarantined"] == 1
    assert flow.counted() == (2, 1)
    assert flow.rules() == ["malformed_json"]
    assert [int(n) for (n,) in flow.rows("LENGTH(NOTE) AS N")] == [len(text), 1]
    (held,) = flow.sql.execute(
        "SELECT LENGTH(RAW) AS N, SHA2(RAW) AS SHA FROM RAW.QUARANTINE WHERE STREAM = ?", [flow.stream]
    )
    assert (int(held["N"]), held["SHA"]) == (len(good) - 1, sha256(good[:-1]).hexdigest())


def test_a_registry_that_is_away_loses_nothing(
    flow: Flow,
    registry: RunningRegistry,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flow.declare("avro", COLUMNS)
    serialize = registry.avro(flow.topic, V1)
    flow.send(*(serialize(order(i, dropped_later=1)) for i in range(10)))
    wrong = json.dumps({**json.loads(registry.airflow_connection), "password": "wrong"})
    monkeypatch.setenv("AIRFLOW_CONN_WRONG", wrong)
    with pytest.raises(ConfigurationError, match="refuses user 'producer'"):
        flow.run("r1", registry_id="wrong")
    registry.stop()
    try:
        monkeypatch.setattr(schema_registry, "_SECONDS", 0.3)
        with pytest.raises(RegistryUnavailable) as caught:
            flow.run("r1")
        assert caught.value.transient
    finally:
        registry.start()
    assert flow.run("r1")["quarantined"] == 0
    assert flow.counted() == (10, 0)
