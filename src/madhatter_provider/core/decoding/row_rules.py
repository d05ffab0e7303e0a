"""A contract's row rules, evaluated on whole Arrow columns. A rule that fails sends the row to quarantine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from madhatter_provider.core.contracts.contract import Column, Contract
from madhatter_provider.core.errors import ContractError

if TYPE_CHECKING:
    import pyarrow as pa

_FIRST_TIME: Final = datetime(1, 1, 1, tzinfo=UTC)
_LAST_TIME: Final = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
_DIGITS_OF_INT64: Final = 19
_BINARY_BYTES: Final = 8 << 20
"""What Snowflake's BINARY holds if no length is given."""
_TEXT_BYTES: Final = 16 << 20
"""What its VARCHAR holds then, in which objects and arrays are kept too."""


@dataclass(frozen=True, slots=True)
class RowRule:
    """One rule of one column. ``broken`` maps the column to a boolean array, true where a row breaks the
    rule.
    """

    column: str
    rule: str
    reason: str
    broken: Callable[[pa.Array], pa.Array]


def arrow_type(column: Column) -> pa.DataType:
    """Arrow type of a column. Objects and arrays are JSON text."""
    import pyarrow as pa

    if column.decimal is not None:
        return pa.decimal128(*column.decimal)
    if column.binary:
        return pa.binary()
    types = {
        "string": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "boolean": pa.bool_(),
        "timestamp": pa.timestamp("us", "UTC"),
        "date": pa.date32(),
        "object": pa.string(),
        "array": pa.string(),
    }
    return types[column.logical_type]


def arrow_schema(contract: Contract) -> pa.Schema:
    """Arrow schema of a contract's columns, all nullable: `required` is a row rule, so that a miss is
    quarantined.
    """
    import pyarrow as pa

    return pa.schema([(c.name, arrow_type(c)) for c in contract.columns])


def compile_rules(contract: Contract) -> tuple[RowRule, ...]:
    """All row rules of a contract, in column order, the most telling first."""
    return tuple(rule for column in contract.columns for rule in _rules_of(column))


def _rules_of(c: Column) -> Iterator[RowRule]:
    import pyarrow.compute as pc

    if c.required:
        yield _rule(c, "required", "is missing or null", pc.is_null)
    if c.logical_type == "number" and c.decimal is None:
        yield _rule(c, "finite", "is not a finite number", lambda a: pc.invert(pc.is_finite(a)))
    yield from _rules_of_bounds(c)
    if not c.nested and not c.binary:
        yield from _rules_of_text(c)
    yield from _rules_of_capacity(c)


def _rules_of_text(c: Column) -> Iterator[RowRule]:
    import pyarrow.compute as pc

    if c.min_length is not None:
        yield _rule(
            c,
            "min_length",
            f"is shorter than {c.min_length}",
            lambda a: pc.less(pc.utf8_length(a), c.min_length),
        )
    if c.max_length is not None:
        yield _rule(
            c,
            "max_length",
            f"is longer than {c.max_length}",
            lambda a: pc.greater(pc.utf8_length(a), c.max_length),
        )
    if c.pattern is not None:
        yield _pattern_rule(c, c.pattern)
    if c.values:
        yield _known_values_rule(c)


def _rule(c: Column, name: str, reason: str, broken: Callable[[pa.Array], pa.Array]) -> RowRule:
    return RowRule(c.name, name, f"{c.name}: {reason}", broken)


