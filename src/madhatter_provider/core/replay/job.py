"""What replays of ranges and of quarantined rows have in common: what they work with, and how they end."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.crash_points import reached
from madhatter_provider.core.decoding.decoders import SchemaSource
from madhatter_provider.core.errors import GateFailed
from madhatter_provider.core.landing.files import FileOptions
from madhatter_provider.core.landing.land import Landing, Store
from madhatter_provider.core.replay import record as replay_record
from madhatter_provider.core.replay.plan import count_rows
from madhatter_provider.core.replay.request import ReplayKafka
from madhatter_provider.core.replay.staging import Staging
from madhatter_provider.core.replay.store import Below
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.core.warehouse import ledger
from madhatter_provider.core.warehouse.gate import Decision, GateResult, compile_gate, judge
from madhatter_provider.core.warehouse.ledger_changes import rejudge
from madhatter_provider.core.warehouse.sql_client import Sql, TransactionalSql


@dataclass(frozen=True, slots=True)
class Replaying:
    """What a replay works with.

    :param id: names its files and tables; the same id takes up the same replay.
    :param schemas: the registry of formats that need one.
    :param tombstones: what becomes of messages without a value: the same as when the stream is landed.
    :param log: takes a line for people.
    :param attempt: names the staging tables of this try.
    """

    contract: Contract
    sql: TransactionalSql
    kafka: ReplayKafka
    store: Store
    id: str
    schemas: SchemaSource | None = None
    tombstones: str = "quarantine"
    log: Callable[[str], None] = print
    attempt: str = field(default_factory=lambda: secrets.token_hex(3).upper())

    def __post_init__(self) -> None:
        replay_record.check_id(self.id)

    @property
    def run_id(self) -> str:
        """What the ledger and the quarantine call this replay."""
        return f"replay:{self.id}"

    @property
    def staging(self) -> Staging:
        """Its staging tables."""
        return Staging(self.id, self.attempt, self.contract, self.sql)

    def landing(self, owned: Slice) -> Landing:
        """A landing below the replay's own folder."""
        store = Below(self.store, replay_record.root_of(self.id))
        options = FileOptions(tombstones=self.tombstones)
        return Landing(self.contract, owned, self.run_id, store, options, self.schemas)


@dataclass(frozen=True, slots=True)
class Replayed:
    """Rows of the range (or of the messages chosen) before and after, and what the fast gate says now."""

    id: str
    stream: str
    rows_before: int
    quarantined_before: int
    rows_after: int
    quarantined_after: int
    gates: tuple[GateResult, ...]

    @property
    def decision(self) -> Decision:
        """The worst of the fast gate's decisions; one is made for each epoch of the topic."""
        decisions = {g.decision for g in self.gates}
        return next((d for d in ("fail", "warn") if d in decisions), "pass")

    def raise_if_failed(self) -> None:
        """Say that a person must look.

        :raises GateFailed: a critical rule failed.
        """
        broken = [r for g in self.gates for r in g.broken if r.severity == "critical"]
        if broken:
            raise GateFailed(
                f"The rows are in place but do not keep their contract: {'; '.join(map(str, broken))}",
                where=f"stream {self.stream}, replay {self.id}",
                remedy="Look at RAW.QUARANTINE; mend the producer or the contract, then replay again.",
            )

    def as_dict(self) -> dict[str, Any]:
        """A JSON value."""
        return {**asdict(self), "gates": [g.as_dict() for g in self.gates], "decision": self.decision}

    def __str__(self) -> str:
        return (
            f"Replay {self.id}: rows {self.rows_before} -> {self.rows_after}, "
            f"quarantined {self.quarantined_before} -> {self.quarantined_after}; gate: {self.decision}"
        )


def finish(job: Replaying, kind: str) -> Replayed:
    """After the swap: judge the ledger's ranges that were touched, record the end, tidy up.

    :param kind: area of the crash points.
    """
    gates = tuple(_judge(job, owned) for owned in touched_by(job.sql, job.contract.stream, job.id))
    reached(f"{kind}.after_judge")
    replay_record.finish(job.sql, job.id)
    reached(f"{kind}.after_finish")
    job.staging.drop()
    done = replay_record.find(job.sql, job.id)
    assert done is not None, "a replay is recorded before its rows are swapped"
    return Replayed(
        job.id,
        job.contract.stream,
        done.rows_before,
        done.quarantined_before,
        done.rows_after,
        done.quarantined_after,
        gates,
    )


def _judge(job: Replaying, owned: Slice) -> GateResult:
    """The fast gate over whole ranges of the ledger, which gets the decision."""
    ranges = [(r.partition, r.start, r.end) for r in owned]
    statement, bindings = compile_gate(job.contract, owned.topic_id, ranges)
    _, held = count_rows(job.sql, job.contract, owned)
    result = judge(job.contract, job.sql.execute(statement, bindings)[0], held)
    job.sql.execute(rejudge(job.contract, owned, result.decision))
    return result


def touched_by(sql: Sql, stream: str, replay_id: str) -> list[Slice]:
    """The loaded ranges that a replay touched last, by epoch of the topic."""
    found = sql.execute(
        f"SELECT TOPIC, TOPIC_ID, PARTITION_ID, START_OFFSET, END_OFFSET FROM {ledger.TABLE} "
        "WHERE STREAM = ? AND REPLAY_ID = ? AND STATE = 'loaded'",
        [stream, replay_id],
    )
    return by_epoch(found)


def by_epoch(rows: Iterable[Mapping[str, Any]]) -> list[Slice]:
    """Ledger rows as slices, one for each epoch of the topic."""
    epochs: dict[str, tuple[str, list[OffsetRange]]] = {}
    for row in rows:
        _, ranges = epochs.setdefault(str(row["TOPIC_ID"]), (str(row["TOPIC"]), []))
        ranges.append(OffsetRange(int(row["PARTITION_ID"]), int(row["START_OFFSET"]), int(row["END_OFFSET"])))
    return [Slice(topic, topic_id, tuple(ranges)) for topic_id, (topic, ranges) in sorted(epochs.items())]
