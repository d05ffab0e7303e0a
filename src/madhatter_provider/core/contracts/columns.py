"""One property of a contract's schema, with its row rules; nested ones hold properties of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from madhatter_provider.core.contracts.values import (
    as_length,
    as_number,
    as_object,
    as_objects,
    as_pattern,
    as_texts,
    identifier,
    wrong,
)

LOGICAL_TYPES: Final = ("string", "integer", "number", "boolean", "timestamp", "date", "object", "array")
_PHYSICAL_TYPES: Final = {
    "string": "VARCHAR",
    "integer": "NUMBER(38,0)",
    "number": "FLOAT",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMP_TZ(6)",
    "date": "DATE",
    "object": "VARIANT",
    "array": "VARIANT",
}
"""Types of columns whose contract names none."""
_NUMBER = re.compile(r"^(?:NUMBER|DECIMAL|NUMERIC)(?:\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?$", re.IGNORECASE)
_TEXT = re.compile(r"^(?:VARCHAR|STRING|TEXT|CHAR|CHARACTER)\s*\(\s*(\d+)\s*\)$", re.IGNORECASE)
_BINARY = re.compile(r"^(?:BINARY|VARBINARY)(?:\s*\(\s*(\d+)\s*\))?$", re.IGNORECASE)
_PRECISION: Final = 38
"""Digits that Snowflake's NUMBER holds."""


@dataclass(frozen=True, slots=True)
class Column:
    """One property of the schema, with its row rules.

    ``decimal`` is (precision, scale) when the physical type asks for an exact number. ``minimum``/``maximum``
    bound numbers; ``earliest``/``latest`` (aware) bound timestamps and dates; ``min_length``/``max_length``/
    ``pattern`` bound strings; ``values`` is an enumeration. ``default_zone`` is the time zone of a timestamp
    that names none; without it such a timestamp is a fault. ``properties`` are those of an object, ``items``
    is what an array holds, if the contract says.
    """

    name: str
    logical_type: str
    physical_type: str
    description: str = ""
    required: bool = False
    primary_key: bool = False
    decimal: tuple[int, int] | None = None
    minimum: float | None = None
    maximum: float | None = None
    earliest: datetime | None = None
    latest: datetime | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    values: tuple[str, ...] = ()
    default_zone: str = ""
    properties: tuple[Column, ...] = ()
    items: Column | None = None

    @property
    def nested(self) -> bool:
        """An object or an array, landed as JSON text."""
        return self.logical_type in ("object", "array")

    @property
    def binary(self) -> bool:
        """Bytes, landed as they are."""
        return self.logical_type == "string" and _BINARY.match(self.physical_type) is not None

    @property
    def capacity(self) -> int | None:
        """What the physical type holds, if it says: characters of a text, bytes of a binary, digits of an
        integer.
        """
        matches = {"string": (_TEXT, _BINARY), "integer": (_NUMBER,)}.get(self.logical_type, ())
        found = next((m for pattern in matches if (m := pattern.match(self.physical_type))), None)
        return int(found[1]) if found and found[1] else None


def parse_column(p: dict[str, Any], where: str) -> Column:
    """Read one property.

    :raises ContractError: something is missing or impossible.
    """
    return _parse(identifier(p.get("name"), where), p, where)


def _parse(name: str, p: dict[str, Any], where: str) -> Column:
    logical = p.get("logicalType")
    if logical not in LOGICAL_TYPES:
        raise wrong(
            f"column {name}: logicalType {logical!r} is unknown",
            where,
            f"Use one of {', '.join(LOGICAL_TYPES)}.",
        )
    place = f"{where} column {name}"
    physical = str(p.get("physicalType") or _PHYSICAL_TYPES[logical])
    opts = as_object(p.get("logicalTypeOptions"), place)
    timed = logical in ("timestamp", "date")
    return Column(
        name=name,
        logical_type=logical,
        physical_type=physical,
        description=str(p.get("description") or ""),
        required=bool(p.get("required") or p.get("primaryKey")),
        primary_key=bool(p.get("primaryKey")),
        decimal=_decimal(physical, place) if logical == "number" else None,
        minimum=None if timed else as_number(opts.get("minimum"), f"{place} minimum"),
        maximum=None if timed else as_number(opts.get("maximum"), f"{place} maximum"),
        earliest=_time(opts.get("minimum"), f"{place} minimum") if timed else None,
        latest=_time(opts.get("maximum"), f"{place} maximum") if timed else None,
        min_length=as_length(opts.get("minLength"), f"{place} minLength"),
        max_length=as_length(opts.get("maxLength"), f"{place} maxLength"),
        pattern=as_pattern(opts.get("pattern"), place),
        values=_known_values(p, place),
        default_zone=_zone(opts.get("defaultTimezone"), place),
        properties=_properties(p, place) if logical == "object" else (),
        items=_items(p, place) if logical == "array" else None,
    )


def _properties(p: dict[str, Any], place: str) -> tuple[Column, ...]:
    found = as_objects(p.get("properties"), f"{place} properties")
    columns = tuple(parse_column(q, f"{place} properties[{i}]") for i, q in enumerate(found))
    if len({c.name for c in columns}) != len(columns):
        raise wrong("a property is named twice", place, "Rename one.")
    return columns


def _items(p: dict[str, Any], place: str) -> Column | None:
    found = as_object(p.get("items"), f"{place} items")
    return _parse("items", found, place) if found else None


def _known_values(p: dict[str, Any], place: str) -> tuple[str, ...]:
    values: tuple[str, ...] = ()
    for q in as_objects(p.get("quality"), place):
        if q.get("metric") == "invalidValues":
            values = as_texts(as_object(q.get("arguments"), place).get("validValues"), place)
    return values


def _decimal(physical: str, place: str) -> tuple[int, int] | None:
    """NUMBER without a scale has none, and without a precision the largest."""
    number = _NUMBER.match(physical)
    if not number:
        return None
    precision, scale = int(number[1] or _PRECISION), int(number[2] or 0)
    if not 1 <= precision <= _PRECISION or scale > precision:
        raise wrong(f"{physical} is not a type", place, "Use NUMBER(p, s) with s <= p <= 38.")
    return precision, scale


def _time(value: Any, where: str) -> datetime | None:
    """A bound of times; one that names no zone is in UTC."""
    if value is None:
        return None
    try:
        if isinstance(value, date) and not isinstance(value, datetime):
            value = value.isoformat()
        when = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError) as err:
        raise wrong(
            f"{value!r:.60} is not a time", where, "Write ISO 8601, as 2026-11-24T06:00:00Z."
        ) from err
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _zone(value: Any, place: str) -> str:
    if value is None:
        return ""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, TypeError, ValueError, OSError, AttributeError) as err:
        raise wrong(
            f"defaultTimezone {value!r:.60} is unknown", place, "Write one as Europe/Berlin."
        ) from err
    return str(value)
