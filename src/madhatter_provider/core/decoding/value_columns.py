"""From values of Python to typed Arrow columns, one column of many messages at once.

Nothing is rounded and no type is guessed: what does not fit a column exactly is a fault of its row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import UUID

import msgspec

from madhatter_provider.core.contracts.columns import Column
from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.decoding.decoded import Fault
from madhatter_provider.core.decoding.exact_numbers import fits
from madhatter_provider.core.decoding.nested import DEEPEST, NestedValue, deeper_than
from madhatter_provider.core.decoding.row_rules import arrow_schema
from madhatter_provider.core.decoding.text_times import parse_times

if TYPE_CHECKING:
    import pyarrow as pa

_READY: Final[Mapping[str, frozenset[type]]] = {
    "string": frozenset({str}),
    "integer": frozenset({int}),
    "number": frozenset({float}),
    "boolean": frozenset({bool}),
    "date": frozenset({date}),
    "timestamp": frozenset({datetime}),
    "decimal": frozenset({Decimal}),
    "binary": frozenset({bytes}),
    "object": frozenset(),
    "array": frozenset(),
}
"""Types that Arrow takes as they are. It would take others too: 1.5 for 1, a number for a time."""


class ValueColumns:
    """Makes tables of a contract's columns."""

    def __init__(self, contract: Contract) -> None:
        self.schema: pa.Schema = arrow_schema(contract)
        self._builders = [_ColumnBuilder(c, self.schema.field(c.name).type) for c in contract.columns]

    def table(self, rows: Sequence[Mapping[str, Any]]) -> tuple[pa.Table, dict[int, Fault]]:
        """One row per mapping, and the rows that are at fault, by their place; names that a row has not are
        null.
        """
        import pyarrow as pa

        arrays, faults = [], dict[int, Fault]()
        for builder in self._builders:
            array, wrong = builder.build([row.get(builder.name) for row in rows])
            arrays.append(array)
            faults = {**wrong, **faults}
        return pa.table(arrays, schema=self.schema), faults


class _ColumnBuilder:
    def __init__(self, column: Column, arrow_type: pa.DataType) -> None:
        self.name, self._column, self._type = column.name, column, arrow_type
        self._ready = _READY[_kind(column)]
        self._convert = _CONVERTERS[_kind(column)]
        self._nested = NestedValue(column) if column.nested else None

    def build(self, values: list[Any]) -> tuple[pa.Array, dict[int, Fault]]:
        import pyarrow as pa

        kinds = set(map(type, values)) - {type(None)}
        if kinds <= self._ready and not (datetime in kinds and any(v and v.tzinfo is None for v in values)):
            try:
                return pa.array(values, self._type), {}
            except (pa.ArrowInvalid, OverflowError):
                pass  # one of them does not fit: find it
        faults: dict[int, Fault] = {}
        converted: list[Any] = []
        for row, value in enumerate(values):
            try:
                converted.append(None if value is None else self._value(value))
            except _Misfit as err:
                faults[row] = Fault(err.rule, f"{self.name}: {err}", self.name)
                converted.append(None)
        return pa.array(converted, self._type), faults

    def _value(self, value: Any) -> Any:
        if self._nested is None:
            return self._convert(value, self._column)
        text = _json(value)
        try:
            if deeper_than(text, DEEPEST):
                raise ValueError(f"is nested deeper than {DEEPEST} levels")
            self._nested.check(text)
        except ValueError as err:
            raise _Misfit(str(err), "nested") from err
        return text.decode("utf-8")


class _Misfit(ValueError):
    """A value that does not fit its column."""

    def __init__(self, reason: str, rule: str = "wrong_type") -> None:
        super().__init__(reason)
        self.rule = rule


def _kind(column: Column) -> str:
    if column.binary:
        return "binary"
    return "decimal" if column.decimal is not None else column.logical_type


def _wrong(value: Any, wanted: str) -> _Misfit:
    return _Misfit(f"is {type(value).__name__}, not {wanted}")


def _string(value: Any, column: Column) -> str:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, time):
        return value.isoformat()
    if isinstance(value, str):
        return value
    raise _wrong(value, "string")


def _integer(value: Any, column: Column) -> int:
    if type(value) is not int:
        raise _wrong(value, "integer")
    if not -(2**63) <= value < 2**63:
        raise _Misfit(f"{value} is beyond 64 bits")
    return value


def _number(value: Any, column: Column) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise _wrong(value, "number")
    try:
        return float(value)
    except OverflowError as err:
        raise _Misfit(f"{value} is beyond a number of 64 bits") from err


def _decimal(value: Any, column: Column) -> Decimal:
    """A float is taken for the shortest decimal that reads back as it."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise _wrong(value, "number")
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not fits(number, column):
        raise _Misfit(f"{value} does not fit into {column.physical_type}")
    return number


def _boolean(value: Any, column: Column) -> bool:
    if isinstance(value, bool):
        return value
    raise _wrong(value, "boolean")


def _binary(value: Any, column: Column) -> bytes:
    if isinstance(value, bytes):
        return value
    raise _wrong(value, "bytes")


def _date(value: Any, column: Column) -> date:
    if type(value) is date:
        return value
    if isinstance(value, str):
        return cast(date, _time_of_text(value, column))
    raise _wrong(value, "date")


def _timestamp(value: Any, column: Column) -> datetime:
    """A plain number says neither its unit nor its zone, so it is none."""
    if isinstance(value, str):
        return cast(datetime, _time_of_text(value, column))
    if not isinstance(value, datetime):
        raise _wrong(value, "timestamp")
    return value if value.tzinfo else cast(datetime, _time_of_text(value.isoformat(), column))


def _time_of_text(value: str, column: Column) -> Any:
    import pyarrow as pa

    parsed, faults = parse_times(pa.chunked_array([pa.array([value], pa.string())]), column)
    if faults:
        raise _Misfit(faults[0].reason.removeprefix(f"{column.name}: "), faults[0].rule)
    try:
        return parsed[0].as_py()
    except (ValueError, OverflowError) as err:
        raise _Misfit("lies outside of the years 1 to 9999", "beyond_type") from err


def _json(value: Any) -> bytes:
    """A nested value as JSON: bytes in base64, times in ISO 8601, decimals with all digits."""
    if not _finite(value):
        raise _Misfit("holds a number that is not finite", "nested")
    return msgspec.json.Encoder(decimal_format="number").encode(value)


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    return all(map(_finite, value)) if isinstance(value, list) else True


_CONVERTERS: Final[Mapping[str, Callable[[Any, Column], Any]]] = {
    "string": _string, "integer": _integer, "number": _number, "decimal": _decimal, "boolean": _boolean,
    "binary": _binary, "date": _date, "timestamp": _timestamp, "object": _string, "array": _string,
}  # fmt: skip
