"""What is to be replayed: bounds as people write them, and the slice that they mean.

A bound is an offset for every partition (``1000``), offsets by partition (``0:100,1:50``), or a time of Kafka
with a zone (``2026-11-24T09:30:00Z``). Only what was claimed can be replayed: what lies beyond is read by the
next landing run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.errors import ConfigurationError, TopicError
from madhatter_provider.core.landing.land import Batch
from madhatter_provider.core.slices.claims import TopicBounds
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.core.warehouse import ledger
from madhatter_provider.core.warehouse.sql_client import Sql

Bound = int | Mapping[int, int] | datetime

_OFFSET = re.compile(r"[+-]?\d+")
_BY_PARTITION = re.compile(r"\d+:[+-]?\d+(,\d+:[+-]?\d+)*")
_FORMS = "Write an offset (1000), offsets by partition (0:100,1:50) or a time (2026-11-24T09:30:00Z)."


class ReplayKafka(Protocol):
    """What a replay asks of Kafka."""

    def bounds(self, topic: str) -> TopicBounds:
        """Log start and last stable end of every partition."""

    def offsets_at(self, topic: str, partitions: Sequence[int], timestamp_ms: int) -> dict[int, int]:
        """First offset at or after a time, per partition; the end where there is none."""

    def read(self, owned: Slice) -> Iterator[Batch]:
        """All messages of a slice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequest:
    """What a person asks for.

    :param start: first offset or time to replay, as text.
    :param end: where to stop: the offset or time after the last.
    :param run_id: instead of both: all ranges that this run owns.
    :param topic_id: epoch of the topic that the offsets belong to; the present one if left out.
    :param reason: why; it is recorded.
    :param who: who asks; it is recorded.
    :param allow_gone: replay the rest when parts of the range are in no source any more.
    :param take_over: replay what a landing run has claimed but not loaded, too: for runs that can never run
        again.
    :raises ConfigurationError: no reason, or neither bounds nor a run.
    """

    start: str | None = None
    end: str | None = None
    run_id: str | None = None
    topic_id: str | None = None
    reason: str
    who: str
    allow_gone: bool = False
    take_over: bool = False

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ConfigurationError(
                "A replay needs a reason",
                remedy="Say why in a few words: it stands in OPS.REPLAYS for those who come after.",
            )
        if self.run_id and (self.start or self.end):
            raise ConfigurationError("Both a run and a range are given", remedy="Give one of them.")
        if not self.run_id and not (self.start and self.end):
            raise ConfigurationError("No range to replay", remedy=f"Give a start and an end. {_FORMS}")


def parse_bound(text: str) -> Bound:
    """Read a bound.

    :raises ConfigurationError: it is none of the three forms, negative, or a time without a zone.
    """
    given = text.strip().replace(" ", "") if ":" not in text or "," in text else text.strip()
    if _OFFSET.fullmatch(given):
        return _offset(given, text)
    if _BY_PARTITION.fullmatch(given):
        pairs = [part.split(":") for part in given.split(",")]
        found = {int(p): _offset(o, text) for p, o in pairs}
        if len(found) != len(pairs):
            raise ConfigurationError(f"A partition stands twice in {text!r}", remedy="Name it once.")
        return found
    return parse_time(text)


def parse_time(text: str) -> datetime:
    """Read a time.

    :raises ConfigurationError: it is none, or has no zone.
    """
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError as err:
        raise ConfigurationError(f"{text!r} is neither offsets nor a time", remedy=_FORMS) from err
    if when.tzinfo is None:
        raise ConfigurationError(f"{text!r} has no time zone", remedy="Add Z, or an offset such as +01:00.")
    return when


def _offset(digits: str, text: str) -> int:
    if int(digits) < 0:
        raise ConfigurationError(f"Negative offset in {text!r}", remedy="Offsets begin at 0.")
    return int(digits)


@dataclass(frozen=True, slots=True)
class ClaimedEpoch:
    """What the ledger knows of one epoch of a stream's topic: first and last claimed offset by partition."""

    topic: str
    topic_id: str
    starts: Mapping[int, int]
    ends: Mapping[int, int]

    def __str__(self) -> str:
        return f"{self.topic_id} ({', '.join(f'{p}:{e}' for p, e in sorted(self.ends.items()))})"


