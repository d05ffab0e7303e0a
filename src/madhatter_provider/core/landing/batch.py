"""Messages column by column, and the row groups that they are written in."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

ROW_GROUP = 50_000
"""Most messages of a row group."""
ROW_GROUP_BYTES = 8 << 20
"""A row group ends with the message that brings its keys, values and headers to this many bytes."""


@dataclass(slots=True)
class Batch:
    """Messages of one partition in offset order, column by column: an object for each of them would cost more
    than decoding it.

    ``timestamps`` are in milliseconds since the epoch; ``headers`` are lists of (name, value) pairs or
    ``None``. ``ended`` says that the partition's range has no message after these.
    """

    partition: int
    offsets: list[int] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    headers: list[Any] = field(default_factory=list)
    ended: bool = field(default=False, kw_only=True)

    def __len__(self) -> int:
        return len(self.offsets)

    def append(self, other: Batch) -> None:
        """Take in the messages that follow."""
        self.offsets += other.offsets
        self.timestamps += other.timestamps
        self.keys += other.keys
        self.values += other.values
        self.headers += other.headers

    def cut(self, n: int) -> Batch:
        """Split off the first ``n`` messages."""
        columns = self._columns
        first = [column[:n] for column in columns]
        for column in columns:
            del column[:n]
        return Batch(self.partition, *first)

    def before(self, offset: int) -> int:
        """Number of messages before an offset."""
        return bisect_left(self.offsets, offset)

    def pick(self, rows: Sequence[int]) -> Batch:
        """These messages only."""
        if len(rows) == len(self):
            return self
        return Batch(self.partition, *([column[i] for i in rows] for column in self._columns))

    @property
    def _columns(self) -> tuple[list[Any], ...]:
        return self.offsets, self.timestamps, self.keys, self.values, self.headers

    @property
    def size(self) -> int:
        """Bytes of all keys, values and headers."""
        size = sum(map(len, filter(None, self.values))) + sum(map(len, filter(None, self.keys)))
        return size + sum(map(_headers_size, filter(None, self.headers)))

    def sizes(self) -> Iterator[int]:
        """Bytes of each message's key, value and headers."""
        for key, value, headers in zip(self.keys, self.values, self.headers, strict=True):
            yield len(key or b"") + len(value or b"") + (_headers_size(headers) if headers else 0)


def _headers_size(headers: Sequence[tuple[str, bytes | None]]) -> int:
    return sum(len(name) + len(value or b"") for name, value in headers)


class RowGroups:
    """Cuts the messages of one range into row groups.

    Where it cuts depends on the messages alone, counted from the range's start, and not on how they arrive:
    a retry cuts at the same places.
    """

    def __init__(self, partition: int) -> None:
        self._pending = Batch(partition)
        self._size = 0

    def add(self, batch: Batch) -> Iterator[Batch]:
        """Take messages; give the row groups that are complete."""
        size = batch.size
        while len(self._pending) + len(batch) >= ROW_GROUP or self._size + size >= ROW_GROUP_BYTES:
            part = batch.cut(self._missing(batch))
            size -= part.size
            self._pending.append(part)
            complete, self._pending, self._size = self._pending, Batch(batch.partition), 0
            yield complete
        self._pending.append(batch)
        self._size += size

    def rest(self) -> Batch:
        """The messages since the last complete row group."""
        return self._pending

    def _missing(self, batch: Batch) -> int:
        """Number of messages of ``batch`` that complete the row group."""
        missing = ROW_GROUP - len(self._pending)
        for n, size in enumerate(accumulate(batch.sizes(), initial=self._size)):
            if n and (n == missing or size >= ROW_GROUP_BYTES):
                return n
        raise AssertionError("the batch does not complete the row group")
