"""A number fits exactly when Arrow says so too."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.contracts.columns import parse_column
from madhatter_provider.core.decoding.exact_numbers import fits


@given(
    st.decimals(allow_nan=False, allow_infinity=False) | st.builds(Decimal, st.integers(-(10**12), 10**12)),
    st.integers(1, 38),
    st.data(),
)
def test_arrow_agrees(number: Decimal, precision: int, data: st.DataObject) -> None:
    scale = data.draw(st.integers(0, precision))
    column = parse_column(
        {"name": "n", "logicalType": "number", "physicalType": f"NUMBER({precision},{scale})"}, "c"
    )
    if not -40 < number.adjusted() < 40:
        assert fits(number, column) == (number == 0)
        return
    try:
        kept = pa.array([number], pa.decimal128(precision, scale))[0].as_py() == number
    except pa.ArrowInvalid:
        kept = False
    assert fits(number, column) == kept


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999999999", "1e-999999999"])
def test_what_is_no_number_of_ours(number: str) -> None:
    column = parse_column({"name": "n", "logicalType": "number", "physicalType": "NUMBER(38,10)"}, "c")
    assert not fits(Decimal(number), column)
