"""Quarantined messages as messages again: their raw bytes, keys and headers, in batches to be decoded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from madhatter_provider.core.errors import StorageError
from madhatter_provider.core.landing.batch import Batch
from madhatter_provider.core.landing.columns import original
from madhatter_provider.core.landing.land import Store
from madhatter_provider.core.slices.offsets import OffsetRange

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 2_000
_COLUMNS = ("_offset", "_timestamp", "_key", "_headers", "raw")


def batch_of(partition: int, rows: Iterable[Sequence[Any]]) -> Batch:
    """A batch of quarantine rows: offset, Kafka time (ms, or ``None``), key, headers (both as the table has
    them), raw bytes.
    """
    batch = Batch(partition)
    for offset, milliseconds, key, headers, raw in rows:
        batch.offsets.append(int(offset))
        batch.timestamps.append(-1 if milliseconds is None else int(milliseconds))
        batch.keys.append(original(key))
        batch.headers.append(_headers(headers))
        batch.values.append(None if raw is None else bytes(raw))
    return batch


def _headers(text: str | None) -> list[tuple[str, bytes | None]] | None:
    if text is None:
        return None
    return [(name, original(value)) for name, value in json.loads(text)]


def from_files(store: Store, parts: Iterable[tuple[OffsetRange, Sequence[str]]]) -> Iterator[Batch]:
    """The messages of quarantine files that lie in a range, range by range, a few thousand at a time.

    :param parts: ranges in order, and the files of each, in order.
    """
    import pyarrow.parquet as pq

    for part, paths in parts:
        for path in paths:
            file = store.open(path)
            if file is None:
                raise StorageError(
                    "A quarantine file was removed just now", where=f"{store}, {path}", remedy="Plan again."
                )
            with closing(file):
                for some in pq.ParquetFile(file).iter_batches(_ROWS, columns=list(_COLUMNS)):
                    batch = batch_of(part.partition, _rows_in(some, part))
                    if len(batch):
                        yield batch


def _rows_in(some: pa.RecordBatch, part: OffsetRange) -> Iterator[Sequence[Any]]:
    import pyarrow as pa

    times = some.column("_timestamp").cast(pa.timestamp("ms", "UTC"), safe=False).cast(pa.int64())
    columns = [times if name == "_timestamp" else some.column(name) for name in _COLUMNS]
    for row in zip(*(c.to_pylist() for c in columns), strict=True):
        if row[0] in part:
            yield row
