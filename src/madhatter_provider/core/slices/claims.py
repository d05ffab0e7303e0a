"""The claim: which run owns which offsets. Pure: the caller reads and writes the state.

The record is one JSON value, so that position and claim change together. Its part of the protocol, for
whoever claims (:mod:`madhatter_provider.core.runs.claiming`):

1.1 Read the record (``None`` before the first claim of this DAG on this topic). If this run has a claim,
    return it unchanged: a retry or a cleared run gets its slice again.
1.3 Else take ``[position, last stable end)`` of every partition, capped, and move the position by it.
1.4 Write the new record back, in one value. Only then may the slice be used.

The caller guarantees that one task at a time does this for a DAG (``max_active_tis_per_dag=1``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from madhatter_provider.core.slices.offsets import OffsetRange, Slice

CLAIMS_KEPT = 50
RANGES_KEPT = 1500


@dataclass(frozen=True, slots=True)
class Claim:
    """What one run owns, and what was lost to retention just before it.

    :param parts: number of parts that the slice is landed in: a retry must cut it at the same places.
        ``None`` in claims of provider versions that did not keep it.
    :param at: when it was made, seconds since the epoch.
    """

    run_id: str
    slice: Slice
    lost: Slice
    parts: int | None = None
    at: int = 0


@dataclass(frozen=True, slots=True)
class ClaimRecord:
    """The position of one DAG on one topic, and its last claims.

    :param forgotten: time of the newest claim that is no longer kept, seconds since the epoch; 0: all are.
    :param cuts: partitions whose log was found to end before the position, and where: what is said already.
    """

    topic: str
    topic_id: str
    position: Mapping[int, int] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    forgotten: int = 0
    cuts: Mapping[int, int] = field(default_factory=dict)

    def of(self, run_id: str) -> Claim | None:
        """The claim of a run, if it is still kept."""
        return next((c for c in reversed(self.claims) if c.run_id == run_id), None)


@dataclass(frozen=True, slots=True)
class TopicBounds:
    """What the broker holds now: per partition the log start and the last stable end."""

    topic: str
    topic_id: str
    starts: Mapping[int, int]
    ends: Mapping[int, int]


def whole(pending: Slice) -> Slice:
    """No cap."""
    return pending


def take(
    record: ClaimRecord | None,
    run_id: str,
    bounds: TopicBounds,
    *,
    first: Mapping[int, int] | None = None,
    cap: Callable[[Slice], Slice] = whole,
    parts: int | None = None,
    at: int = 0,
    kept: int = CLAIMS_KEPT,
) -> tuple[ClaimRecord, Claim]:
    """Steps 2 and 3 of the protocol: the record to store and the claim of ``run_id``.

    :param first: where to start when there is no record yet (default: the log start).
    :param cap: picks what one run may take of what is pending, a prefix of each partition; the remainder is
        left to the next run.
    :param parts: number of parts that the slice will be landed in.
    :param at: the time, seconds since the epoch.
    """
    if record is not None and (old := record.of(run_id)) is not None:
        return record, old
    position = _position(record, bounds, first)
    begin = {p: max(o, bounds.starts[p]) for p, o in position.items() if p in bounds.starts}
    lost = [OffsetRange(p, position[p], start) for p, start in begin.items()]
    pending = [OffsetRange(p, o, max(o, bounds.ends[p])) for p, o in begin.items()]
    mine = cap(Slice(bounds.topic, bounds.topic_id, tuple(pending)))
    claim = Claim(run_id, mine, Slice(bounds.topic, bounds.topic_id, tuple(lost)), parts, at)
    moved = {**position, **begin, **{r.partition: r.end for r in mine}}
    new = ClaimRecord(bounds.topic, bounds.topic_id, moved)
    if record is None:
        return _with_claim(new, claim, kept), claim
    same_epoch = record.topic_id == bounds.topic_id
    new = replace(
        record,
        topic=bounds.topic,
        topic_id=bounds.topic_id,
        position=moved,
        cuts=record.cuts if same_epoch else {},
    )
    return _with_claim(new, claim, kept), claim


def _position(
    record: ClaimRecord | None, bounds: TopicBounds, first: Mapping[int, int] | None
) -> dict[int, int]:
    if record is None:
        return {p: (first or {}).get(p, start) for p, start in bounds.starts.items()}
    # Nothing was read of a partition that was added since, nor of a topic that was created again. They begin
    # at 0: if the log starts later than that by now, the messages before are lost.
    beginning = dict.fromkeys(bounds.starts, 0)
    return beginning if record.topic_id != bounds.topic_id else {**beginning, **record.position}


def _with_claim(record: ClaimRecord, claim: Claim, kept: int) -> ClaimRecord:
    """The last ``kept`` claims, or fewer where a topic has many partitions; always the last one."""
    if not len(claim.slice) and not len(claim.lost):
        return record
    claims, ranges = [claim], _size(claim)
    for old in reversed(record.claims):
        ranges += _size(old)
        if len(claims) == kept or ranges > RANGES_KEPT:
            return replace(record, claims=tuple(reversed(claims)), forgotten=max(record.forgotten, old.at))
        claims.append(old)
    return replace(record, claims=tuple(reversed(claims)))


def _size(claim: Claim) -> int:
    return len(claim.slice.ranges) + len(claim.lost.ranges)


def find_cuts(record: ClaimRecord, bounds: TopicBounds) -> tuple[ClaimRecord, Slice]:
    """Where the log ends before the position: it was cut (an unclean leader election, a broker restored from
    a copy), and the offsets behind the cut will be given to other messages, which nobody will read.

    Returns the record, which remembers what was found, and the ranges that were not found before.
    """
    cuts: dict[int, int] = {}
    found: list[OffsetRange] = []
    if record.topic_id == bounds.topic_id:
        for p, position in record.position.items():
            end = max(bounds.ends.get(p, position), bounds.starts.get(p, 0))
            if end < position:
                before = record.cuts.get(p, position)
                cuts[p] = min(end, before)
                found.append(OffsetRange(p, cuts[p], before))
    return replace(record, cuts=cuts), Slice(bounds.topic, bounds.topic_id, tuple(found))
