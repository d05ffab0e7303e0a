"""Distances."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.fraud.geo import distance_km

LATITUDE, LONGITUDE = st.floats(-90, 90), st.floats(-180, 180)


def test_berlin_to_tokyo() -> None:
    assert distance_km(52.52, 13.40, 35.68, 139.69) == pytest.approx(8918, rel=0.005)


@given(LATITUDE, LONGITUDE, LATITUDE, LONGITUDE)
def test_distance_is_symmetric_and_at_most_half_way_round(a: float, b: float, c: float, d: float) -> None:
    there = distance_km(a, b, c, d)
    assert 0 <= there <= 20_016
    assert there == pytest.approx(distance_km(c, d, a, b), abs=1e-3)


def test_antipodes_and_identity_do_not_leave_the_domain() -> None:
    assert distance_km(0, 0, 0, 180) == pytest.approx(20_015, abs=1)
    assert distance_km(12.3, 45.6, 12.3, 45.6) == 0
