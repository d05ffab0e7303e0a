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
from collections.abc import Sequence

from madhatter_provider.core.crash_points import reached
from madhatter_provider.core.landing.land import land, landed_before
from madhatter_provider.core.landing.manifest import Manifest
from madhatter_provider.core.replay import record as replay_record
from madhatter_provider.core.replay.job import Replayed, Replaying, finish
from madhatter_provider.core.replay.plan import Plan, ledger_rows, make_plan, within
from madhatter_provider.core.replay.quarantine_rows import from_files
from madhatter_provider.core.replay.record import Requested
from madhatter_provider.core.replay.request import ReplayRequest, bounds_of, resolve
from madhatter_provider.core.replay.staging import swap
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.core.warehouse import ledger
from madhatter_provider.core.warehouse.ledger import LedgerRow
from madhatter_provider.core.warehouse.sql import literal

DAG_ID = "replay"
"""What the ledger calls the owner of ranges that only a replay has read."""


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
        return finish(job, "replay")
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
    scope = f"_TOPIC_ID = {literal(asked.topic_id)} AND ({within(plan.found)})"
    job.sql.transact(swap(job.staging, scope, [plan.found]), repeatable=True)
    reached("replay.after_swap")
    return finish(job, "replay")


def _claim_the_unclaimed(job: Replaying, found: Slice) -> None:
    """Offsets that no ledger row has: before the first run's start, or a gap. No landing run will take them,
    as positions only grow.
    """
    rows = ledger_rows(job.sql, job.contract.stream, found)
    covered = (OffsetRange(r.partition_id, r.start_offset, r.end_offset) for r in rows)
    missing = found - Slice(found.topic, found.topic_id, tuple(covered))
    if len(missing):
        claim = {"state": "claimed", "dag_id": DAG_ID, "run_id": job.run_id}
        new = [LedgerRow.of_range(job.contract.stream, found, r, **claim) for r in missing]
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
    staging = job.staging
    staging.make()
    done: list[OffsetRange] = []
    for origin in reversed(dict.fromkeys(stored.origin for _, stored in plan.from_files)):
        mine = [(p, stored) for p, stored in plan.from_files if stored.origin == origin]
        staging.copy(staging.rows, {f.path: f.rows for _, s in mine for f in s.typed})
        done += [p.range for p, _ in mine]
        # A file may hold more than is asked for, and what a newer replay has decided anew.
        staging.keep_only(staging.rows, within(Slice(plan.asked.topic, plan.asked.topic_id, tuple(done))))
    staging.copy_landed(landed)
    good, held = staging.check()
    job.log(f"Staged {good} good rows, {held} for quarantine")
