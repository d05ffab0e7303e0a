"""Protobuf with a registry: message types by path, presence, well-known types, what is wrong with them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf import descriptor_pb2 as pb
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.text_format import Parse
from google.protobuf.timestamp_pb2 import DESCRIPTOR as TIMESTAMP
from google.protobuf.wrappers_pb2 import DESCRIPTOR as WRAPPERS
from google.type.date_pb2 import DESCRIPTOR as DATE
from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.decoding.decoders import open_decoder
from madhatter_provider.core.errors import ConfigurationError

from .judged import Bad, assert_each_judged_alone, assert_says_why
from .registry import Registry, contract, descriptor_text, framed

COLUMNS: list[dict[str, Any]] = [
    {"name": "id", "logicalType": "string", "required": True},
    {"name": "at", "logicalType": "timestamp"},
    {"name": "day", "logicalType": "date"},
    {"name": "price", "logicalType": "number", "physicalType": "NUMBER(6,2)"},
    {"name": "count", "logicalType": "integer"},
    {"name": "note", "logicalType": "string"},
    {"name": "kind", "logicalType": "string"},
    {"name": "blob", "logicalType": "string", "physicalType": "BINARY"},
    {"name": "who", "logicalType": "object", "properties": [
        {"name": "age", "logicalType": "integer", "required": True}]},
    {"name": "tags", "logicalType": "array", "items": {"logicalType": "string"}},
    {"name": "scores", "logicalType": "object"},
]  # fmt: skip
MONEY = Parse(
    """
    name: "confluent/type/decimal.proto" package: "confluent.type" syntax: "proto3"
    message_type { name: "Decimal"
      field { name: "value" number: 1 type: TYPE_BYTES label: LABEL_OPTIONAL }
      field { name: "precision" number: 2 type: TYPE_UINT32 label: LABEL_OPTIONAL }
      field { name: "scale" number: 3 type: TYPE_INT32 label: LABEL_OPTIONAL } }
    """,
    pb.FileDescriptorProto(),
)
SHOP = Parse(
    """
    name: "shop.proto" package: "shop" syntax: "proto3"
    dependency: "google/protobuf/timestamp.proto" dependency: "google/protobuf/wrappers.proto"
    dependency: "google/type/date.proto" dependency: "decimal.proto"
    enum_type { name: "Kind" value { name: "NEW" number: 0 } value { name: "USED" number: 1 } }
    message_type { name: "Envelope"
      nested_type { name: "Nothing" }
      nested_type { name: "Inner"
        field { name: "id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL } } }
    message_type { name: "Thing"
      field { name: "id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
      field { name: "at" number: 2 type: TYPE_MESSAGE type_name: ".google.protobuf.Timestamp" label: LABEL_OPTIONAL }
      field { name: "day" number: 3 type: TYPE_MESSAGE type_name: ".google.type.Date" label: LABEL_OPTIONAL }
      field { name: "price" number: 4 type: TYPE_MESSAGE type_name: ".confluent.type.Decimal" label: LABEL_OPTIONAL }
      field { name: "count" number: 5 type: TYPE_UINT64 label: LABEL_OPTIONAL }
      field { name: "note" number: 6 type: TYPE_MESSAGE type_name: ".google.protobuf.StringValue" label: LABEL_OPTIONAL }
      field { name: "kind" number: 7 type: TYPE_ENUM type_name: ".shop.Kind" label: LABEL_OPTIONAL }
      field { name: "blob" number: 8 type: TYPE_BYTES label: LABEL_OPTIONAL }
      field { name: "who" number: 9 type: TYPE_MESSAGE type_name: ".shop.Thing.Who" label: LABEL_OPTIONAL }
      field { name: "tags" number: 10 type: TYPE_STRING label: LABEL_REPEATED }
      field { name: "scores" number: 11 type: TYPE_MESSAGE type_name: ".shop.Thing.ScoresEntry" label: LABEL_REPEATED }
      nested_type { name: "Who"
        field { name: "age" number: 1 type: TYPE_INT64 label: LABEL_OPTIONAL }
        field { name: "seen" number: 2 type: TYPE_MESSAGE type_name: ".google.protobuf.Timestamp" label: LABEL_OPTIONAL } }
      nested_type { name: "ScoresEntry" options { map_entry: true }
        field { name: "key" number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL }
        field { name: "value" number: 2 type: TYPE_DOUBLE label: LABEL_OPTIONAL } } }
    """,  # noqa: E501
    pb.FileDescriptorProto(),
)
REGISTRY = Registry()
REGISTRY.add("PROTOBUF", descriptor_text(MONEY), "money")
SCHEMA = REGISTRY.add("PROTOBUF", descriptor_text(SHOP), references=[("decimal.proto", "money", 1)])
LOST = REGISTRY.add("PROTOBUF", descriptor_text(SHOP), references=[("decimal.proto", "money", 7)])
AVRO = REGISTRY.add("AVRO", '"string"', "avro")
DECODER = open_decoder(contract("protobuf", COLUMNS), REGISTRY)
THING = b"\x02\x02"  # one number, zigzag: the second message type of the file
INNER = b"\x04\x00\x02"


def _classes() -> tuple[Any, Any]:
    pool = DescriptorPool()
    for file in (TIMESTAMP, WRAPPERS, DATE):
        copy = pb.FileDescriptorProto()
        file.CopyToProto(copy)
        pool.Add(copy)
    money = pb.FileDescriptorProto()
    money.CopyFrom(MONEY)
    money.name = "decimal.proto"
    pool.Add(money)
    pool.Add(SHOP)
    return tuple(
        GetMessageClass(pool.FindMessageTypeByName(n)) for n in ("shop.Thing", "shop.Envelope.Inner")
    )  # type: ignore[return-value]


Thing, Inner = _classes()
WHEN = datetime(2026, 11, 24, 6, 0, 0, 123456, UTC)


def thing(**changes: Any) -> bytes:
    message = Thing(**{"id": "a", "count": 2, **changes})
    return framed(SCHEMA, THING + message.SerializeToString())


def whole() -> bytes:
    message = Thing(id="a", count=2, kind=1, blob=b"\x00\xff", tags=["x", "ü"], scores={2: 0.5, 1: 1.5})
    message.at.FromDatetime(WHEN)
    message.day.year, message.day.month, message.day.day = 2026, 11, 24
    message.price.value, message.price.scale = (-1234).to_bytes(2, "big", signed=True), 2
    message.note.value = ""
    message.who.seen.FromDatetime(WHEN)
    return framed(SCHEMA, THING + message.SerializeToString())


def test_values_are_typed() -> None:
    decoded = DECODER.decode([whole(), thing()])
    assert decoded.bad == []
    full, bare = decoded.table.to_pylist()
    assert full == {
        "id": "a", "at": WHEN, "day": date(2026, 11, 24), "price": Decimal("-12.34"), "count": 2, "note": "",
        "kind": "USED", "blob": b"\x00\xff", "tags": '["x","ü"]', "scores": '{"1":1.5,"2":0.5}',
        "who": '{"age":0,"seen":"2026-11-24T06:00:00.123456Z"}',
    }  # fmt: skip
    # What can be absent is null; what cannot has its default.
    assert bare == dict.fromkeys(full) | {
        "id": "a", "count": 2, "kind": "NEW", "blob": b"", "tags": "[]", "scores": "{}",
    }  # fmt: skip


def test_message_types_are_found_by_their_path() -> None:
    inner = framed(SCHEMA, INNER + Inner(id="i").SerializeToString())
    first = framed(SCHEMA, b"\x00")  # the file's first type, written short
    decoded = DECODER.decode([thing(), inner, first])
    assert decoded.table.column("id").to_pylist() == ["a", "i"]
    assert [(b.index, b.rule) for b in decoded.bad] == [(2, "required")]


BAD: dict[str, Bad] = {
    "tombstone": (None, "empty", None),
    "JSON": (b'{"id": "a"}', "wire_format", None),
    "unknown id": (framed(99, THING), "unknown_schema", None),
    "Avro": (framed(AVRO, b"\x02a"), "wrong_schema", None),
    "reference unknown": (framed(LOST, THING), "wrong_schema", None),
    "cut off": (whole()[:-3], "malformed_protobuf", None),
    "no path": (framed(SCHEMA, b""), "malformed_protobuf", None),
    "path cut off": (framed(SCHEMA, b"\x04\x00"), "malformed_protobuf", None),
    "no such type": (framed(SCHEMA, b"\x02\x06"), "malformed_protobuf", None),
    "negative path": (framed(SCHEMA, b"\x02\x01"), "malformed_protobuf", None),
    "endless path": (framed(SCHEMA, b"\xff" * 20), "malformed_protobuf", None),
    "not UTF-8": (framed(SCHEMA, THING + b"\x0a\x01\xff"), "malformed_protobuf", None),
    "beyond 64 bits": (thing(count=2**64 - 1), "wrong_type", "count"),
    "nanoseconds": (thing(at={"seconds": 1, "nanos": 1}), "malformed_protobuf", None),
    "after the last year": (thing(at={"seconds": 10**15}), "malformed_protobuf", None),
    "no date": (thing(day={"year": 2026}), "malformed_protobuf", None),
    "too many decimals": (thing(price={"value": b"\x01", "scale": 3}), "wrong_type", "price"),
    "not finite inside": (thing(scores={1: float("nan")}), "nested", "scores"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_messages_say_why(name: str) -> None:
    assert_says_why(DECODER, BAD[name], between=(thing(), whole()))


@given(st.lists(st.sampled_from([*(v for v, _, _ in BAD.values()), thing(), whole()]), max_size=6))
def test_a_row_is_judged_alone(values: list[bytes | None]) -> None:
    assert_each_judged_alone(DECODER, values)


@given(st.binary(max_size=40), st.integers(0, 200), st.integers(0, 255))
def test_arbitrary_bytes_never_raise(body: bytes, place: int, byte: int) -> None:
    changed = bytearray(whole())
    changed[5 + place % (len(changed) - 5)] = byte
    decoded = DECODER.decode([framed(SCHEMA, body), bytes(changed), framed(SCHEMA, THING + body), thing()])
    assert 3 in decoded.good
    assert len(decoded.good) + len(decoded.bad) == 4


def test_a_registry_that_gives_schemas_as_text_is_said() -> None:
    registry = Registry()
    schema_id = registry.add("PROTOBUF", 'syntax = "proto3"; message T { string id = 1; }')
    with pytest.raises(ConfigurationError, match="as text") as caught:
        open_decoder(contract("protobuf", COLUMNS), registry).decode([framed(schema_id, b"\x00")])
    assert "format=serialized" in caught.value.remedy
