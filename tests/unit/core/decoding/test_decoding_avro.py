"""Avro with a registry: versions side by side, logical types, what is wrong with a message or its schema."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.decoding.decoders import open_decoder
from madhatter_provider.core.decoding.registered_schemas import RegisteredSchema
from madhatter_provider.core.errors import ConfigurationError, MadHatterError, RegistryUnavailable

from .judged import Bad, assert_each_judged_alone, assert_says_why
from .registry import Registry, avro, contract, framed

COLUMNS: list[dict[str, Any]] = [
    {"name": "id", "logicalType": "string", "required": True},
    {"name": "at", "logicalType": "timestamp"},
    {"name": "day", "logicalType": "date"},
    {"name": "price", "logicalType": "number", "physicalType": "NUMBER(6,2)"},
    {"name": "count", "logicalType": "integer"},
    {"name": "ratio", "logicalType": "number"},
    {"name": "open", "logicalType": "boolean"},
    {"name": "blob", "logicalType": "string", "physicalType": "BINARY"},
    {"name": "tags", "logicalType": "array", "items": {"logicalType": "string"}},
    {"name": "who", "logicalType": "object", "properties": [{"name": "age", "logicalType": "integer"}]},
]
FIRST = {
    "type": "record", "name": "Thing", "namespace": "shop",
    "fields": [
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}}, {"name": "count", "type": "int"},
    ],
}  # fmt: skip
SECOND = {
    "type": "record", "name": "Thing", "namespace": "shop",
    "fields": [
        {"name": "unknown", "type": {"type": "map", "values": "double"}},
        {"name": "id", "type": ["null", "string", {"type": "enum", "name": "E", "symbols": ["A", "B"]}]},
        {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3}},
        {"name": "count", "type": "long"},
        {"name": "ratio", "type": "double"},
        {"name": "open", "type": "boolean"},
        {"name": "blob", "type": {"type": "fixed", "name": "F", "size": 2}},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "who", "type": {"type": "record", "name": "Who", "fields": [
            {"name": "age", "type": "int"},
            {"name": "paid", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
            {"name": "weight", "type": "double"},
            {"name": "seen", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}},
    ],
}  # fmt: skip
PLAIN_DAY = json.loads(json.dumps(SECOND).replace(', "logicalType": "date"', ""))
WHEN = datetime(2026, 11, 24, 6, 0, 0, 123456, UTC)
THING: dict[str, Any] = {
    "unknown": {"x": 1.5}, "id": "b", "at": WHEN, "day": date(2026, 11, 24), "price": Decimal("12.340"),
    "count": 7, "ratio": 0.5, "open": True, "blob": b"\x00\xff", "tags": ["a", "ü"],
    "who": {"age": 3, "paid": Decimal("1.50"), "weight": 1.5, "seen": datetime(2026, 1, 1, tzinfo=UTC)},
}  # fmt: skip
REGISTRY = Registry()
V1, V2 = REGISTRY.add("AVRO", json.dumps(FIRST)), REGISTRY.add("AVRO", json.dumps(SECOND))
LIST = {
    "type": "record",
    "name": "L",
    "fields": [{"name": "id", "type": "string"}, {"name": "n", "type": ["null", "L"]}],
}
RECURSIVE = REGISTRY.add("AVRO", json.dumps(LIST))
JSON_ID, PLAIN, BROKEN = (
    REGISTRY.add("JSON", "{}", "other"), REGISTRY.add("AVRO", '"string"'), REGISTRY.add("AVRO", "{")
)  # fmt: skip
DECODER = open_decoder(contract("avro", COLUMNS), REGISTRY)
NUMBER = UUID(int=5)


def first(**changes: Any) -> bytes:
    return avro(V1, FIRST, {"id": NUMBER, "count": 1, **changes})


def second(**changes: Any) -> bytes:
    return avro(V2, SECOND, THING | changes)


def test_versions_of_a_schema_side_by_side() -> None:
    decoded = DECODER.decode([second(), first(), second(id="c")])
    assert (decoded.good, decoded.bad) == ([0, 1, 2], [])
    new, old, last = decoded.table.to_pylist()
    assert old == {c["name"]: None for c in COLUMNS} | {"id": str(NUMBER), "count": 1}
    assert last["id"] == "c"
    assert new == {
        "id": "b", "at": WHEN, "day": date(2026, 11, 24), "price": Decimal("12.34"), "count": 7, "ratio": 0.5,
        "open": True, "blob": b"\x00\xff", "tags": '["a","ü"]',
        "who": '{"age":3,"paid":1.50,"weight":1.5,"seen":"2026-01-01T00:00:00Z"}',
    }  # fmt: skip
    assert decoded.table.schema == DECODER.schema


BAD: dict[str, Bad] = {
    "tombstone": (None, "empty", None),
    "empty": (b"", "empty", None),
    "JSON": (b'{"id": "a"}', "wire_format", None),
    "header cut off": (b"\0\0\0", "wire_format", None),
    "unknown id": (framed(99, b"x"), "unknown_schema", None),
    "JSON Schema": (framed(JSON_ID, b"{}"), "wrong_schema", None),
    "no record": (framed(PLAIN, b"\x02a"), "wrong_schema", None),
    "broken schema": (framed(BROKEN, b""), "wrong_schema", None),
    "recursive schema": (framed(RECURSIVE, b"\x02a\x02" * 100_000 + b"\x02a\0"), "wrong_schema", None),
    "cut off": (second()[:-3], "malformed_avro", None),
    "too long": (first() + b"x", "malformed_avro", None),
    "no body": (framed(V2, b""), "malformed_avro", None),
    "not UTF-8": (first().replace(str(NUMBER).encode()[:4], b"\xff" * 4), "malformed_avro", None),
    "a date after the last": (avro(V2, PLAIN_DAY, THING | {"day": 10_000_000}), "malformed_avro", None),
    "missing": (second(id=None), "required", "id"),
    "too many decimals": (second(price=Decimal("1.234")), "wrong_type", "price"),
    "too big": (second(price=Decimal("123456.000")), "wrong_type", "price"),
    "not finite": (second(ratio=float("nan")), "finite", "ratio"),
    "not finite inside": (second(who=THING["who"] | {"weight": float("inf")}), "nested", "who"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_messages_say_why(name: str) -> None:
    assert_says_why(DECODER, BAD[name], between=(first(), second()))


@given(st.lists(st.sampled_from([*(v for v, _, _ in BAD.values()), first(), second()]), max_size=6))
def test_a_row_is_judged_alone(values: list[bytes | None]) -> None:
    assert_each_judged_alone(DECODER, values)


@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 255))
def test_arbitrary_bytes_never_raise(body: bytes, place: int, byte: int) -> None:
    changed = bytearray(second())
    changed[5 + place % (len(changed) - 5)] = byte
    decoded = DECODER.decode([framed(V2, body), bytes(changed), framed(V1, body), first()])
    assert 3 in decoded.good
    assert len(decoded.good) + len(decoded.bad) == 4


def test_types_of_the_producer_that_are_not_the_contracts() -> None:
    schema = {"type": "record", "name": "T", "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": ["null", "long", "string"]},
        {"name": "price", "type": ["null", "double", "long"]},
        {"name": "count", "type": ["null", "double", "boolean"]},
        {"name": "ratio", "type": ["null", "long", "boolean"]}, {"name": "open", "type": ["null", "int"]},
        {"name": "blob", "type": ["null", "string"]}, {"name": "day", "type": ["null", "string", "int"]},
        {"name": "tags", "type": ["null", "string"]},
    ]}  # fmt: skip
    registry = Registry()
    schema_id = registry.add("AVRO", json.dumps(schema))
    decoder = open_decoder(contract("avro", COLUMNS), registry)

    def judged(**values: Any) -> Any:
        record = {f["name"]: None for f in schema["fields"]} | {"id": "a"} | values  # type: ignore[index]
        decoded = decoder.decode([avro(schema_id, schema, record)])
        (name,) = values
        return decoded.bad[0].rule if decoded.bad else decoded.table.column(name)[0].as_py()

    assert judged(at="2026-11-24T07:00:00.123456+01:00") == WHEN
    assert judged(at="2026-11-24T06:00:00") == "no_zone"
    assert judged(at=1_764_000_000_000) == "wrong_type"  # seconds, milliseconds or microseconds of what?
    assert judged(price=12.34) == Decimal("12.34")
    assert judged(price=0.1 + 0.2) == "wrong_type"
    assert judged(price=5) == Decimal(5)
    assert judged(count=1.5) == "wrong_type"
    assert judged(count=True) == "wrong_type"
    assert judged(ratio=2) == 2.0
    assert judged(ratio=True) == "wrong_type"
    assert judged(open=1) == "wrong_type"
    assert judged(blob="a") == "wrong_type"
    assert judged(day="2026-11-24") == date(2026, 11, 24)
    assert judged(day=5) == "wrong_type"
    assert judged(tags='["a"]') == "nested"  # a text that looks like an array is a text


def test_a_local_time_has_the_zone_that_the_contract_gives() -> None:
    local = {"type": "long", "logicalType": "local-timestamp-micros"}
    fields = [{"name": "id", "type": "string"}, {"name": "at", "type": local}]
    schema = {"type": "record", "name": "T", "fields": fields}
    registry = Registry()
    schema_id = registry.add("AVRO", json.dumps(schema))
    message = avro(schema_id, schema, {"id": "a", "at": WHEN.replace(tzinfo=None)})
    assert open_decoder(contract("avro", COLUMNS), registry).decode([message]).bad[0].rule == "no_zone"
    zoned = [
        dict(c, logicalTypeOptions={"defaultTimezone": "Etc/UTC"}) if c["name"] == "at" else c
        for c in COLUMNS
    ]
    decoded = open_decoder(contract("avro", zoned), registry).decode([message])
    assert decoded.table.column("at").to_pylist() == [WHEN]


def test_references_are_followed() -> None:
    registry = Registry()
    who = {"type": "record", "name": "Who", "namespace": "shop", "fields": [{"name": "age", "type": "int"}]}
    thing = {
        "type": "record",
        "name": "T",
        "fields": [{"name": "id", "type": "string"}, {"name": "who", "type": "shop.Who"}],
    }
    registry.add("AVRO", json.dumps(who), "who")
    good = registry.add("AVRO", json.dumps(thing), references=[("shop.Who", "who", 1)])
    lost = registry.add("AVRO", json.dumps(thing), references=[("shop.Who", "who", 2)])
    decoder = open_decoder(contract("avro", COLUMNS), registry)
    decoded = decoder.decode([framed(good, b"\x02a\x06"), framed(lost, b"\x02a\x06")])
    assert decoded.table.column("who").to_pylist() == ['{"age":3}']
    assert [(b.rule, "version 2 of subject who" in b.reason) for b in decoded.bad] == [("wrong_schema", True)]


def test_a_subject_keeps_others_out() -> None:
    registry = Registry()
    mine, other = (
        registry.add("AVRO", json.dumps(FIRST), "mine"),
        registry.add("AVRO", json.dumps(FIRST), "other"),
    )
    decoder = open_decoder(contract("avro", COLUMNS, subject="mine"), registry)
    record = {"id": NUMBER, "count": 1}
    decoded = decoder.decode([avro(mine, FIRST, record), avro(other, FIRST, record)])
    assert decoded.good == [0]
    assert "not of subject mine but of other" in decoded.bad[0].reason


def test_a_schema_is_asked_for_once() -> None:
    registry = Registry()
    schema_id = registry.add("AVRO", json.dumps(FIRST))
    decoder = open_decoder(contract("avro", COLUMNS), registry)
    for _ in range(3):
        decoder.decode([avro(schema_id, FIRST, {"id": NUMBER, "count": 1}), framed(9, b"")])
    assert registry.asked == [schema_id, 9]


@pytest.mark.parametrize("error", [RegistryUnavailable, ConfigurationError])
def test_what_the_registry_raises_is_no_fault_of_a_row(error: type[MadHatterError]) -> None:
    class Away(Registry):
        def by_id(self, schema_id: int) -> RegisteredSchema | None:
            if schema_id == V1:
                raise error("no answer", where="test", remedy="wait")
            return super().by_id(schema_id)

        def by_version(self, subject: str, version: int) -> RegisteredSchema | None:
            raise error("no answer", where="test", remedy="wait")

    away = Away(dict(REGISTRY.schemas))
    referring = away.add("AVRO", json.dumps(SECOND), references=[("shop.Who", "who", 1)])
    for message in (first(), framed(referring, b"")):
        with pytest.raises(error):
            open_decoder(contract("avro", COLUMNS), away).decode([message])


@pytest.mark.parametrize("message_format", ["avro", "protobuf", "jsonschema"])
def test_without_a_registry_nothing_begins(message_format: str) -> None:
    with pytest.raises(ConfigurationError, match="need a schema registry") as caught:
        open_decoder(contract(message_format, [{"name": "id", "logicalType": "string"}]))
    assert "schema_registry_conn_id" in caught.value.remedy