def claimed_epochs(sql: Sql, stream: str) -> list[ClaimedEpoch]:
    """Every epoch that the ledger knows, the newest first."""
    found = sql.execute(
        "SELECT TOPIC_ID, PARTITION_ID, MAX(TOPIC) AS TOPIC, MIN(START_OFFSET) AS FIRST_OFFSET, "
        f"MAX(END_OFFSET) AS LAST_OFFSET, MAX(CLAIMED_AT) AS CLAIMED FROM {ledger.TABLE} WHERE STREAM = ? "
        "GROUP BY TOPIC_ID, PARTITION_ID ORDER BY CLAIMED DESC, PARTITION_ID",
        [stream],
    )
    epochs: dict[str, ClaimedEpoch] = {}
    for row in found:
        epoch = epochs.setdefault(
            row["TOPIC_ID"], ClaimedEpoch(str(row["TOPIC"] or stream), row["TOPIC_ID"], {}, {})
        )
        partition = int(row["PARTITION_ID"])
        epochs[row["TOPIC_ID"]] = ClaimedEpoch(
            epoch.topic,
            epoch.topic_id,
            {**epoch.starts, partition: int(row["FIRST_OFFSET"])},
            {**epoch.ends, partition: int(row["LAST_OFFSET"])},
        )
    return list(epochs.values())


def resolve(request: ReplayRequest, contract: Contract, sql: Sql, kafka: ReplayKafka) -> Slice:
    """The slice that a request means.

    :raises ConfigurationError: it means nothing, or more than was claimed.
    :raises TopicError: nothing of that epoch was ever claimed.
    """
    if request.run_id:
        return _slice_of_run(contract.stream, request.run_id, sql)
    epochs = claimed_epochs(sql, contract.stream)
    now = bounds_of(kafka, contract.topic, needed=request.topic_id is None)
    wanted = request.topic_id or (now.topic_id if now else "")
    epoch = next((e for e in epochs if e.topic_id == wanted), None)
    if epoch is None:
        known = "; ".join(map(str, epochs)) or "none"
        raise TopicError(
            f"The ledger knows nothing of epoch {wanted} of this topic",
            where=f"stream {contract.stream}, topic {contract.topic}",
            remedy=f"Let the landing DAG run first, or name one of the epochs that it knows: {known}.",
        )
    current = now if now and now.topic_id == epoch.topic_id else None
    return _between(request, epoch, _Clock(contract, epoch, sql, kafka, current))


def bounds_of(kafka: ReplayKafka, topic: str, *, needed: bool) -> TopicBounds | None:
    """The topic as it is now; ``None`` if it is gone and is not needed, since files may still be there.

    :raises TopicError: it is needed.
    """
    try:
        return kafka.bounds(topic)
    except TopicError:
        if needed:
            raise
        return None


def _slice_of_run(stream: str, run_id: str, sql: Sql) -> Slice:
    found = sql.execute(
        f"SELECT TOPIC, TOPIC_ID, PARTITION_ID, START_OFFSET, END_OFFSET FROM {ledger.TABLE} "
        "WHERE STREAM = ? AND RUN_ID = ? AND STATE <> 'lost'",
        [stream, run_id],
    )
    if not found:
        raise ConfigurationError(
            f"The ledger knows no range of run {run_id!r}",
            where=f"stream {stream}",
            remedy="Look up RUN_ID in OPS.SLICES.",
        )
    if len({r["TOPIC_ID"] for r in found}) > 1:
        raise ConfigurationError(
            f"Several DAGs have a run {run_id!r}, of several epochs of the topic",
            where=f"stream {stream}",
            remedy="Give the range instead.",
        )
    ranges = (
        OffsetRange(int(r["PARTITION_ID"]), int(r["START_OFFSET"]), int(r["END_OFFSET"])) for r in found
    )
    return Slice(str(found[0]["TOPIC"] or stream), str(found[0]["TOPIC_ID"]), tuple(ranges))


