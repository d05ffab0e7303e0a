"""The columns that every landed row has beside its contract's: where it came from, key and headers; and the
rows of the quarantine.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from madhatter_provider.core.decoding.json_messages import BadRow
from madhatter_provider.core.landing.batch import Batch

if TYPE_CHECKING:
    import pyarrow as pa

    from madhatter_provider.core.landing.writing import Writing

BASE64: Final = "base64:"
_LAST_MILLISECOND = 253_402_300_799_999  # of the year 9999; a later one is a producer's mistake of the unit


def readable(raw: bytes | None) -> str | None:
    """Bytes as text, without loss: UTF-8 as it is, anything else as ``base64:`` and its base64.

    Text that begins with ``base64:`` is written as base64 too, so the prefix always means the same.
    """
    if raw is None:
        return None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = BASE64
    return BASE64 + base64.b64encode(raw).decode() if text.startswith(BASE64) else text


def original(text: str | None) -> bytes | None:
    """The bytes that :func:`readable` was given."""
    if text is None:
        return None
    return base64.b64decode(text.removeprefix(BASE64)) if text.startswith(BASE64) else text.encode()


def coordinates(topic_id: str, batch: Batch) -> Mapping[str, pa.Array]:
    """The columns that say where a row came from."""
    import pyarrow as pa

    n = len(batch)
    return {
        "_topic_id": pa.repeat(pa.scalar(topic_id, pa.string()), n),
        "_partition": pa.repeat(pa.scalar(batch.partition, pa.int32()), n),
        "_offset": pa.array(batch.offsets, pa.int64()),
        "_timestamp": _timestamps(batch.timestamps),
        "_key": _keys(batch.keys),
        "_headers": _headers(batch.headers),
    }


def quarantine_table(writing: Writing, batch: Batch, bad: Sequence[BadRow]) -> pa.Table:
    """The quarantine rows of a batch: coordinates, raw bytes, and why."""
    import pyarrow as pa

    held, n = batch.pick([b.index for b in bad]), len(bad)
    columns: dict[str, Any] = {
        "stream": pa.repeat(pa.scalar(writing.contract.stream, pa.string()), n),
        "topic": pa.repeat(pa.scalar(writing.owned.topic, pa.string()), n),
        **coordinates(writing.owned.topic_id, held),
        "raw": pa.array(held.values, pa.binary()),
        "reason": pa.array([b.reason for b in bad], pa.string()),
        "rule": pa.array([b.rule for b in bad], pa.string()),
        "column": pa.array([b.column for b in bad], pa.string()),
        "contract_version": pa.repeat(pa.scalar(writing.contract.version, pa.string()), n),
        "run_id": pa.repeat(pa.scalar(writing.run_id, pa.string()), n),
    }
    return pa.table(columns)


def _timestamps(milliseconds: Sequence[int]) -> pa.Array:
    """Kafka's times; null where the message has none, or one that no calendar has."""
    import pyarrow as pa

    if milliseconds and (min(milliseconds) < 0 or max(milliseconds) > _LAST_MILLISECOND):
        known = [t if 0 <= t <= _LAST_MILLISECOND else None for t in milliseconds]
        return pa.array(known, pa.timestamp("ms", "UTC")).cast(pa.timestamp("us", "UTC"))
    return pa.array(milliseconds, pa.timestamp("ms", "UTC")).cast(pa.timestamp("us", "UTC"))


def _keys(keys: Sequence[bytes | None]) -> pa.Array:
    """:func:`readable` of all keys; Arrow checks the encoding of a whole column at once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        text = pa.array(keys, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        text = None
    if text is None or pc.any(pc.starts_with(text, BASE64)).as_py():
        return pa.array([readable(key) for key in keys], pa.string())
    return text


def _headers(headers: Sequence[Sequence[tuple[str, bytes | None]] | None]) -> pa.Array:
    import pyarrow as pa

    if not any(headers):
        return pa.nulls(len(headers), pa.string())
    return pa.array([headers_json(h) for h in headers], pa.string())


def headers_json(headers: Sequence[tuple[str, bytes | None]] | None) -> str | None:
    """Headers as a JSON list of ``[name, value]``; their order and repeated names are kept."""
    return json.dumps([[name, readable(value)] for name, value in headers]) if headers else None
