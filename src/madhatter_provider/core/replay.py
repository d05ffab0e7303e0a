"""Read a range of a stream again and put what comes out in the place of what is there.

Afterwards every message of the range is in exactly one of RAW's table and the quarantine, once, as the
contract decides now. Steps, each safe to repeat with the same id:

1. Find out what the request means and where each part can be read (:mod:`.replay_request`,
   :mod:`.replay_plan`). A dry run ends here.
2. Record the replay in ``OPS.REPLAYS``; claim in the ledger what no run has claimed.
3. Land below ``replay/<id>/``: what Kafka has is read and decoded, quarantined messages in files are decoded
   again. Landing files' good rows are used as they are.
4. Load all of it into staging tables; prove that every message is there once.
5. In one transaction: swap the rows of the range, count the ledger's rows anew.
6. Judge the range by the fast gate, record it, tidy up.

Landing runs are not held up: they own other ranges. A range that a live run owns is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from madhatter_provider.core import ledger, replay_record
from madhatter_provider.core.contract import Contract
from madhatter_provider.core.crash_points import reached
from madhatter_provider.core.decoders import SchemaSource
from madhatter_provider.core.gate import GateResult, compile_gate, judge
from madhatter_provider.core.landing import Landing, land, landed_before
from madhatter_provider.core.ledger import LedgerRow
from madhatter_provider.core.ledger_changes import rejudge
from madhatter_provider.core.manifest import Manifest
from madhatter_provider.core.offsets import OffsetRange, Slice
from madhatter_provider.core.quarantine_rows import from_files
from madhatter_provider.core.replay_plan import Plan, Source, count_rows, ledger_rows, make_plan, within
from madhatter_provider.core.replay_record import Recorded, Requested
from madhatter_provider.core.replay_request import ReplayKafka, ReplayRequest, bounds_of, resolve
from madhatter_provider.core.replay_staging import Staging, swap
from madhatter_provider.core.replay_store import Below, ReplayStore
from madhatter_provider.core.sql import literal
from madhatter_provider.core.sql_client import TransactionalSql

DAG_ID = "replay"
"""What the ledger calls the owner of ranges that only a replay has read."""


@dataclass(frozen=True, slots=True)
class Replaying:
    """What a replay works with.

    :param id: names its files and tables; the same id takes up the same replay.
    :param schemas: the registry of formats that need one.
    :param log: takes a line for people.
    """

    contract: Contract
    sql: TransactionalSql
    kafka: ReplayKafka
    store: ReplayStore
    id: str
    schemas: SchemaSource | None = None
    log: Callable[[str], None] = print

    def __post_init__(self) -> None:
        replay_record.check_id(self.id)

    @property
    def run_id(self) -> str:
        """What the ledger and the quarantine call this replay."""
        return f"replay:{self.id}"

    @property
    def staging(self) -> Staging:
        """Its staging tables."""
        return Staging(self.id, self.contract, self.sql)

    def landing(self, owned: Slice) -> Landing:
        """A landing below the replay's own folder."""
        store = Below(self.store, replay_record.root_of(self.id))
        return Landing(self.contract, owned, self.run_id, store, schemas=self.schemas)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay changed, and the fast gate's decision on it."""

    id: str
    stream: str
    offsets: int
    rows_before: int
    quarantined_before: int
    rows_after: int
    quarantined_after: int
    gate: GateResult

    def as_dict(self) -> dict[str, Any]:
        """A JSON value."""
        return {**asdict(self), "gate": self.gate.as_dict()}

    def __str__(self) -> str:
        return (
            f"Replay {self.id}: {self.offsets} offsets; rows {self.rows_before} -> {self.rows_after}, "
            f"quarantined {self.quarantined_before} -> {self.quarantined_after}; gate: {self.gate.decision}"
        )


def plan_replay(job: Replaying, request: ReplayRequest) -> Plan:
    """Step 1.

    :raises ConfigurationError: the range is impossible, or a landing run owns a part of it.
    :raises TopicError: the topic or its epoch is unknown.
    """
    asked = resolve(request, job.contract, job.sql, job.kafka)
    bounds = bounds_of(job.kafka, job.contract.topic, needed=False)
    return make_plan(
        job.contract, asked, bounds, job.sql, job.store, take_over=request.take_over, run_id=job.run_id
    )


def replay(job: Replaying, request: ReplayRequest) -> Replayed:
    """All steps, or those that an earlier try left.

    :raises LostRangeError: a part is in no source any more, and the request does not allow for that.
    :raises ConservationError: files hold a message twice; nothing was replaced.
    """
    selection = json.dumps(
        {"from": request.start, "to": request.end, "run": request.run_id, "epoch": request.topic_id}
    )
    known = replay_record.find(job.sql, job.id)
    if known is not None and known.state != "begun":
        known.refuse_unless(Requested(job.id, "range", job.contract.stream, None, None, selection))
        return _finish(job, known)
    plan = plan_replay(job, request)
    for line in plan.lines():
        job.log(line)
    plan.refuse_gone(request.allow_gone)
    asked = plan.asked
    wanted = Requested(job.id, "range", job.contract.stream, asked.topic, asked.topic_id, selection)
    replay_record.begin(job.sql, job.contract, wanted, request.reason, request.who)
    replay_record.record_sources(job.sql, job.id, plan.sources_json())
    _claim_the_unclaimed(job, plan.found)
    reached("replay.after_begin")
    _stage(job, plan, _land(job, plan))
    reached("replay.after_stage")
    touched = [plan.found]
    scope = f"_TOPIC_ID = {literal(asked.topic_id)} AND ({within(plan.found)})"
    job.sql.transact(swap(job.staging, scope, touched), repeatable=True)
    reached("replay.after_swap")
    done = replay_record.find(job.sql, job.id)
    assert done is not None, "the replay was recorded in step 2"
    return _finish(job, done)


