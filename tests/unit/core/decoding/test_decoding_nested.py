"""Nested columns of JSON messages: the text as it was sent, checked by the contract."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.decoding.json_messages import JsonDecoder
from madhatter_provider.core.decoding.nested import DEEPEST, deeper_than
from madhatter_provider.core.decoding.row_reader import RowReader

from .registry import contract

CONTRACT = contract(
    "json",
    [
        {"name": "id", "logicalType": "integer", "required": True},
        {"name": "extra", "logicalType": "object"},
        {
            "name": "address",
            "logicalType": "object",
            "required": True,
            "properties": [
                {"name": "city", "logicalType": "string", "required": True, "physicalType": "VARCHAR(10)"},
                {"name": "zip", "logicalType": "string", "logicalTypeOptions": {"pattern": "^[0-9]{5}$"}},
                {"name": "since", "logicalType": "timestamp"},
                {"name": "spent", "logicalType": "number", "logicalTypeOptions": {"minimum": 0}},
            ],
        },
        {
            "name": "lines",
            "logicalType": "array",
            "items": {
                "logicalType": "object",
                "properties": [{"name": "sku", "logicalType": "string", "required": True}],
            },
        },
    ],
)
DECODER = JsonDecoder(CONTRACT)
ADDRESS = '{"city": "Ely"}'


def row(**texts: str) -> bytes:
    fields = {"id": "1", "address": ADDRESS, **texts}
    return ("{" + ", ".join(f'"{k}": {v}' for k, v in fields.items()) + "}").encode()


def test_nested_values_are_the_text_that_was_sent() -> None:
    address = '{"city" :"Ely","spent":10.50, "more":[1.00,{"b":12345678901234567890123.45}], "zip":null}'
    decoded = DECODER.decode([row(address=address, lines='[ {"sku":"a"} ]', extra="null"), row()])
    assert decoded.bad == []
    assert decoded.table.column("address").to_pylist() == [address, ADDRESS]
    assert decoded.table.column("lines").to_pylist() == ['[ {"sku":"a"} ]', None]
    assert decoded.table.column("extra").to_pylist() == [None, None]
    assert decoded.table.schema.names == ["id", "extra", "address", "lines"]


BAD: dict[str, tuple[bytes, str, str | None]] = {
    "missing": (b'{"id": 1}', "required", "address"),
    "missing inside": (row(address="{}"), "nested", "address"),
    "null inside": (row(address='{"city": null}'), "nested", "address"),
    "text for an object": (row(address='"Ely"'), "wrong_type", None),
    "array for an object": (row(extra="[1]"), "wrong_type", None),
    "object for an array": (row(lines="{}"), "nested", "lines"),
    "text for an array": (row(lines='"a"'), "nested", "lines"),
    "wrong type inside": (row(lines='[{"sku": 1}]'), "nested", "lines"),
    "pattern inside": (row(address='{"city": "Ely", "zip": "x"}'), "nested", "address"),
    "bound inside": (row(address='{"city": "Ely", "spent": -1}'), "nested", "address"),
    "longer than its type inside": (row(address='{"city": "12345678901"}'), "nested", "address"),
    "no zone inside": (row(address='{"city": "Ely", "since": "2026-11-24T06:00:00"}'), "nested", "address"),
    "key twice inside": (row(extra='{"a": 1, "a": 2}'), "nested", "extra"),
    "key twice far inside": (row(extra='{"b": [{"a": 1, "a": 1}]}'), "nested", "extra"),
    "object twice": (row()[:-1] + b', "address": {"city": "Bath"}}', "duplicate_key", "address"),
    "array twice": (row(lines="[]")[:-1] + b', "lines": []}', "nested", None),
    "array twice, escaped": (row(lines="[]")[:-1] + b', "line\\u0073": []}', "nested", None),
    "not finite inside": (row(extra='{"a": NaN}'), "nested", None),
    "nested too deeply": (row(extra='{"a":' + "[" * 200 + "]" * 200 + "}"), "nested", None),
    "nested far too deeply": (row(unknown="[" * 100_000 + "]" * 100_000), "nested", None),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_nested_values_say_why(name: str) -> None:
    value, rule, column = BAD[name]
    decoded = DECODER.decode([row(id="7"), value, row(id="8")])
    assert decoded.table.column("id").to_pylist() == [7, 8]
    assert [(b.index, b.rule, b.column) for b in decoded.bad] == [(1, rule, column)]
    assert decoded.bad[0].reason


@given(
    st.lists(
        st.sampled_from([*(v for v, _, _ in BAD.values()), row(), row(lines="[]"), b"", None]), max_size=6
    )
)
def test_a_row_is_judged_alone(values: list[bytes | None]) -> None:
    together = DECODER.decode(values)
    for i, value in enumerate(values):
        alone = DECODER.decode([value])
        assert (i in together.good) == (alone.good == [0])
        assert [b.rule for b in together.bad if b.index == i] == [b.rule for b in alone.bad]
        if i in together.good:
            assert together.table.slice(together.good.index(i), 1).to_pylist() == alone.table.to_pylist()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(), inside, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), json_values, max_size=4), st.booleans())
def test_any_object_comes_through_as_it_is(value: dict[str, object], ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    if not ascii_only and any(0xD800 <= ord(c) < 0xE000 for c in text):
        return  # has no UTF-8
    decoded = DECODER.decode([row(extra=text)])
    if not decoded.bad:  # half a surrogate pair is no text
        assert decoded.table.column("extra").to_pylist() == [text]
        assert json.loads(text) == value
    else:
        assert any(0xD800 <= ord(c) < 0xE000 for c in json.dumps(value, ensure_ascii=False))


def test_the_row_reader_agrees() -> None:
    reader = RowReader({"things": CONTRACT})
    read = reader.read("things", row(lines='[{"sku": "a"}]'))
    assert (read.address.city, read.lines[0].sku, read.extra) == ("Ely", "a", None)
    with pytest.raises(ValueError, match="city"):
        reader.read("things", row(address="{}"))


def test_depth_is_counted_outside_of_strings() -> None:
    assert not deeper_than(b'{"a": "' + b"[" * 500 + b'\\""}', DEEPEST)
    assert not deeper_than(b"[]" * 500, DEEPEST)
    assert deeper_than(b"[" * 101, DEEPEST)
