"""Columns: types, nested ones, bounds of times, and what is impossible."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from madhatter_provider.core.contracts.columns import parse_column
from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.errors import ContractError

from .registry import contract


def column(logical_type: str, physical_type: str | None = None, **more: Any) -> Any:
    p = {"name": "c", "logicalType": logical_type, "physicalType": physical_type, **more}
    return parse_column(p, "things.yaml")


@pytest.mark.parametrize(
    ("physical_type", "decimal"),
    [("NUMBER(10,2)", (10, 2)), ("decimal( 5 , 5 )", (5, 5)), ("NUMBER(7)", (7, 0)), ("NUMERIC", (38, 0)),
     ("FLOAT", None), (None, None)],
)  # fmt: skip
def test_exact_numbers(physical_type: str | None, decimal: tuple[int, int] | None) -> None:
    assert column("number", physical_type).decimal == decimal


@pytest.mark.parametrize(
    ("logical_type", "physical_type", "capacity"),
    [("string", "VARCHAR(12)", 12), ("string", "BINARY(12)", 12), ("string", "VARCHAR", None),
     ("integer", "NUMBER(5,0)", 5), ("integer", "INTEGER", None), ("number", "NUMBER(5,1)", None)],
)  # fmt: skip
def test_what_a_type_holds(logical_type: str, physical_type: str, capacity: int | None) -> None:
    assert column(logical_type, physical_type).capacity == capacity


def test_bounds_of_times_are_moments() -> None:
    options = {"minimum": "2026-01-01", "maximum": datetime(2027, 1, 1, 1, tzinfo=UTC)}
    found = column("timestamp", logicalTypeOptions=options)
    assert (found.earliest, found.latest) == (datetime(2026, 1, 1, tzinfo=UTC), options["maximum"])
    assert (found.minimum, found.maximum) == (None, None)


def test_nested_properties() -> None:
    found = column(
        "array", items={"logicalType": "object", "properties": [{"name": "sku", "logicalType": "string"}]}
    )
    assert found.nested
    assert found.items.properties[0].name == "sku"


@pytest.mark.parametrize(
    ("logical_type", "more", "says"),
    [
        ("number", {"physicalType": "NUMBER(39,0)"}, "NUMBER(39,0) is not a type"),
        ("number", {"physicalType": "NUMBER(3,4)"}, "NUMBER(3,4) is not a type"),
        ("timestamp", {"logicalTypeOptions": {"minimum": 5}}, "5 is not a time"),
        ("timestamp", {"logicalTypeOptions": {"defaultTimezone": "Mars"}}, "'Mars' is unknown"),
        ("object", {"properties": [{"name": "a", "logicalType": "string"}] * 2}, "named twice"),
        ("object", {"properties": [{"logicalType": "string"}]}, "None is not a plain name"),
        ("array", {"items": {"logicalType": "stuff"}}, "logicalType 'stuff' is unknown"),
        ("array", {"items": [1]}, "is not an object"),
    ],
)
def test_messages(logical_type: str, more: dict[str, Any], says: str) -> None:
    with pytest.raises(ContractError) as caught:
        column(logical_type, **more)
    assert says in caught.value.what
    assert "things.yaml" in caught.value.where
    assert caught.value.remedy


TEXT = {"name": "a", "logicalType": "string"}
BYTES = {"name": "value", "logicalType": "string", "physicalType": "BINARY"}


@pytest.mark.parametrize(
    ("message_format", "properties", "custom", "says"),
    [
        ("csv", [TEXT], {}, "'csv' is none of its choices"),
        ("raw", [TEXT], {}, "format raw has one column"),
        ("raw", [BYTES, TEXT], {}, "format raw has one column"),
        ("json", [BYTES], {}, "JSON has no bytes for ['value']"),
        ("json", [TEXT, {**TEXT, "name": "A"}], {}, "column named twice: ['a']"),
        ("json", [{**TEXT, "name": "_OFFSET"}], {}, "['_offset'] are columns that every table has"),
        ("json", [TEXT], {"eventTimeColumn": "a"}, "'a' is not a column of type timestamp"),
        ("jsonschema", [TEXT], {"validate": "yes"}, "'yes' is neither true nor false"),
    ],
)
def test_formats_and_columns_that_do_not_go_together(
    message_format: str, properties: list[dict[str, Any]], custom: dict[str, Any], says: str
) -> None:
    with pytest.raises(ContractError) as caught:
        contract(message_format, properties, **custom)
    assert says in caught.value.what


def test_raw_bytes_happen_when_kafka_says() -> None:
    found: Contract = contract("raw", [BYTES], eventTimeColumn=None)
    assert (found.format, found.event_time) == ("raw", "_timestamp")
