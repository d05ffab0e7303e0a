"""ISO 8601 in UTC, to and from Unix seconds."""

from __future__ import annotations

from datetime import UTC, datetime


def parse_timestamp(text: str | datetime) -> float:
    """Unix seconds of an ISO 8601 text or an aware datetime.

    :raises ValueError: not ISO 8601, or without an offset from UTC.
    """
    when = text if isinstance(text, datetime) else datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError(f"timestamp {text!r} has no offset from UTC")
    return when.timestamp()


def format_timestamp(seconds: float) -> str:
    """ISO 8601 with milliseconds and ``Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
