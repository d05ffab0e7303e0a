"""Land a slice: write each offset range's good rows to one Parquet file and its bad rows to one quarantine
file.

Steps, each safe to repeat:

1. If the slice's manifest exists, the slice is landed: return it.
2. Read the messages; per partition, cut them into row groups of a fixed number, so that the same offsets give
   the same file.
3. Decode, apply the row rules, append good and bad rows to the partition's two files, under temporary names.
4. When a partition's range has ended, publish its files under their final names (atomic).
5. When all ranges have ended and the counts add up, write the manifest (atomic).
"""

from __future__ import annotations

import contextlib
import json
import os
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from madhatter_provider.core.contract import Contract
from madhatter_provider.core.crash_points import reached
from madhatter_provider.core.decoding import BadRow, JsonDecoder
from madhatter_provider.core.landing_names import landing_path, manifest_path, quarantine_path
from madhatter_provider.core.manifest import LandedFile, LandedRange, Manifest
from madhatter_provider.core.offsets import OffsetRange, Slice
from madhatter_provider.core.storage import storage_errors

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 50_000


@dataclass(slots=True)
class Batch:
    """Messages of one partition in offset order, column by column: an object for each of them would cost more
    than decoding it.

    ``timestamps`` are in milliseconds since the epoch; ``headers`` are lists of (name, value) pairs or
    ``None``.
    """

    partition: int
    offsets: list[int] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    headers: list[Any] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.offsets)

    def append(self, other: Batch) -> None:
        """Take in the messages that follow."""
        for name in _COLUMNS:
            getattr(self, name).extend(getattr(other, name))

    def cut(self, n: int) -> Batch:
        """Split off the first ``n`` messages."""
        first = Batch(self.partition, *(getattr(self, name)[:n] for name in _COLUMNS))
        for name in _COLUMNS:
            del getattr(self, name)[:n]
        return first

    def before(self, offset: int) -> int:
        """Number of messages before an offset."""
        return bisect_left(self.offsets, offset)

    def pick(self, rows: Sequence[int]) -> Batch:
        """These messages only."""
        if len(rows) == len(self):
            return self
        return Batch(self.partition, *([getattr(self, name)[i] for i in rows] for name in _COLUMNS))


_COLUMNS = ("offsets", "timestamps", "keys", "values", "headers")


class Store(Protocol):
    """Where files go. Paths are relative to the landing root."""

    def scratch(self) -> str:
        """A new local path to write a file to before it is published."""

    def publish(self, scratch: str, path: str) -> int:
        """Make a scratch file visible under its final name, atomically and for good; return its size in
        bytes.
        """

    def read(self, path: str) -> bytes | None:
        """Content of a small file, ``None`` if there is none."""

    def open(self, path: str) -> BinaryIO | None:
        """A file of any size, to read from any place of it; ``None`` if there is none."""

    def write(self, path: str, content: bytes) -> None:
        """Write a small file atomically."""


@dataclass(frozen=True, slots=True)
class Landing:
    """What is landed, for whom, under which contract, and where."""

    contract: Contract
    owned: Slice
    run_id: str
    store: Store


def landed_before(job: Landing) -> Manifest | None:
    """Step 1: the manifest of this slice, if it is landed already."""
    content = job.store.read(manifest_path(job.contract.stream, job.owned))
    return None if content is None else Manifest.from_json(json.loads(content))


def land(job: Landing, batches: Iterable[Batch]) -> Manifest:
    """Steps 2 to 5.

    :param batches: the messages of the slice, in offset order within a partition; exhausted when every range
        has ended.
    :raises StorageError: a file could not be written; what was not published yet is removed.
    """
    decoder = JsonDecoder(job.contract)
    writers = {r: RangeWriter(job, r, decoder) for r in job.owned}
    try:
        with storage_errors(f"{job.store}, slice {job.owned}"):
            return _land(job, batches, writers)
    except BaseException:
        for writer in writers.values():
            writer.discard()
        raise


def _land(job: Landing, batches: Iterable[Batch], writers: Mapping[OffsetRange, RangeWriter]) -> Manifest:
    for batch in batches:
        for r, writer in writers.items():
            if r.partition == batch.partition and (mine := batch.before(r.end)):
                writer.add(batch.cut(mine))
    finished = [w.finish() for w in writers.values()]
    manifest = Manifest(
        job.contract.stream,
        job.owned.topic,
        job.owned.topic_id,
        job.run_id,
        job.contract.version,
        tuple(r for r, _ in finished),
        tuple(f for _, files in finished for f in files),
    )
    reached("land.before_manifest")
    job.store.write(manifest_path(job.contract.stream, job.owned), json.dumps(manifest.to_json()).encode())
    reached("land.after_manifest")
    return manifest


