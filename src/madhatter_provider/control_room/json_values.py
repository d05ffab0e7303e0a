"""Snowflake's values as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from fastapi import Response

from madhatter_provider.core.errors import MadHatterError

CSV_ROWS: Final = 10_000
"""Most rows of a file; static/format.js says the same to people."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def plain(value: Any) -> Any:
    """A value that JSON has: times in ISO format, decimals as numbers, bytes as text or hexadecimal."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes):
        return readable(value)
    if isinstance(value, list | dict):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else float(value)


def readable(raw: bytes) -> str:
    """A message's bytes for people."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return "0x" + raw.hex()


def row_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with lower-case names."""
    return {name.lower(): plain(value) for name, value in row.items()}


def rows_of(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows with lower-case names."""
    return [row_of(r) for r in rows]


def fault_of(err: MadHatterError | None) -> dict[str, Any] | None:
    """An error for people."""
    if err is None:
        return None
    return {"what": err.what, "where": err.where, "remedy": err.remedy, "transient": err.transient}


def csv_answer(name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Response:
    """A file to download.

    Text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([_harmless(row.get(c)) for c in columns] for row in rows)
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)
    headers = {"Content-Disposition": f'attachment; filename="{safe}.csv"'}
    return Response(out.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value
