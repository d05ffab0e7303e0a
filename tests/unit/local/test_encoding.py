"""Messages made of JSON: what is written is what the decoders read; what does not fit is refused."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf import descriptor_pb2 as pb
from google.protobuf.text_format import Parse
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.decoding.registry import Registry, contract, descriptor_text

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.decoding.decoders import open_decoder
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.local.encoding import Encode, open_encoder, schema_text, subject_of

COLUMNS: list[dict[str, Any]] = [
    {"name": "id", "logicalType": "string", "required": True},
    {"name": "at", "logicalType": "timestamp"},
    {"name": "day", "logicalType": "date"},
    {"name": "price", "logicalType": "number", "physicalType": "NUMBER(12,2)"},
    {"name": "count", "logicalType": "integer"},
    {"name": "ratio", "logicalType": "number"},
    {"name": "blob", "logicalType": "string", "physicalType": "BINARY"},
    {"name": "tags", "logicalType": "array", "items": {"logicalType": "string"}},
]
LINE = (
    b'{"id": "a", "at": "2026-11-24T07:00:00.123+01:00", "day": "2026-11-24", "price": 12.50, "count": 7, '
    b'"ratio": 1, "blob": "AP8=", "tags": ["\xc3\xbc"]}'
)
ROW = {
    "id": "a", "at": datetime(2026, 11, 24, 6, 0, 0, 123000, UTC), "day": date(2026, 11, 24),
    "price": Decimal("12.50"), "count": 7, "ratio": 1.0, "blob": b"\0\xff", "tags": '["ü"]',
}  # fmt: skip
AVRO: dict[str, Any] = {
    "type": "record", "name": "Thing", "namespace": "shop", "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "count", "type": ["null", "long"], "default": None},
        {"name": "ratio", "type": "double"},
        {"name": "blob", "type": ["null", {"type": "fixed", "name": "Two", "size": 2}], "default": None},
        {"name": "tags", "type": ["null", {"type": "array", "items": ["null", "string"]}], "default": None},
        {"name": "more", "type": {"type": "map", "values": ["null", "Two"]}, "default": {}},
    ],
}  # fmt: skip
SHOP = Parse(
    """
    name: "shop.proto" package: "shop" syntax: "proto3" dependency: "google/protobuf/timestamp.proto"
    message_type { name: "Thing"
      field { name: "id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
      field { name: "at" number: 2 type: TYPE_MESSAGE label: LABEL_OPTIONAL
              type_name: ".google.protobuf.Timestamp" }
      field { name: "count" number: 5 type: TYPE_INT64 label: LABEL_OPTIONAL }
      field { name: "ratio" number: 6 type: TYPE_DOUBLE label: LABEL_OPTIONAL }
      field { name: "blob" number: 8 type: TYPE_BYTES label: LABEL_OPTIONAL }
      field { name: "tags" number: 9 type: TYPE_STRING label: LABEL_REPEATED } }
    """,
    pb.FileDescriptorProto(),
)
SCHEMA = {"type": "object", "properties": {"price": {"type": "number", "maximum": 100}}, "required": ["id"]}
REGISTRY = Registry()
IDS = {
    "avro": REGISTRY.add("AVRO", json.dumps(AVRO)),
    "protobuf": REGISTRY.add("PROTOBUF", descriptor_text(SHOP)),
    "jsonschema": REGISTRY.add("JSON", json.dumps(SCHEMA)),
}
OF_PROTOBUF = ("id", "at", "count", "ratio", "blob", "tags")


def things(message_format: str) -> Contract:
    columns = [c for c in COLUMNS if message_format != "jsonschema" or c["name"] != "blob"]
    return contract(message_format, columns)  # JSON has no bytes


def encoder(message_format: str) -> Encode:
    return open_encoder(things(message_format), REGISTRY.schemas[IDS[message_format]], REGISTRY)


def decoded(message_format: str, message: bytes) -> dict[str, Any]:
    done = open_decoder(things(message_format), REGISTRY).decode([message])
    assert done.bad == []
    (row,) = done.table.to_pylist()
    return dict(row)


def test_a_line_of_json_is_read_again_as_it_was_meant() -> None:
    assert decoded("avro", encoder("avro")(LINE)) == ROW
    assert decoded("jsonschema", encoder("jsonschema")(LINE)) == {k: v for k, v in ROW.items() if k != "blob"}
    line = json.dumps({k: v for k, v in json.loads(LINE).items() if k in OF_PROTOBUF}).encode()
    read = decoded("protobuf", encoder("protobuf")(line))
    assert {k: v for k, v in read.items() if k in OF_PROTOBUF} == {k: ROW[k] for k in OF_PROTOBUF}


def test_json_keeps_its_very_text() -> None:
    assert encoder("jsonschema")(LINE)[5:] == LINE


@given(
    st.decimals(-9_999_999, 9_999_999, places=2),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(
        lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000, tzinfo=UTC)
    ),
    st.none() | st.lists(st.text(st.characters(codec="utf-8"), max_size=5), max_size=3),
)
def test_values_of_python_and_of_json_are_the_same(
    price: Decimal, count: int | None, at: datetime, tags: list[str] | None
) -> None:
    value = {
        "id": "x",
        "at": at,
        "day": at.date(),
        "price": price,
        "count": count,
        "ratio": 0.5,
        "tags": tags,
    }
    text = json.dumps(value, default=str).encode()
    encode = encoder("avro")
    assert encode(value) == encode(text)
    row = decoded("avro", encode(value))
    assert (row["price"], row["count"], row["at"]) == (price, count, at)
    assert (None if row["tags"] is None else json.loads(row["tags"])) == tags


def changed(**changes: Any) -> bytes:
    value = {k: v for k, v in (json.loads(LINE) | changes).items() if v != "absent"}
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("message_format", "line", "says"),
    [
        ("avro", b"oops", "Expecting value"),
        ("avro", b"[1]", "no JSON object"),
        ("avro", b"\xff", "decode"),
        ("avro", changed(id="absent"), "id"),
        ("avro", changed(colour="red"), "colour"),
        ("avro", changed(at="2026-11-24T07:00:00"), "names no offset"),
        ("avro", changed(day="yesterday"), "isoformat"),
        ("avro", changed(price="12.505"), "Scale"),
        ("avro", changed(price=True), "no exact number"),
        ("avro", changed(count=1.5), "is none of null, "),
        ("avro", changed(count=2**63), "is none of null, "),
        ("avro", changed(blob="AAAA"), "is none of null, "),
        ("avro", changed(tags=["a", 1]), "is none of null, "),
        ("protobuf", b"oops", "Failed to load JSON"),
        ("protobuf", b'{"colour": 1}', "colour"),
        ("protobuf", b'{"count": "many"}', "count"),
        ("jsonschema", b"oops", "Expecting value"),
        ("jsonschema", changed(price=101), "maximum"),
        ("jsonschema", b"{}", "id"),
    ],
)
def test_what_does_not_fit_is_refused(message_format: str, line: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=f"(?s).*{says}"):
        encoder(message_format)(line)


def test_a_schema_of_another_format_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="is PROTOBUF, the contract says avro"):
        open_encoder(contract("avro", COLUMNS), REGISTRY.schemas[IDS["protobuf"]], REGISTRY)


def test_subjects() -> None:
    assert subject_of(contract("avro", COLUMNS)) == "things-value"
    assert subject_of(contract("avro", COLUMNS, subject="shop.Thing")) == "shop.Thing"


def test_what_is_registered_of_a_file() -> None:
    of_protobuf = contract("protobuf", COLUMNS)
    assert schema_text(contract("avro", COLUMNS), b"{}") == "{}"
    both = pb.FileDescriptorSet(file=[pb.FileDescriptorProto(name="timestamp.proto"), SHOP])
    text = schema_text(of_protobuf, both.SerializeToString())
    assert pb.FileDescriptorProto.FromString(base64.b64decode(text)) == SHOP
    importing = pb.FileDescriptorProto(name="x.proto", dependency=["google/type/date.proto", "shop.proto"])
    for content, says in (
        (b"syntax = 'proto3';", "protoc"),
        (b"", "no file"),
        (pb.FileDescriptorSet(file=[importing]).SerializeToString(), r"imports shop\.proto"),
    ):
        with pytest.raises(ValueError, match=says):
            schema_text(of_protobuf, content)
