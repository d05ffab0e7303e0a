"""Offset ranges and slices: the data interval of a DAG run. Immutable, pure, no Kafka client needed.

A :class:`Slice` is a set of (partition, offset) pairs of one topic epoch, kept as sorted, disjoint,
non-empty, merged ranges, so two slices are equal exactly when they cover the same offsets.
"""

from __future__ import annotations

import hashlib
import json
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
                f"Not an offset range: partition {self.partition}, [{self.start}, {self.end})",
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
        return Slice(self.topic, self.topic_id, (*self.ranges, *other.ranges))

    def __and__(self, other: Slice) -> Slice:
        """Intersection."""
        self._same_epoch(other)
        common = (
            OffsetRange(a.partition, max(a.start, b.start), min(a.end, b.end))
            for a in self.ranges
            for b in other.ranges
            if a.partition == b.partition and max(a.start, b.start) < min(a.end, b.end)
        )
        return Slice(self.topic, self.topic_id, tuple(common))

    def __sub__(self, other: Slice) -> Slice:
        """Difference."""
        self._same_epoch(other)
        left: list[OffsetRange] = []
        for r in self.ranges:
            at = r.start
            for cut in (
                c for c in other.ranges if c.partition == r.partition and c.start < r.end and c.end > r.start
            ):
                if cut.start > at:
                    left.append(OffsetRange(r.partition, at, cut.start))
                at = max(at, cut.end)
            if at < r.end:
                left.append(OffsetRange(r.partition, at, r.end))
        return Slice(self.topic, self.topic_id, tuple(left))

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
        sizes: dict[int, int] = {}
        for r in self.ranges:
            sizes[r.partition] = sizes.get(r.partition, 0) + len(r)
        budget = _fair_shares(sizes, max_messages)
        taken: list[OffsetRange] = []
        for r in self.ranges:
            n = min(len(r), budget[r.partition])
            budget[r.partition] -= n
            taken.append(OffsetRange(r.partition, r.start, r.start + n))
        return Slice(self.topic, self.topic_id, tuple(taken))

    def split(self, parts: int) -> tuple[Slice, ...]:
        """At most ``parts`` non-empty slices of nearly equal size that tile this one, in order.

        :raises ConfigurationError: ``parts`` is less than one.
        """
        if parts < 1:
            raise ConfigurationError(
                f"Cannot split a slice into {parts} parts", remedy="Give a number of at least 1."
            )
        pieces: list[Slice] = []
        rest, left = self, min(parts, len(self))
        while left:
            piece = rest._first(-(-len(rest) // left))
            pieces.append(piece)
            rest, left = rest - piece, left - 1
        return tuple(pieces)

    def _first(self, n: int) -> Slice:
        """The first ``n`` offsets in order of partition and offset."""
        taken: list[OffsetRange] = []
        for r in self.ranges:
            size = min(len(r), n)
            taken.append(OffsetRange(r.partition, r.start, r.start + size))
            n -= size
        return Slice(self.topic, self.topic_id, tuple(taken))

    def _same_epoch(self, other: Slice) -> None:
        if (self.topic, self.topic_id) != (other.topic, other.topic_id):
            raise ConfigurationError(
                f"Slices of different topics: {self.topic} ({self.topic_id}), "
                f"{other.topic} ({other.topic_id})",
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
            if value["version"] != JSON_VERSION:
                raise ConfigurationError(
                    f"Slice of version {value['version']}", remedy="Update the provider."
                )
            ranges = tuple(OffsetRange(int(p), int(s), int(e)) for p, s, e in value["ranges"])
            return cls(str(value["topic"]), str(value["topic_id"]), ranges)
        except (KeyError, TypeError) as err:
            raise ConfigurationError(
                f"Not a slice: {value!r}", remedy="Pass the result of the claim task."
            ) from err

    def __str__(self) -> str:
        return f"{self.topic} {' '.join(map(str, self.ranges)) or 'nothing'}"


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


def _fair_shares(sizes: Mapping[int, int], total: int) -> dict[int, int]:
    shares: dict[int, int] = {}
    left = total
    for i, (partition, size) in enumerate(sorted(sizes.items(), key=lambda kv: (kv[1], kv[0]))):
        shares[partition] = min(size, left // (len(sizes) - i))
        left -= shares[partition]
    return shares
