"""Rules of a contract that no other test has: what RAW's types hold, bounds of times, patterns."""

from __future__ import annotations

import json
from typing import Any

import pytest

from madhatter_provider.core.decoding.decoders import open_decoder
from madhatter_provider.core.errors import ContractError

from .registry import contract


def judged(value: Any, **properties: Any) -> str | None:
    """The rule that a value breaks in a column of these properties."""
    decoder = open_decoder(contract("json", [{"name": "c", **properties}]))
    bad = decoder.decode([json.dumps({"c": value}).encode()]).bad
    return bad[0].rule if bad else None


@pytest.mark.parametrize(
    ("good", "bad", "rule", "properties"),
    [
        ("ab", "abc", "beyond_type", {"logicalType": "string", "physicalType": "VARCHAR(2)"}),
        ("üü", "üüü", "beyond_type", {"logicalType": "string", "physicalType": "VARCHAR(2)"}),
        (-99, 100, "beyond_type", {"logicalType": "integer", "physicalType": "NUMBER(2,0)"}),
        (99, -100, "beyond_type", {"logicalType": "integer", "physicalType": "NUMBER(2,0)"}),
        (2**63 - 1, 2**63, "wrong_type", {"logicalType": "integer"}),
        (
            "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-01:00", "beyond_type",
            {"logicalType": "timestamp"},
        ),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "beyond_type", {"logicalType": "timestamp"}),
        (
            "2026-06-30T23:59:59-02:00", "2026-07-01T02:00:01Z", "maximum",
            {"logicalType": "timestamp", "logicalTypeOptions": {"maximum": "2026-07-01T02:00:00"}},
        ),
        (
            "2026-01-01", "2025-12-31", "minimum",
            {"logicalType": "date", "logicalTypeOptions": {"minimum": "2026-01-01"}},
        ),
    ],
)  # fmt: skip
def test_bounds(good: Any, bad: Any, rule: str, properties: dict[str, Any]) -> None:
    assert judged(good, **properties) is None
    assert judged(bad, **properties) == rule


@pytest.mark.parametrize("column", [{"logicalType": "string"}, {"logicalType": "array"}])
def test_text_without_a_length_holds_sixteen_mebibytes(column: dict[str, Any]) -> None:
    nested = column["logicalType"] == "array"
    most = "x" * ((16 << 20) - (4 if nested else 0))  # brackets and quotes
    for text, rule in ((most, None), (most + "x", "beyond_type")):
        assert judged([text] if nested else text, **column) == rule


def test_the_most_telling_rule_is_named() -> None:
    country = {
        "logicalType": "string",
        "physicalType": "VARCHAR(2)",
        "logicalTypeOptions": {"pattern": "^[A-Z]+$"},
    }
    assert judged("usa", **country) == "pattern"
    assert judged("USA", **country) == "beyond_type"


def test_a_pattern_that_arrow_cannot_use_is_said_before_anything_is_read() -> None:
    options = {"pattern": "^(?!x)"}
    with pytest.raises(ContractError, match="pattern") as caught:
        open_decoder(
            contract("json", [{"name": "c", "logicalType": "string", "logicalTypeOptions": options}])
        )
    assert "RE2" in caught.value.remedy


def test_raw_bytes_come_as_they_are_up_to_what_the_column_holds() -> None:
    column = {"name": "value", "logicalType": "string", "physicalType": "BINARY(4)"}
    decoded = open_decoder(contract("raw", [column])).decode([b"\0\xff", None, b"", b"12345"])
    assert decoded.table.column("value").to_pylist() == [b"\0\xff", None, b""]
    assert [(b.index, b.rule) for b in decoded.bad] == [(3, "beyond_type")]
    required = open_decoder(contract("raw", [{**column, "required": True}]))
    assert [b.rule for b in required.decode([b"x", None]).bad] == ["required"]
    plain = open_decoder(contract("raw", [{**column, "physicalType": "BINARY"}]))
    assert [b.index for b in plain.decode([bytes(8 << 20), bytes((8 << 20) + 1)]).bad] == [1]
