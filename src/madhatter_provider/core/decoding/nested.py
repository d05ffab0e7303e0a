"""Objects and arrays of a contract: checked by what it says of them, landed as the JSON text that was sent.

As text, since that alone loads faithfully everywhere: COPY stores the text of a Parquet column in a VARIANT
as one string and not as an object, and what it makes of Parquet lists depends on the scanner. So RAW holds
the text, with all digits of its numbers, and the views of CORE parse it.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec

from madhatter_provider.core.contracts.columns import Column
from madhatter_provider.core.decoding.decoded import Fault

DEEPEST: Final = 100
"""Levels of a nested value. A limit of our own, so that it is the same in every process."""
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BRACKETS = re.compile(rb"[\[{}\]]")
_TYPES: dict[str, Any] = {
    "string": str, "integer": int, "number": float, "boolean": bool, "date": datetime.date,
    "object": dict, "array": list,
}  # fmt: skip


def value_type(column: Column) -> Any:
    """Type of a column's value for msgspec, with its rules. Timestamps are aware, unless the contract gives
    them a zone.
    """
    if column.values:
        return Literal[column.values]
    if column.logical_type == "timestamp":
        return Annotated[datetime.datetime, msgspec.Meta(tz=None if column.default_zone else True)]
    if column.properties:
        return row_type(column.name, column.properties)
    if column.items is not None:
        return list[value_type(column.items)]  # type: ignore[misc]
    limits: dict[str, Any] = {
        "ge": column.minimum,
        "le": column.maximum,
        "min_length": column.min_length,
        "max_length": column.max_length,
        "pattern": column.pattern,
    }
    if column.capacity is not None and column.logical_type == "string":
        limits["max_length"] = min(column.max_length or column.capacity, column.capacity)
    given = {name: limit for name, limit in limits.items() if limit is not None}
    kind = _TYPES[column.logical_type]
    return Annotated[kind, msgspec.Meta(**given)] if given else kind


def row_type(name: str, columns: tuple[Column, ...]) -> type[msgspec.Struct]:
    """Type with one attribute per column; those that are not required may be missing or null."""
    fields: list[Any] = []
    for column in columns:
        kind = value_type(column)
        fields.append((column.name, kind) if column.required else (column.name, kind | None, None))
    return msgspec.defstruct(f"Row_{name}", fields, kw_only=True, frozen=True, gc=False)


class NestedValue:
    """Checks values of one nested column."""

    def __init__(self, column: Column) -> None:
        self._decoder = msgspec.json.Decoder(value_type(column))

    def check(self, text: bytes) -> None:
        """Raise :class:`ValueError` with the reason if JSON text is not what the contract says. A key that
        an object has twice is a fault: readers differ in which of the two they take.

        :param text: UTF-8, not deeper than :data:`DEEPEST`.
        """
        try:
            self._decoder.decode(text)
        except msgspec.DecodeError as err:
            raise ValueError(str(err)) from err
        json.loads(text, object_pairs_hook=_unique)


class NestedColumns:
    """Takes the nested columns of JSON messages out of them, as the text that they are."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._checks = {c.name: NestedValue(c) for c in columns}
        fields: list[Any] = [(c.name, msgspec.Raw, None) for c in columns]
        self._splitter = msgspec.json.Decoder(msgspec.defstruct("Nested", fields))

    def split(self, values: Sequence[bytes]) -> tuple[dict[str, list[str | None]], dict[int, Fault]]:
        """Texts by column, and the messages that are at fault, by their place.

        :param values: JSON objects in UTF-8.
        """
        texts: dict[str, list[str | None]] = {name: [] for name in self._checks}
        faults: dict[int, Fault] = {}
        for place, value in enumerate(values):
            try:
                row = self._row(value)
            except ValueError as err:
                faults[place] = Fault("nested", str(err))
                row = None
            for name, check in self._checks.items():
                raw = getattr(row, name, None)
                text = None if raw is None else bytes(raw)
                if text is None or text == b"null":
                    texts[name].append(None)
                    continue
                try:
                    check.check(text)
                except ValueError as err:
                    faults.setdefault(place, Fault("nested", f"{name}: {err}", name))
                texts[name].append(text.decode("utf-8"))
        return texts, faults

    def _row(self, value: bytes) -> msgspec.Struct:
        if deeper_than(value, DEEPEST):
            raise ValueError(f"is nested deeper than {DEEPEST} levels")
        for name in self._checks:
            if value.count(f'"{name}"'.encode()) > 1 or b"\\u" in value:
                keys = [key for key, _ in json.loads(value, object_pairs_hook=list)]
                if keys.count(name) > 1:
                    raise ValueError(f"has the key {name!r} twice")
        try:
            return self._splitter.decode(value)
        except msgspec.DecodeError as err:
            raise ValueError(str(err)) from err


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"has the key {next(k for k in keys if keys.count(k) > 1)!r} twice")


def deeper_than(text: bytes, levels: int) -> bool:
    """Whether JSON text is nested deeper than so many levels, found without recursion."""
    if text.count(b"{") + text.count(b"[") <= levels:
        return False
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", text)):
        depth += 1 if bracket in b"{[" else -1
        if depth > levels:
            return True
    return False
