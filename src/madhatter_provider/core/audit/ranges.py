"""The ledger's ranges in order, so that hundred thousands of them are searched by bisection."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from madhatter_provider.core.audit.model import LedgerRange
from madhatter_provider.core.slices.offsets import OffsetRange

Place = tuple[str, int]
"""Topic id and partition."""


@dataclass(slots=True)
class RangeIndex:
    """Ledger ranges by epoch and partition.

    :param ranges: in any order; empty ones are left out.
    """

    ranges: Iterable[LedgerRange]
    by_place: dict[Place, list[LedgerRange]] = field(init=False, default_factory=dict)
    _cover: dict[Place, list[OffsetRange]] = field(init=False, default_factory=dict)
    _starts: dict[Place, list[int]] = field(init=False, default_factory=dict)
    _cover_starts: dict[Place, list[int]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for r in sorted((r for r in self.ranges if len(r.range)), key=lambda r: r.range):
            self.by_place.setdefault((r.topic_id, r.range.partition), []).append(r)
        for place, found in self.by_place.items():
            self._cover[place] = list(_merged(r.range for r in found))
            self._starts[place] = [r.range.start for r in found]
            self._cover_starts[place] = [r.start for r in self._cover[place]]

    @property
    def epochs(self) -> dict[str, None]:
        """Topic ids."""
        return dict.fromkeys(topic_id for topic_id, _ in self.by_place)

    def end(self, place: Place) -> int | None:
        """The end of the last range."""
        cover = self._cover.get(place)
        return cover[-1].end if cover else None

    def holder(self, place: Place, r: OffsetRange) -> LedgerRange | None:
        """The range that begins last at or before ``r`` and contains it."""
        found = self.by_place.get(place, [])
        at = bisect_right(self._starts.get(place, []), r.start) - 1
        while at >= 0 and found[at].range.end < r.end:
            if found[at].range.end <= r.start:
                return None
            at -= 1
        return found[at] if at >= 0 else None

    def covers(self, place: Place, r: OffsetRange) -> bool:
        """Whether all of ``r`` is covered."""
        return not self.uncovered(place, r)

    def touches(self, place: Place, r: OffsetRange) -> bool:
        """Whether any of ``r`` is covered."""
        return self.uncovered(place, r) != [r]

    def uncovered(self, place: Place, r: OffsetRange) -> list[OffsetRange]:
        """The parts of ``r`` that no range covers."""
        cover = self._cover.get(place, [])
        at = max(0, bisect_right(self._cover_starts.get(place, []), r.start) - 1)
        missing, begin = [], r.start
        for c in cover[at:]:
            if c.start >= r.end:
                break
            if c.start > begin:
                missing.append(OffsetRange(r.partition, begin, c.start))
            begin = max(begin, c.end)
        if begin < r.end:
            missing.append(OffsetRange(r.partition, begin, r.end))
        return missing

    def gaps(self, upto: Mapping[Place, int]) -> Iterator[tuple[str, OffsetRange]]:
        """Uncovered parts between the first range of a partition and its last, or ``upto`` if that is
        later.
        """
        for place in sorted({*self.by_place, *upto}):
            cover = self._cover.get(place, [])
            begin = cover[0].start if cover else upto[place]
            end = max(cover[-1].end if cover else begin, upto.get(place, 0))
            for gap in self.uncovered(place, OffsetRange(place[1], begin, end)):
                yield place[0], gap

    def overlaps(self) -> Iterator[tuple[LedgerRange, LedgerRange]]:
        """A range that ends behind the start of another, and that one. Lost ranges hold no data and do not
        count.
        """
        for found in self.by_place.values():
            furthest: LedgerRange | None = None
            for r in found:
                if r.state == "lost":
                    continue
                if furthest is not None and r.range.start < furthest.range.end:
                    yield furthest, r
                if furthest is None or r.range.end > furthest.range.end:
                    furthest = r


def _merged(ranges: Iterable[OffsetRange]) -> Iterator[OffsetRange]:
    current: OffsetRange | None = None
    for r in ranges:
        if current is not None and r.start <= current.end:
            current = OffsetRange(r.partition, current.start, max(current.end, r.end))
            continue
        if current is not None:
            yield current
        current = r
    if current is not None:
        yield current


def minus(r: OffsetRange, others: Iterable[OffsetRange]) -> list[OffsetRange]:
    """The parts of a range that others of its partition leave."""
    left, begin = [], r.start
    for o in sorted(o for o in others if o.partition == r.partition):
        if o.start > begin and begin < r.end:
            left.append(OffsetRange(r.partition, begin, min(o.start, r.end)))
        begin = max(begin, o.end)
    if begin < r.end:
        left.append(OffsetRange(r.partition, begin, r.end))
    return left


def meet(a: OffsetRange, b: OffsetRange) -> bool:
    """Whether two ranges share an offset."""
    return a.partition == b.partition and a.start < b.end and b.start < a.end
