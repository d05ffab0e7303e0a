"""Whether a number fits into a column of exact numbers without a digit being lost."""

from __future__ import annotations

from decimal import Decimal

from madhatter_provider.core.contracts.columns import Column


def fits(number: Decimal, column: Column) -> bool:
    """Whether the column's precision and scale hold the number exactly."""
    precision, scale = column.decimal or (38, 0)
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        return False  # NaN and infinities
    coefficient, shift = int("".join(map(str, digits))), exponent + scale
    if coefficient == 0:
        return True
    if shift > precision or -shift > len(digits):
        return False
    factor, limit = int(10 ** abs(shift)), int(10**precision)
    if shift >= 0:
        return coefficient * factor < limit
    whole, rest = divmod(coefficient, factor)
    return rest == 0 and whole < limit
