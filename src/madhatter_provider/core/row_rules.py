"""A contract's row rules, evaluated on whole Arrow columns. A rule that fails sends the row to quarantine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from madhatter_provider.core.contract import Column, Contract
from madhatter_provider.core.errors import ContractError

if TYPE_CHECKING:
    import pyarrow as pa


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
    """Arrow type of a column.

    :raises ContractError: the logical type has no column type yet (object, array).
    """
    import pyarrow as pa

    if column.decimal is not None:
        return pa.decimal128(*column.decimal)
    types = {
        "string": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "boolean": pa.bool_(),
        "timestamp": pa.timestamp("us", "UTC"),
        "date": pa.date32(),
    }
    if column.logical_type not in types:
        raise ContractError(
            f"Column {column.name} has the logical type {column.logical_type}, which has no column type",
            remedy="Use string, integer, number, boolean, timestamp or date.",
        )
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
    import pyarrow as pa
    import pyarrow.compute as pc

    def rule(name: str, reason: str, broken: Callable[[pa.Array], pa.Array]) -> RowRule:
        return RowRule(c.name, name, f"{c.name}: {reason}", broken)

    if c.required:
        yield rule("required", "is missing or null", pc.is_null)
    if c.logical_type == "number" and c.decimal is None:
        yield rule("finite", "is not a finite number", lambda a: pc.invert(pc.is_finite(a)))
    if c.minimum is not None:
        low = pa.scalar(c.minimum).cast(pa.float64())
        yield rule("minimum", f"is below {c.minimum}", lambda a: pc.less(_comparable(a), low))
    if c.maximum is not None:
        high = pa.scalar(c.maximum).cast(pa.float64())
        yield rule("maximum", f"is above {c.maximum}", lambda a: pc.greater(_comparable(a), high))
    if c.min_length is not None:
        yield rule(
            "min_length",
            f"is shorter than {c.min_length}",
            lambda a: pc.less(pc.utf8_length(a), c.min_length),
        )
    if c.max_length is not None:
        yield rule(
            "max_length",
            f"is longer than {c.max_length}",
            lambda a: pc.greater(pc.utf8_length(a), c.max_length),
        )
    if c.pattern is not None:
        yield rule(
            "pattern",
            f"does not match {c.pattern}",
            lambda a: pc.invert(pc.match_substring_regex(a, pattern=c.pattern)),
        )
    if c.values:
        known = pa.array(c.values, pa.string())
        yield rule(
            "known_values",
            f"is none of {', '.join(c.values)}",
            lambda a: pc.and_(pc.is_valid(a), pc.invert(pc.is_in(a, value_set=known))),
        )


def _comparable(column: pa.Array) -> pa.Array:
    """Decimals and integers compare with a float bound as floats; money and counts are far below 2**53."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return column if pa.types.is_floating(column.type) else pc.cast(column, pa.float64(), safe=False)


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
