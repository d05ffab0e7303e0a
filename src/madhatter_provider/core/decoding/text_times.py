"""Timestamps and dates that come as text, a whole column at once.

ISO 8601. A timestamp says its offset from UTC, unless the contract gives a zone to those that do not; it has
at most six digits of a second. What does not fit exactly is refused, nothing is rounded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from madhatter_provider.core.contracts.columns import Column
from madhatter_provider.core.decoding.decoded import Fault

if TYPE_CHECKING:
    import pyarrow as pa

_ZONED: Final = r"[T ].*(?:Z|[+-]\d\d(?::?\d\d)?)$"

_LOCAL: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T ][\d:.]+)?")


def parse_times(texts: pa.ChunkedArray, column: Column) -> tuple[pa.ChunkedArray, dict[int, Fault]]:
    """A column of texts as timestamps in UTC, or as dates; and the rows, now null, that are neither."""
    import pyarrow as pa

    try:
        return _cast(texts, column), {}
    except pa.ArrowInvalid:
        values = texts.to_pylist()
    faults = {}
    for row, text in enumerate(values):
        try:
            _cast(pa.array([text], pa.string()), column)
        except pa.ArrowInvalid as err:
            faults[row] = _fault(text, column, str(err))
            values[row] = None
    return _cast(pa.chunked_array([pa.array(values, pa.string())]), column), faults


def _cast(texts: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.logical_type == "date":
        return pc.cast(texts, pa.date32())
    utc = pa.timestamp("us", "UTC")
    if not column.default_zone:
        return pc.cast(texts, utc)
    zoned = pc.match_substring_regex(texts, _ZONED)
    local = pc.cast(pc.if_else(zoned, None, texts), pa.timestamp("us"))
    placed = pc.assume_timezone(local, column.default_zone, ambiguous="raise", nonexistent="raise")
    return pc.coalesce(pc.cast(pc.if_else(zoned, texts, None), utc), placed.cast(utc))


def _fault(text: str, column: Column, reason: str) -> Fault:
    if _LOCAL.fullmatch(text) and "expected a zone offset" in reason:
        return Fault("no_zone", f"{column.name}: {text:.40} says no offset from UTC", column.name)
    if "ambiguous" in reason or "nonexist" in reason:
        why = f"{text:.40} is not one moment in {column.default_zone}: the clock was set then"
    elif column.logical_type == "date":
        why = f"{text:.40} is not a date, as 2026-11-24"
    else:
        why = f"{text:.40} is not a time, as 2026-11-24T06:00:00.123456Z"
    return Fault("wrong_type", f"{column.name}: {why}", column.name)
