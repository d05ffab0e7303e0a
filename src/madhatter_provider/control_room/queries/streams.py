"""All streams of the ledger, one row each: every page, search and order is answered from the kept rows."""

from __future__ import annotations

from typing import Any, Final

Statement = tuple[str, list[Any]]

MINUTES: Final = 30
"""How far OPS.STREAM_LOADS goes back."""


def summary() -> Statement:
    """The row of every stream."""
    return "SELECT * FROM OPS.STREAM_SUMMARY", []


def one(stream: str) -> Statement:
    """The row of one stream; none if it is not there."""
    return "SELECT * FROM OPS.STREAM_SUMMARY WHERE STREAM = ?", [stream]


def loads() -> Statement:
    """Rows loaded in the last minutes: STREAM, and LOADS as ``minutes ago:rows,…``."""
    return "SELECT * FROM OPS.STREAM_LOADS", []
