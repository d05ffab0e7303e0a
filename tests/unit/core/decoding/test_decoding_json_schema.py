"""JSON Schema with a registry: the header is taken off, the body is JSON, its schema is checked if asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.decoding.decoders import open_decoder

from .judged import assert_each_judged_alone
from .registry import Registry, contract, framed

COLUMNS: list[dict[str, Any]] = [
    {"name": "id", "logicalType": "string", "required": True},
    {"name": "size", "logicalType": "integer"},
]
REGISTRY = Registry()
REGISTRY.add("JSON", json.dumps({"type": "integer", "maximum": 9}), "size")
STRICT = REGISTRY.add(
    "JSON",
    json.dumps(
        {
            "type": "object",
            "properties": {"id": {"type": "string"}, "size": {"$ref": "size.json"}},
            "additionalProperties": False,
        }
    ),
    references=[("size.json", "size", 1)],
)
AVRO, BROKEN = REGISTRY.add("AVRO", '"string"'), REGISTRY.add("JSON", '{"type": "nonsense"}')
LOOSE = open_decoder(contract("jsonschema", COLUMNS), REGISTRY)
CHECKED = open_decoder(contract("jsonschema", COLUMNS, validate=True), REGISTRY)
GOOD = framed(STRICT, b'{"id": "a", "size": 3}')

BAD: dict[str, tuple[bytes | None, str]] = {
    "tombstone": (None, "empty"),
    "no header": (b'{"id": "a"}', "wire_format"),
    "unknown id": (framed(99, b"{}"), "unknown_schema"),
    "Avro": (framed(AVRO, b"{}"), "wrong_schema"),
    "cut off": (GOOD[:-1], "malformed_json"),
    "empty body": (framed(STRICT, b""), "empty"),
    "missing": (framed(STRICT, b"{}"), "required"),
}
BROKEN_BY_SCHEMA = {
    "beyond a bound of the schema": framed(STRICT, b'{"id": "a", "size": 10}'),
    "not in the schema": framed(STRICT, b'{"id": "a", "more": 1}'),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_messages_say_why(name: str) -> None:
    value, rule = BAD[name]
    for decoder in (LOOSE, CHECKED):
        decoded = decoder.decode([GOOD, value, GOOD])
        assert decoded.good == [0, 2]
        assert [(b.index, b.rule) for b in decoded.bad] == [(1, rule)]


@pytest.mark.parametrize("name", BROKEN_BY_SCHEMA)
def test_the_schema_is_checked_if_the_contract_says_so(name: str) -> None:
    value = BROKEN_BY_SCHEMA[name]
    assert LOOSE.decode([value]).good == [0]
    (bad,) = CHECKED.decode([GOOD, value]).bad
    assert (bad.index, bad.rule) == (1, "json_schema")
    assert bad.reason.startswith("$")


def test_a_schema_that_cannot_be_used_and_a_message_nested_too_deeply() -> None:
    deep = framed(STRICT, b'{"id": ' + b"[" * 50_000 + b"]" * 50_000 + b"}")
    unusable = framed(BROKEN, b'{"id": "a"}')
    decoded = CHECKED.decode([deep, unusable, GOOD])
    assert [(b.index, b.rule) for b in decoded.bad] == [(0, "json_schema"), (1, "wrong_schema")]
    assert LOOSE.decode([unusable]).good == [0]


@given(
    st.lists(st.sampled_from([*(v for v, _ in BAD.values()), *BROKEN_BY_SCHEMA.values(), GOOD]), max_size=6)
)
def test_a_row_is_judged_alone(values: list[bytes | None]) -> None:
    assert_each_judged_alone(CHECKED, values)
