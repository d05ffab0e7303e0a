"""Distances on the Earth."""

from __future__ import annotations

from math import asin, cos, pi, sqrt

_RADIAN = pi / 180
_EARTH_DIAMETER_KM = 12_742.0


def distance_km(lat_a: float, lon_a: float, lat_b: float, lon_b: float) -> float:
    """Great-circle distance in kilometres between two points given in degrees (haversine)."""
    half = (
        0.5
        - cos((lat_b - lat_a) * _RADIAN) / 2
        + cos(lat_a * _RADIAN) * cos(lat_b * _RADIAN) * (1 - cos((lon_b - lon_a) * _RADIAN)) / 2
    )
    # Rounding can push the value a hair outside [0, 1] for identical or antipodal points.
    return _EARTH_DIAMETER_KM * asin(sqrt(min(1.0, max(0.0, half))))