def _between(request: ReplayRequest, epoch: ClaimedEpoch, clock: _Clock) -> Slice:
    first, last = parse_bound(request.start or ""), parse_bound(request.end or "")
    where = f"topic {epoch.topic}, epoch {epoch.topic_id}"
    partitions = _partitions(first, last, epoch, where)
    starts, ends = (
        clock.offsets(first, partitions, begins=True),
        clock.offsets(last, partitions, begins=False),
    )
    backwards = [p for p in partitions if starts[p] > ends[p]]
    if backwards:
        raise ConfigurationError(
            f"The range runs backwards: {', '.join(f'{p}:[{starts[p]}, {ends[p]})' for p in backwards)}",
            where=where,
            remedy="The start must not be after the end.",
        )
    beyond = [p for p in partitions if ends[p] > epoch.ends[p]]
    if beyond:
        known = ",".join(f"{p}:{min(ends[p], epoch.ends[p])}" for p in partitions)
        raise ConfigurationError(
            "The range goes beyond what was claimed: "
            + ", ".join(f"partition {p} to {ends[p]}, claimed to {epoch.ends[p]}" for p in beyond),
            where=where,
            remedy=f"The next landing run reads the rest; replay up to {known}.",
        )
    owned = Slice(epoch.topic, epoch.topic_id, tuple(OffsetRange(p, starts[p], ends[p]) for p in partitions))
    if not len(owned):
        raise ConfigurationError(
            f"No offset lies between {request.start} and {request.end}",
            where=where,
            remedy=f"Claimed to: {epoch}.",
        )
    return owned


def _partitions(first: Bound, last: Bound, epoch: ClaimedEpoch, where: str) -> list[int]:
    named = [set(b) for b in (first, last) if isinstance(b, Mapping)]
    if len(named) == 2 and named[0] != named[1]:
        raise ConfigurationError(
            f"Start and end name different partitions: {sorted(named[0])} and {sorted(named[1])}",
            where=where,
            remedy="Name the same partitions in both.",
        )
    partitions = sorted(named[0] if named else epoch.ends)
    unknown = [p for p in partitions if p not in epoch.ends]
    if unknown:
        raise ConfigurationError(
            f"Nothing was claimed of partition {', '.join(map(str, unknown))}",
            where=where,
            remedy=f"Claimed are partitions {', '.join(map(str, sorted(epoch.ends)))}.",
        )
    return partitions


@dataclass(frozen=True, slots=True)
class _Clock:
    """Turns bounds into offsets. Times that Kafka has forgotten are looked up among the rows in Snowflake."""

    contract: Contract
    epoch: ClaimedEpoch
    sql: Sql
    kafka: ReplayKafka
    now: TopicBounds | None
    """The topic, if the epoch is the present one."""

    def offsets(self, bound: Bound, partitions: Sequence[int], *, begins: bool) -> dict[int, int]:
        """Offset of a bound by partition."""
        if isinstance(bound, int):
            return dict.fromkeys(partitions, bound)
        if isinstance(bound, Mapping):
            return dict(bound)
        ends = self.epoch.ends
        if self.now is None:
            known = {}
        else:
            asked = self.kafka.offsets_at(self.epoch.topic, partitions, int(bound.timestamp() * 1000))
            known = {p: o for p, o in asked.items() if o > self.now.starts.get(p, 0)}
        stored = self._ask_rows(bound) if len(known) < len(partitions) else {}
        return {
            p: min(ends[p], known[p] if p in known else self._among(p, *stored.get(p, (None, None)), begins))
            for p in partitions
        }

    def _among(self, partition: int, before: int | None, after: int | None, begins: bool) -> int:
        """A time's offset among rows. Some may be missing, which is why one replays: begin right behind the
        last row that is older, end at the first that is not.
        """
        start = self.now.starts.get(partition, 0) if self.now else self.epoch.ends[partition]
        if not begins:
            return start if after is None else after
        older = self.epoch.starts[partition] if before is None else before + 1
        return min(older, start if after is None else after)

    def _ask_rows(self, when: datetime) -> dict[int, tuple[int | None, int | None]]:
        """Last offset before, first offset at or after a time, by partition."""
        places = "SELECT _TOPIC_ID, _PARTITION, _OFFSET, _TIMESTAMP FROM RAW."
        found = self.sql.execute(
            "SELECT _PARTITION AS P, MAX(IFF(_TIMESTAMP < ?, _OFFSET, NULL)) AS BEFORE, "
            "MIN(IFF(_TIMESTAMP >= ?, _OFFSET, NULL)) AS AFTER "
            f"FROM ({places}{self.contract.table} UNION ALL {places}QUARANTINE) AS r "
            "WHERE _TOPIC_ID = ? GROUP BY _PARTITION",
            [when, when, self.epoch.topic_id],
        )
        return {
            int(r["P"]): tuple(None if r[c] is None else int(r[c]) for c in ("BEFORE", "AFTER"))  # type: ignore[misc]
            for r in found
        }
