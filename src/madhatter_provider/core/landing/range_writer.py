"""Write the messages of a slice to local files, range by range.

What is in which file, down to the last byte, depends on the messages alone: row groups are cut by number and
size (:class:`~madhatter_provider.core.landing.batch.RowGroups`), files after so many bytes of messages, both
counted from the range's start. So a retry writes the same files.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from madhatter_provider.core.crash_points import reached
from madhatter_provider.core.landing.batch import Batch, RowGroups
from madhatter_provider.core.landing.columns import quarantine_table
from madhatter_provider.core.landing.files import PARQUET, FileOptions, RowFile, open_file
from madhatter_provider.core.landing.manifest import LandedRange
from madhatter_provider.core.landing.row_encoding import RowEncoder, row_encoder
from madhatter_provider.core.landing.scratch import Scratch
from madhatter_provider.core.landing.writing import Writing
from madhatter_provider.core.slices.offsets import OffsetRange

FILE_BYTES = 1 << 30
"""A range goes on in another file after this many bytes of keys, values and headers: some 100 to 250 MB of
compressed Parquet, which is what Snowpipe likes."""


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A complete file under a scratch name: the good or the quarantined rows of (a part of) one range."""

    scratch: str
    range: OffsetRange
    rows: int
    quarantine: bool


Written = WrittenFile | LandedRange
"""What writing gives: files as they are complete, and the counts of each range when it has ended."""


def write_slice(writing: Writing, batches: Iterable[Batch], scratch: Scratch) -> Generator[Written]:
    """Write all ranges.

    :param batches: the messages of the slice, in offset order within a partition; a batch that says ``ended``
        lets its range be completed at once. All ranges are complete when there are no more batches.
    """
    encoder = row_encoder(writing)
    queues: dict[int, deque[RangeWriter]] = {}
    for r in writing.owned:
        queues.setdefault(r.partition, deque()).append(RangeWriter(writing, r, encoder, scratch))
    try:
        for batch in batches:
            queue, ended = queues[batch.partition], batch.ended
            while queue and (mine := batch.before(queue[0].range.end)) < len(batch):
                yield from queue[0].add(batch.cut(mine))
                yield from queue.popleft().finish()
            if queue:
                yield from queue[0].add(batch)
                if ended:
                    yield from queue.popleft().finish()
        for queue in queues.values():
            while queue:
                yield from queue.popleft().finish()
    finally:
        for queue in queues.values():
            for writer in queue:
                writer.close()


@dataclass(slots=True)
class RangeWriter:
    """Writes one offset range."""

    writing: Writing
    range: OffsetRange
    encoder: RowEncoder
    scratch: Scratch
    _groups: RowGroups = field(init=False)
    _open: dict[bool, _OpenFile] = field(default_factory=dict)
    _start: int = field(init=False)
    _size: int = 0
    _read: int = 0
    _rows: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})
    _times: tuple[datetime, datetime] | None = None

    def __post_init__(self) -> None:
        self._groups, self._start = RowGroups(self.range.partition), self.range.start

    def add(self, batch: Batch) -> Iterator[WrittenFile]:
        """Take messages, write the row groups that are complete, give the files that are."""
        for group in self._groups.add(batch):
            yield from self._write(group)
            reached("land.after_row_group")

    def finish(self) -> Iterator[Written]:
        """Write what is left; the last files and the counts."""
        rest = self._groups.rest()
        if len(rest):
            yield from self._write(rest)
        yield from self._complete(self.range.end)
        first, last = (t.isoformat() for t in self._times) if self._times else (None, None)
        yield LandedRange(
            self.range.partition,
            self.range.start,
            self.range.end,
            read=self._read,
            landed=self._rows[False],
            quarantined=self._rows[True],
            min_event_time=first,
            max_event_time=last,
        )

    def close(self) -> None:
        """Give up."""
        for file in self._open.values():
            file.close_quietly()

    def _write(self, group: Batch) -> Iterator[WrittenFile]:
        if self._size >= FILE_BYTES:
            yield from self._complete(group.offsets[0])
        self._size += group.size
        self._read += len(group)
        encoded = self.encoder.encode(group)
        if len(encoded.rows):
            self._append(encoded.rows, self.writing.options, quarantine=False)
        if encoded.bad:
            held = quarantine_table(self.writing, group, encoded.bad)
            self._append(held, PARQUET, quarantine=True)
        if encoded.times:
            low, high = self._times or encoded.times
            self._times = (min(low, encoded.times[0]), max(high, encoded.times[1]))

    def _append(self, rows: Any, options: FileOptions, *, quarantine: bool) -> None:
        file = self._open.get(quarantine)
        if file is None:
            path = self.scratch.file()
            file = _OpenFile(path, open_file(options, path, getattr(rows, "schema", None)))
            self._open[quarantine] = file
        file.file.append(rows)
        file.rows += len(rows)
        self._rows[quarantine] += len(rows)

    def _complete(self, end: int) -> Iterator[WrittenFile]:
        """Close the files of the offsets up to ``end``; the next ones begin there."""
        part = OffsetRange(self.range.partition, self._start, end)
        closing, self._open, self._start, self._size = self._open, {}, end, 0
        for quarantine, file in sorted(closing.items()):
            file.file.close()
            yield WrittenFile(file.path, part, file.rows, quarantine)


@dataclass(slots=True)
class _OpenFile:
    path: str
    file: RowFile
    rows: int = 0

    def close_quietly(self) -> None:
        with contextlib.suppress(OSError):  # a full disk; the file is thrown away
            self.file.close()