def _rules_of_capacity(c: Column) -> Iterator[RowRule]:
    """What the column's type in RAW cannot hold: one such row would make Snowflake refuse the whole file."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if c.logical_type == "timestamp":
        first, last = (pa.scalar(t, pa.timestamp("us", "UTC")) for t in (_FIRST_TIME, _LAST_TIME))
        yield _rule(
            c,
            "beyond_type",
            "lies outside of the years 1 to 9999",
            lambda a: pc.or_(pc.less(a, first), pc.greater(a, last)),
        )
    capacity = c.capacity or (_BINARY_BYTES if c.binary else None)
    if c.nested or (c.logical_type == "string" and capacity is None):
        yield _rule(
            c,
            "beyond_type",
            f"is more than the {_TEXT_BYTES} bytes that VARCHAR holds",
            lambda a: pc.greater(pc.binary_length(a), _TEXT_BYTES),
        )
        return
    if capacity is None:
        return
    if c.binary:
        yield _beyond(c, f"{capacity} bytes", lambda a: pc.greater(pc.binary_length(a), capacity))
    elif c.logical_type == "string" and (c.max_length is None or c.max_length > capacity):
        yield _beyond(c, f"{capacity} characters", lambda a: pc.greater(pc.utf8_length(a), capacity))
    elif c.logical_type == "integer" and capacity < _DIGITS_OF_INT64:
        limit = 10**capacity
        yield _beyond(
            c,
            f"{capacity} digits",
            lambda a: pc.or_(pc.greater_equal(a, limit), pc.less_equal(a, -limit)),
        )


def _beyond(c: Column, holds: str, broken: Callable[[pa.Array], pa.Array]) -> RowRule:
    return _rule(c, "beyond_type", f"is more than the {holds} that {c.physical_type} holds", broken)


def _rules_of_bounds(c: Column) -> Iterator[RowRule]:
    import pyarrow as pa
    import pyarrow.compute as pc

    bounds: dict[str, Any] = {"minimum": c.minimum, "maximum": c.maximum}
    if c.logical_type in ("timestamp", "date"):
        bounds = {"minimum": c.earliest, "maximum": c.latest}
    for name, bound in bounds.items():
        if bound is None:
            continue
        word, compare = ("below", pc.less) if name == "minimum" else ("above", pc.greater)
        limit = pa.scalar(bound) if isinstance(bound, datetime) else pa.scalar(bound).cast(pa.float64())

        def broken(a: pa.Array, compare: Any = compare, limit: Any = limit) -> pa.Array:
            return compare(_comparable(a), limit)

        yield _rule(c, name, f"is {word} {bound}", broken)


def _pattern_rule(c: Column, pattern: str) -> RowRule:
    import pyarrow as pa
    import pyarrow.compute as pc

    def broken(a: pa.Array) -> pa.Array:
        return pc.invert(pc.match_substring_regex(a, pattern=pattern))

    try:
        broken(pa.array([""]))
    except pa.ArrowInvalid as err:
        raise ContractError(
            f"Contract: pattern {pattern!r:.60} of column {c.name}: {err}",
            remedy="Write it without look-around and back references (RE2 syntax).",
        ) from err
    return _rule(c, "pattern", f"does not match {pattern}", broken)


def _known_values_rule(c: Column) -> RowRule:
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pa.array(c.values, pa.string())

    def broken(a: pa.Array) -> pa.Array:
        return pc.and_(pc.is_valid(a), pc.invert(pc.is_in(a, value_set=known)))

    return _rule(c, "known_values", f"is none of {', '.join(c.values)}", broken)


def _comparable(column: pa.Array) -> pa.Array:
    """Decimals and integers compare with a float bound as floats; money and counts are far below 2**53."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_date(column.type):
        return pc.cast(column, pa.timestamp("us", "UTC"))
    if pa.types.is_floating(column.type) or pa.types.is_timestamp(column.type):
        return column
    return pc.cast(column, pa.float64(), safe=False)


def first_broken(table: pa.Table, rules: tuple[RowRule, ...]) -> dict[int, RowRule]:
    """For each row that breaks a rule: the first rule it breaks."""
    import pyarrow.compute as pc

    broken: dict[int, RowRule] = {}
    for rule in rules:
        mask = pc.fill_null(rule.broken(table.column(rule.column)), False)
        if pc.any(mask).as_py():
            for row in pc.indices_nonzero(mask).to_pylist():
                broken.setdefault(row, rule)
    return broken
