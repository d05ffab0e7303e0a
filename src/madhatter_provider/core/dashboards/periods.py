"""How far back lines go, and how wide the buckets are that they are drawn of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from madhatter_provider.core.errors import ConfigurationError

_UNITS: Final = {1: "minute", 60: "hour", 1440: "day"}
UNIT_MINUTES: Final = {unit: minutes for minutes, unit in _UNITS.items()}


@dataclass(frozen=True, slots=True)
class Period:
    """The last hours, in buckets of minutes."""

    hours: int
    bucket: int


PERIODS: Final = {"1h": Period(1, 1), "6h": Period(6, 5), "24h": Period(24, 15), "7d": Period(168, 60)}


def period_named(name: str) -> Period:
    """One of the periods.

    :raises ConfigurationError: there is none of this name.
    """
    if name not in PERIODS:
        raise ConfigurationError(f"Period {name!r}", remedy=f"Use one of {', '.join(PERIODS)}.")
    return PERIODS[name]


def bucket_of(column: str, minutes: int) -> str:
    """SQL for the beginning of the bucket that a time is in.

    :param minutes: 1, a divisor of 60, 60 or 1440.
    """
    if minutes in _UNITS:
        return f"DATE_TRUNC('{_UNITS[minutes]}', {column})"
    return (
        f"DATEADD('minute', -MOD(DATE_PART('minute', {column}), {int(minutes)}), "
        f"DATE_TRUNC('minute', {column}))"
    )
