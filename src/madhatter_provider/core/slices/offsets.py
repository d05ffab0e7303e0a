"""Offset ranges and slices: the data interval of a DAG run. Immutable, pure, no Kafka client needed.

A :class:`Slice` is a set of (partition, offset) pairs of one topic epoch, kept as sorted, disjoint,
non-empty, merged ranges, so two slices are equal exactly when they cover the same offsets.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from madhatter_provider.core.errors import ConfigurationError

JSON_VERSION = 1


@dataclass(frozen=True, slots=True, order=True)
class OffsetRange:
    """Half-open range ``[start, end)`` of one partition.

    :raises ConfigurationError: a negative number, or ``end < start``.
    """

    partition: int
    start: int
    end: int

    def __post_init__(self) -> None:
        if self.partition < 0 or self.start < 0 or self.end < self.start:
            raise ConfigurationError(
                f"Not an offset range: [{self.start}, {self.end})",
                where=f"partition {self.partition}",
                remedy="Give 0 <= start <= end and a partition >= 0.",
            )

    def __len__(self) -> int:
        """Number of offsets, an upper bound of the number of messages (transactions and compaction leave
        holes).
        """
        return self.end - self.start

    def __contains__(self, offset: object) -> bool:
        return isinstance(offset, int) and self.start <= offset < self.end

    def __str__(self) -> str:
        return f"{self.partition}:[{self.start}, {self.end})"


@dataclass(frozen=True, slots=True)
class Slice:
    """The offset ranges of one topic epoch that one DAG run owns.

    :param topic: topic name.
    :param topic_id: Kafka's topic id; it changes when a topic is deleted and created again, which starts a
        new epoch.
    :param ranges: any ranges; empty ones are dropped, touching and overlapping ones are merged.
    """

    topic: str
    topic_id: str
    ranges: tuple[OffsetRange, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranges", tuple(_normalised(self.ranges)))

    def __len__(self) -> int:
        """Number of offsets."""
        return sum(map(len, self.ranges))

    def __iter__(self) -> Iterator[OffsetRange]:
        return iter(self.ranges)

    def __contains__(self, coordinates: object) -> bool:
        if not (isinstance(coordinates, tuple) and len(coordinates) == 2):
            return False
        partition, offset = coordinates
        return any(r.partition == partition and offset in r for r in self.ranges)

    def __or__(self, other: Slice) -> Slice:
        """Union."""
        self._same_epoch(other)
        return self._with((*self.ranges, *other.ranges))

    def __and__(self, other: Slice) -> Slice:
        """Intersection."""
        self._same_epoch(other)
        theirs = _by_partition(other.ranges)
        common = (
            OffsetRange(a.partition, max(a.start, b.start), min(a.end, b.end))
            for a in self.ranges
            for b in theirs.get(a.partition, ())
            if max(a.start, b.start) < min(a.end, b.end)
        )
        return self._with(common)

    def __sub__(self, other: Slice) -> Slice:
        """Difference."""
        self._same_epoch(other)
        theirs = _by_partition(other.ranges)
        left: list[OffsetRange] = []
        for r in self.ranges:
            at = r.start
            for cut in theirs.get(r.partition, ()):
                if at < min(cut.start, r.end):
                    left.append(OffsetRange(r.partition, at, min(cut.start, r.end)))
                at = max(at, min(cut.end, r.end))
            left.append(OffsetRange(r.partition, at, r.end))
        return self._with(left)

    @property
    def partitions(self) -> tuple[int, ...]:
        """Partitions touched, ascending."""
        return tuple(sorted({r.partition for r in self.ranges}))

    @property
    def digest(self) -> str:
        """Sixteen hex digits that name this slice; equal slices have equal digests."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]

    def head(self, max_messages: int) -> Slice:
        """At most ``max_messages`` offsets, shared fairly: partitions with little to read are taken whole
        first.
        """
        if max_messages >= len(self):
            return self
        return self._heads(_fair_shares(self._counts, max_messages))

    def head_of_bytes(self, max_bytes: int, bytes_per_offset: Mapping[int, float]) -> Slice:
        """About ``max_bytes``, shared fairly as in :meth:`head`; at least one offset, if there is one.

        :param bytes_per_offset: mean size by partition; a partition that is not named counts as empty.
        """
        each = {p: max(0.0, bytes_per_offset.get(p, 0.0)) for p in self.partitions}
        sizes = {p: math.ceil(n * each[p]) for p, n in self._counts.items()}
        if sum(sizes.values()) <= max_bytes or not len(self):
            return self
        shares = _fair_shares(sizes, max_bytes)
        budget = {p: int(min(n, shares[p] / each[p])) if each[p] else n for p, n in self._counts.items()}
        if not any(budget.values()):
            # The largest one gets it: were it the first, the others would never have a turn.
            budget[max(sizes, key=lambda p: (sizes[p], -p))] = 1
        return self._heads(budget)

    def split(self, parts: int) -> tuple[Slice, ...]:
        """At most ``parts`` non-empty slices of nearly equal size that tile this one, in order.

        :raises ConfigurationError: ``parts`` is less than one.
        """
        if parts < 1:
            raise ConfigurationError(
                f"Cannot split a slice into {parts} parts",
                where=f"topic {self.topic}, {len(self)} offsets",
                remedy="Give a number of at least 1.",
            )
        size, larger = divmod(len(self), parts)
        return self._cut(size + (i < larger) for i in range(min(parts, len(self))))

    def split_by_bytes(self, max_bytes: int, bytes_per_offset: Mapping[int, float]) -> tuple[Slice, ...]:
        """Non-empty slices that tile this one, in order, each of about ``max_bytes`` or of one offset.

        :param bytes_per_offset: mean size by partition; a partition that is not named counts as empty.
        :raises ConfigurationError: ``max_bytes`` is less than one.
        """
        if max_bytes < 1:
            raise ConfigurationError(
                f"Cannot split a slice into parts of {max_bytes} bytes",
                where=f"topic {self.topic}, {len(self)} offsets",
                remedy="Give a number of at least 1.",
            )
        sizes: list[int] = []
        size, room = 0, float(max_bytes)
        for r in self.ranges:
            each, left = max(0.0, bytes_per_offset.get(r.partition, 0.0)), len(r)
            while left:
                fits = int(min(left, max(room, 0.0) / each)) if each else left
                if size and (room < 0 or not fits):
                    sizes.append(size)
                    size, room = 0, float(max_bytes)
                    continue
                fits = max(fits, 1)
                size, room, left = size + fits, room - fits * each, left - fits
        return self._cut([*sizes, size])

    def split_by_partition(self) -> tuple[Slice, ...]:
        """One slice for each partition, ascending; they tile this one."""
        return tuple(self._with(ranges) for _, ranges in sorted(_by_partition(self.ranges).items()))

    @property
    def _counts(self) -> dict[int, int]:
        """Number of offsets by partition."""
        return {p: sum(map(len, ranges)) for p, ranges in _by_partition(self.ranges).items()}

    def _heads(self, budget: Mapping[int, int]) -> Slice:
        """The first so many offsets of each partition."""
        left, taken = dict(budget), []
        for r in self.ranges:
            n = min(len(r), left[r.partition])
            left[r.partition] -= n
            taken.append(OffsetRange(r.partition, r.start, r.start + n))
        return self._with(taken)

    def _cut(self, sizes: Iterable[int]) -> tuple[Slice, ...]:
        """Slices of these numbers of offsets, one after the other; empty ones are left out."""
        pieces, rest = [], list(reversed(self.ranges))
        for size in sizes:
            piece: list[OffsetRange] = []
            while size:
                r = rest.pop()
                n = min(size, len(r))
                piece.append(OffsetRange(r.partition, r.start, r.start + n))
                if n < len(r):
                    rest.append(OffsetRange(r.partition, r.start + n, r.end))
                size -= n
            if piece:
                pieces.append(self._with(piece))
        return tuple(pieces)

    def _with(self, ranges: Iterable[OffsetRange]) -> Slice:
        """Other ranges of the same epoch."""
        return Slice(self.topic, self.topic_id, tuple(ranges))

    def _same_epoch(self, other: Slice) -> None:
        if (self.topic, self.topic_id) != (other.topic, other.topic_id):
            raise ConfigurationError(
                f"Slices of different topics: {self.topic} ({self.topic_id}), "
                f"{other.topic} ({other.topic_id})",
                where=f"topic {self.topic}",
                remedy="Offsets of a topic that was created again are not comparable with those before.",
            )

    def to_json(self) -> dict[str, Any]:
        """A JSON value, with a version."""
        return {
            "version": JSON_VERSION,
            "topic": self.topic,
            "topic_id": self.topic_id,
            "ranges": [[r.partition, r.start, r.end] for r in self.ranges],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Slice:
        """Read what :meth:`to_json` wrote.

        :raises ConfigurationError: the value is not a slice, or of a later version.
        """
        try:
            version = value["version"]
            if version != JSON_VERSION:
                raise ConfigurationError(
                    f"Slice of version {version!r}, this provider reads version {JSON_VERSION}",
                    where=f"topic {value.get('topic')}",
                    remedy="Update the provider here too, or run the claim task again.",
                )
            ranges = tuple(OffsetRange(int(p), int(s), int(e)) for p, s, e in value["ranges"])
            return cls(str(value["topic"]), str(value["topic_id"]), ranges)
        except ConfigurationError:
            raise
        except (KeyError, TypeError, ValueError) as err:
            raise ConfigurationError(
                "Not a slice",
                where=f"the value given, {str(value)[:200]}",
                remedy="Pass the result of the claim task.",
            ) from err

    def __str__(self) -> str:
        return f"{self.topic} {' '.join(map(str, self.ranges)) or 'nothing'}"


def tiles(parts: Iterable[Slice], whole: Slice) -> bool:
    """Do these slices cover that one exactly: every offset of it once, and nothing else?

    :raises ConfigurationError: they are not all of one topic epoch.
    """
    given = list(parts)
    for part in given:
        whole._same_epoch(part)
    ranges = [r for part in given for r in part]
    return sum(map(len, ranges)) == len(whole) and whole._with(ranges) == whole


def gaps_and_overlaps(slices: Iterable[Slice]) -> tuple[Slice | None, Slice | None]:
    """Holes between, and offsets covered twice by, slices of one topic epoch; ``(None, None)`` when given
    none.
    """
    covered: Slice | None = None
    twice: Slice | None = None
    for s in slices:
        if covered is None or twice is None:
            covered, twice = s, Slice(s.topic, s.topic_id)
            continue
        twice = twice | (covered & s)
        covered = covered | s
    if covered is None:
        return None, None
    hull = [
        OffsetRange(
            p,
            min(r.start for r in covered if r.partition == p),
            max(r.end for r in covered if r.partition == p),
        )
        for p in covered.partitions
    ]
    return Slice(covered.topic, covered.topic_id, tuple(hull)) - covered, twice


def _normalised(ranges: Iterable[OffsetRange]) -> Iterator[OffsetRange]:
    current: OffsetRange | None = None
    for r in sorted(r for r in ranges if len(r)):
        if current is not None and r.partition == current.partition and r.start <= current.end:
            current = OffsetRange(r.partition, current.start, max(current.end, r.end))
            continue
        if current is not None:
            yield current
        current = r
    if current is not None:
        yield current


def _by_partition(ranges: Iterable[OffsetRange]) -> dict[int, list[OffsetRange]]:
    found: dict[int, list[OffsetRange]] = {}
    for r in ranges:
        found.setdefault(r.partition, []).append(r)
    return found


def _fair_shares(sizes: Mapping[int, int], total: int) -> dict[int, int]:
    shares: dict[int, int] = {}
    left = total
    for i, (partition, size) in enumerate(sorted(sizes.items(), key=lambda kv: (kv[1], kv[0]))):
        shares[partition] = min(size, left // (len(sizes) - i))
        left -= shares[partition]
    return shares