@dataclass(slots=True)
class RangeWriter:
    """Writes one offset range."""

    job: Landing
    range: OffsetRange
    decoder: JsonDecoder
    _good: _ParquetFile | None = None
    _bad: _ParquetFile | None = None
    _read: int = 0
    _times: tuple[datetime, datetime] | None = None
    _pending: Batch = field(init=False)

    def __post_init__(self) -> None:
        self._pending = Batch(self.range.partition)

    def add(self, batch: Batch) -> None:
        """Take messages; every ``ROW_GROUP`` of them are written out."""
        self._pending.append(batch)
        while len(self._pending) >= ROW_GROUP:
            self._write(self._pending.cut(ROW_GROUP))
            reached("land.after_row_group")

    def finish(self) -> tuple[LandedRange, list[LandedFile]]:
        """Publish the files and return the counts."""
        if len(self._pending):
            self._write(self._pending)
        stream, topic_id = self.job.contract.stream, self.job.owned.topic_id
        files = [
            file.publish(path, self.range, quarantine=file is self._bad)
            for file, path in (
                (self._good, landing_path(stream, topic_id, self.range)),
                (self._bad, quarantine_path(stream, topic_id, self.range)),
            )
            if file is not None
        ]
        first, last = (t.isoformat() for t in self._times) if self._times else (None, None)
        counts = LandedRange(
            self.range.partition,
            self.range.start,
            self.range.end,
            read=self._read,
            landed=self._good.rows if self._good else 0,
            quarantined=self._bad.rows if self._bad else 0,
            min_event_time=first,
            max_event_time=last,
        )
        return counts, files

    def discard(self) -> None:
        """Remove what is not published: a retry writes it again, and a full disk needs the room."""
        for file in (self._good, self._bad):
            if file is not None:
                file.discard()

    def _write(self, batch: Batch) -> None:
        self._read += len(batch)
        decoded = self.decoder.decode(batch.values)
        if decoded.good:
            good = decoded.table
            self._widen(good.column(self.job.contract.event_time))
            for name, column in coordinates(self.job.owned.topic_id, batch.pick(decoded.good)).items():
                good = good.append_column(name, column)
            self._good = self._good or _ParquetFile(self.job.store, good.schema)
            self._good.append(good)
        if decoded.bad:
            bad = quarantine_table(self.job, batch, decoded.bad)
            self._bad = self._bad or _ParquetFile(self.job.store, bad.schema)
            self._bad.append(bad)

    def _widen(self, event_times: pa.ChunkedArray) -> None:
        import pyarrow.compute as pc

        found = pc.min_max(event_times).as_py()
        if found["min"] is None:
            return
        low, high = self._times or (found["min"], found["max"])
        self._times = (min(low, found["min"]), max(high, found["max"]))


class _ParquetFile:
    """A Parquet file under its scratch name."""

    def __init__(self, store: Store, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self._store, self._scratch, self.rows = store, store.scratch(), 0
        try:
            self._writer = pq.ParquetWriter(self._scratch, schema, compression="zstd")
        except OSError:
            self._unlink()
            raise

    def append(self, table: pa.Table) -> None:
        self._writer.write_table(table, row_group_size=ROW_GROUP)
        self.rows += table.num_rows

    def publish(self, path: str, part: OffsetRange, *, quarantine: bool) -> LandedFile:
        self._writer.close()
        reached("land.before_rename")
        size = self._store.publish(self._scratch, path)
        reached("land.after_rename")
        return LandedFile(path, part.partition, part.start, part.end, self.rows, size, quarantine)

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.close()
        self._unlink()

    def _unlink(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._scratch)


def coordinates(topic_id: str, batch: Batch) -> Mapping[str, pa.Array]:
    """The columns that say where a row came from."""
    import pyarrow as pa

    n = len(batch)
    milliseconds = pa.array(batch.timestamps, pa.timestamp("ms", "UTC"))
    return {
        "_topic_id": pa.repeat(pa.scalar(topic_id, pa.string()), n),
        "_partition": pa.repeat(pa.scalar(batch.partition, pa.int32()), n),
        "_offset": pa.array(batch.offsets, pa.int64()),
        "_timestamp": milliseconds.cast(pa.timestamp("us", "UTC")),
        "_key": pa.array([_text(key) for key in batch.keys], pa.string()),
        "_headers": pa.array([_headers(headers) for headers in batch.headers], pa.string()),
    }


def quarantine_table(job: Landing, batch: Batch, bad: Sequence[BadRow]) -> pa.Table:
    """The quarantine rows of a batch: coordinates, raw bytes, and why."""
    import pyarrow as pa

    held, n = batch.pick([b.index for b in bad]), len(bad)
    columns: dict[str, Any] = {
        "stream": pa.repeat(pa.scalar(job.contract.stream, pa.string()), n),
        "topic": pa.repeat(pa.scalar(job.owned.topic, pa.string()), n),
        **coordinates(job.owned.topic_id, held),
        "raw": pa.array(held.values, pa.binary()),
        "reason": pa.array([b.reason for b in bad], pa.string()),
        "rule": pa.array([b.rule for b in bad], pa.string()),
        "column": pa.array([b.column for b in bad], pa.string()),
        "contract_version": pa.repeat(pa.scalar(job.contract.version, pa.string()), n),
        "run_id": pa.repeat(pa.scalar(job.run_id, pa.string()), n),
    }
    return pa.table(columns)


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", "backslashreplace")


def _headers(headers: Sequence[tuple[str, bytes | None]] | None) -> str | None:
    return json.dumps([[name, _text(value)] for name, value in headers]) if headers else None
