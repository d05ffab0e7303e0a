"""The claim: which run owns which offsets. Pure: the caller reads and writes the state.

The record is one JSON value, so that position and claim change together. Its protocol:

1. Read the record (``None`` before the first claim of this DAG on this topic).
2. If this run has a claim, return it unchanged: a retry or a cleared run gets its slice again.
3. Else take ``[position, last stable end)`` of every partition, capped, and move the position by it.
4. Write the new record back, in one value. Only then may the slice be used.

The caller guarantees that one task at a time does this for a DAG (``max_active_tis_per_dag=1``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from madhatter_provider.core.errors import StateLostError
from madhatter_provider.core.offsets import OffsetRange, Slice

RECORD_VERSION = 1
CLAIMS_KEPT = 50
RANGES_KEPT = 1500


@dataclass(frozen=True, slots=True)
class Claim:
    """What one run owns, and what was lost to retention just before it."""

    run_id: str
    slice: Slice
    lost: Slice

    def to_json(self) -> dict[str, Any]:
        """A compact JSON value: Airflow warns of state above 64 KB."""
        value: dict[str, Any] = {"run_id": self.run_id, "topic_id": self.slice.topic_id}
        value["ranges"] = [[r.partition, r.start, r.end] for r in self.slice]
        if len(self.lost):
            value["lost"] = [[r.partition, r.start, r.end] for r in self.lost]
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any], topic: str) -> Claim:
        """Read what :meth:`to_json` wrote, for a topic."""

        def read(ranges: Iterable[Sequence[int]]) -> Slice:
            return Slice(topic, str(value["topic_id"]), tuple(OffsetRange(p, s, e) for p, s, e in ranges))

        return cls(str(value["run_id"]), read(value["ranges"]), read(value.get("lost", ())))


@dataclass(frozen=True, slots=True)
class ClaimRecord:
    """The position of one DAG on one topic, and its last claims (the ledger keeps all)."""

    topic: str
    topic_id: str
    position: Mapping[int, int] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()

    def of(self, run_id: str) -> Claim | None:
        """The claim of a run, if it is still kept."""
        return next((c for c in reversed(self.claims) if c.run_id == run_id), None)

    def to_json(self) -> dict[str, Any]:
        """A JSON value, with a version."""
        return {
            "version": RECORD_VERSION,
            "topic": self.topic,
            "topic_id": self.topic_id,
            "position": {str(p): o for p, o in sorted(self.position.items())},
            "claims": [c.to_json() for c in self.claims],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ClaimRecord:
        """Read what :meth:`to_json` wrote.

        :raises StateLostError: the value is not a record, or was written by a later version.
        """
        if not isinstance(value, Mapping) or value.get("version") != RECORD_VERSION:
            raise StateLostError(
                "The stored position cannot be read",
                where=f"asset state, found {str(value)[:200]!r}",
                remedy="Update the provider; do not delete the state, the position would start over.",
            )
        return cls(
            str(value["topic"]),
            str(value["topic_id"]),
            {int(p): int(o) for p, o in value["position"].items()},
            tuple(Claim.from_json(c, str(value["topic"])) for c in value["claims"]),
        )


@dataclass(frozen=True, slots=True)
class TopicBounds:
    """What the broker holds now: per partition the log start and the last stable end."""

    topic: str
    topic_id: str
    starts: Mapping[int, int]
    ends: Mapping[int, int]


def take(
    record: ClaimRecord | None,
    run_id: str,
    bounds: TopicBounds,
    *,
    first: Mapping[int, int] | None = None,
    max_messages: int | None = None,
    kept: int = CLAIMS_KEPT,
) -> tuple[ClaimRecord, Claim]:
    """Steps 2 and 3 of the protocol: the record to store and the claim of ``run_id``.

    :param first: where to start on partitions when there is no record yet (default: the log start).
        Partitions added later, and a topic created again, start at the log start.
    :param max_messages: cap of the number of offsets; the remainder is left to the next run.
    """
    if record is not None and (old := record.of(run_id)) is not None:
        return record, old
    position, claims = _position(record, bounds, first or {}), record.claims if record else ()
    lost = [
        OffsetRange(p, o, bounds.starts[p])
        for p, o in position.items()
        if p in bounds.starts and o < bounds.starts[p]
    ]
    begin = {p: max(o, bounds.starts[p]) for p, o in position.items() if p in bounds.starts}
    pending = Slice(
        bounds.topic,
        bounds.topic_id,
        tuple(OffsetRange(p, o, bounds.ends[p]) for p, o in begin.items() if bounds.ends[p] > o),
    )
    mine = pending if max_messages is None else pending.head(max_messages)
    claim = Claim(run_id, mine, Slice(bounds.topic, bounds.topic_id, tuple(lost)))
    moved = {**position, **begin, **{r.partition: r.end for r in mine}}
    new = ClaimRecord(bounds.topic, bounds.topic_id, moved, claims)
    if len(mine) or len(claim.lost):
        new = replace(new, claims=_newest((*claims, claim), kept))
    return new, claim


def _newest(claims: Sequence[Claim], kept: int) -> tuple[Claim, ...]:
    """The last ``kept`` claims, or fewer where a topic has many partitions; always the last one."""
    newest: list[Claim] = []
    ranges = 0
    for claim in reversed(claims[-kept:]):
        ranges += len(claim.slice.ranges)
        if newest and ranges > RANGES_KEPT:
            break
        newest.append(claim)
    return tuple(reversed(newest))


def _position(record: ClaimRecord | None, bounds: TopicBounds, first: Mapping[int, int]) -> dict[int, int]:
    if record is None:
        return {p: first.get(p, start) for p, start in bounds.starts.items()}
    if record.topic_id != bounds.topic_id:
        return dict(bounds.starts)
    # A partition that the record does not know was added since: nothing of it was read, so it starts at the
    # log start.
    return {**bounds.starts, **record.position}


def pending(position: Mapping[int, int], ends: Mapping[int, int]) -> int:
    """Number of offsets between a position and the ends."""
    return sum(max(0, end - position.get(p, 0)) for p, end in ends.items())