def _claim_the_unclaimed(job: Replaying, found: Slice) -> None:
    """Offsets that no ledger row has: before the first run's start, or a gap. No landing run will take them,
    as positions only grow.
    """
    rows = ledger_rows(job.sql, job.contract.stream, found)
    covered = (OffsetRange(r.partition_id, r.start_offset, r.end_offset) for r in rows)
    missing = found - Slice(found.topic, found.topic_id, tuple(covered))
    if len(missing):
        new = [
            LedgerRow(
                stream=job.contract.stream,
                topic_id=found.topic_id,
                partition_id=r.partition,
                start_offset=r.start,
                end_offset=r.end,
                state="claimed",
                topic=found.topic,
                dag_id=DAG_ID,
                run_id=job.run_id,
            )
            for r in missing
        ]
        job.sql.execute(*ledger.record(new))


def _land(job: Replaying, plan: Plan) -> list[Manifest]:
    """Step 3."""
    landed = []
    from_kafka = plan.slice_of("kafka")
    if len(from_kafka):
        landing = job.landing(from_kafka)
        landed.append(landed_before(landing) or land(landing, job.kafka.read(from_kafka)))
    reached("replay.after_kafka")
    if plan.quarantine_files:
        landed.append(_land_again(job, plan))
    reached("replay.after_files")
    for manifest in landed:
        job.log(f"Read {manifest.read}: {manifest.landed} good, {manifest.quarantined} to quarantine")
    return landed


def _land_again(job: Replaying, plan: Plan) -> Manifest:
    """The quarantined messages of files."""
    parts = sorted(
        ((p.range, [f.path for f in stored.quarantined]) for p, stored in plan.from_files), key=lambda p: p[0]
    )
    owned = Slice(plan.asked.topic, plan.asked.topic_id, tuple(r for r, files in parts if files))
    landing = job.landing(owned)
    return landed_before(landing) or land(landing, from_files(job.store, parts))


def _stage(job: Replaying, plan: Plan, landed: Sequence[Manifest]) -> None:
    """Step 4."""
    staging, root = job.staging, replay_record.root_of(job.id)
    staging.make()
    done: list[OffsetRange] = []
    for origin in reversed(dict.fromkeys(stored.origin for _, stored in plan.from_files)):
        mine = [(p, stored) for p, stored in plan.from_files if stored.origin == origin]
        staging.copy(staging.rows, {f.path: f.rows for _, s in mine for f in s.typed})
        done += [p.range for p, _ in mine]
        # A file may hold more than is asked for, and what a newer replay has decided anew.
        staging.keep_only(staging.rows, within(Slice(plan.asked.topic, plan.asked.topic_id, tuple(done))))
    for table, quarantine in ((staging.rows, False), (staging.held, True)):
        files = (f for m in landed for f in m.files if f.quarantine is quarantine and f.rows)
        staging.copy(table, {f"{root}/{f.path}": f.rows for f in files})
    good, held = staging.check()
    job.log(f"Staged {good} good rows, {held} for quarantine")


def _finish(job: Replaying, done: Recorded) -> Replayed:
    """Step 6."""
    ranges: dict[Source, list[Any]] = json.loads(done.sources or "{}")
    found = Slice(
        done.topic or "",
        done.topic_id or "",
        tuple(OffsetRange(*r) for s in ("kafka", "files") for r in ranges[s]),
    )
    gate = judge_again(job, found)
    reached("replay.after_judge")
    replay_record.finish(job.sql, job.id)
    reached("replay.after_finish")
    job.staging.drop()
    return Replayed(
        job.id,
        job.contract.stream,
        len(found),
        done.rows_before,
        done.quarantined_before,
        done.rows_after,
        done.quarantined_after,
        gate,
    )


def judge_again(job: Replaying, replaced: Slice) -> GateResult:
    """The fast gate over the ledger's ranges that touch a slice; the ledger gets the decision."""
    rows = [r for r in ledger_rows(job.sql, job.contract.stream, replaced) if r.state == "loaded"]
    ranges = tuple(OffsetRange(r.partition_id, r.start_offset, r.end_offset) for r in rows)
    whole = Slice(replaced.topic, replaced.topic_id, ranges)
    statement, bindings = compile_gate(
        job.contract, whole.topic_id, [(r.partition, r.start, r.end) for r in whole]
    )
    _, held = count_rows(job.sql, job.contract, whole)
    result = judge(job.contract, job.sql.execute(statement, bindings)[0], held)
    job.sql.execute(rejudge(job.contract, whole, result.decision))
    return result
