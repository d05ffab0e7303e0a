"""Claim a slice for a run: steps 1 and 2 of docs/slice-protocol.md, without Airflow and without Kafka.

1.1 Remember. If this run has a claim, in the record, in its task's own memory or in the ledger, it is the
    same one again.
1.2 Look. Without a record: find out whether this is a first run or the record was lost. A log that ends
    before the position was cut: say so, once.
1.3 Take ``[position, last stable end)``, capped.
1.4 Store position and claim, in one value. Only now the run owns its slice.
1.5 Remember the claim in the task's own memory, which lives as long as the run does.
1.6 Mirror the position to a consumer group.
2   Record the claim in the ledger.

Steps 1.5 to 2 are repeated by a retry: whatever of them was missed is made up for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from madhatter_provider.core.crash_points import reached
from madhatter_provider.core.errors import BrokerError, LostRangeError, StateLostError, TopicError
from madhatter_provider.core.runs.recording import raise_for_losses
from madhatter_provider.core.slices.claim_json import read_claim, read_record, write_claim, write_record
from madhatter_provider.core.slices.claim_options import ClaimOptions, first_offsets
from madhatter_provider.core.slices.claims import Claim, ClaimRecord, TopicBounds, find_cuts, take
from madhatter_provider.core.slices.offsets import Slice
from madhatter_provider.core.slices.state import DAGS_KEY, Mirror, mirror_group, record_key

log = logging.getLogger(__name__)

CLAIM_KEY, LOSS_KEY = "madhatter_claim", "madhatter_loss_said"


class Store(Protocol):
    """Airflow's state store of an asset, or of one task of one run."""

    def get(self, key: str, default: Any = None) -> Any:
        """The stored JSON value."""

    def set(self, key: str, value: Any) -> None:
        """Store a JSON value."""


class Broker(Protocol):
    """What a claim asks of Kafka. Every method raises :class:`BrokerError` or :class:`TopicError`."""

    def bounds(self, topic: str) -> TopicBounds:
        """Log start and last stable end of every partition."""

    def offsets_at(self, topic: str, partitions: list[int], timestamp_ms: int) -> Mapping[int, int]:
        """First offset at or after a time, per partition; the end where there is none."""

    def bytes_per_offset(self, pending: Slice) -> Mapping[int, float]:
        """Mean size by partition, estimated from the first messages."""

    def mirror(self, group: str, topic: str, partitions: list[int]) -> Mirror:
        """What a mirror group holds."""

    def mirror_position(
        self, group: str, topic: str, topic_id: str, position: Mapping[int, int], *, back: bool = False
    ) -> None:
        """Commit a position to a mirror group; backwards only where ``back`` says so."""


class Ledger(Protocol):
    """What a claim asks of the ledger."""

    def recorded_claim(self) -> Slice | None:
        """The slice that this run owns."""

    def recorded_position(self, topic_id: str) -> Mapping[int, int]:
        """How far this DAG has claimed."""

    def record_claim(self, claim: Claim, parts: int = 1) -> None:
        """Record who owns the range."""


@dataclass(frozen=True, slots=True)
class ClaimingRun:
    """The run that claims.

    :param again: is this a retry, or a task that was cleared?
    :param since: when the run was made.
    :param succeeded_before: has this task of this DAG ever succeeded? Then it had a position.
    """

    dag_id: str
    run_id: str
    again: bool
    since: datetime | None
    succeeded_before: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Claiming:
    """One run's claim.

    When there is no record, the position may have been lost: Airflow deletes an asset's state with its last
    DAG. ``on_state_lost`` says what then:

    * ``restore``: go on where the mirror group or the ledger says the DAG was, whichever is further. If they
      do not know, although this was not the first run, refuse.
    * ``fail``: refuse in both cases.
    * ``start``: begin as a first run does.

    :param store: the asset's state.
    :param memory: the state of this task in this run: it outlives retries and clearing.
    :param parts: number of parts that the slice is landed in.
    """

    options: ClaimOptions
    run: ClaimingRun
    kafka: Broker
    store: Store
    memory: Store
    ledger: Ledger | None = None
    parts: int = 1

    def claim(self) -> Claim:
        """This run's slice, the same at every call. It may be empty.

        :raises LostRangeError: a log was cut.
        :raises StateLostError: the position, or this run's claim, is gone and cannot be found.
        """
        stored = self.store.get(record_key(self.run.dag_id))
        record = None if stored is None else read_record(stored)
        claim = None if record is None else record.of(self.run.run_id)
        if claim is None and self.run.again:
            claim = self._remembered(record)
            if claim is not None:
                self._record(claim)
                return claim
        moved = True
        if record is None or claim is None:
            before = record
            record, claim = self._new_claim(record)
            # An earlier try may have died between the store and the mirror, also if it claimed nothing.
            moved = self.run.again or record != before
        if len(claim.slice) or len(claim.lost):
            self.memory.set(CLAIM_KEY, write_claim(claim))
        reached("claim.after_remember")
        if moved:
            self._mirror(record)
        reached("claim.after_mirror")
        self._record(claim)
        return claim

    def say_losses_once(self, claim: Claim) -> None:
        """For who has no ledger that keeps a loss until it is acknowledged: fail once; a task that is cleared
        goes on.

        :raises LostRangeError: something was lost, and it was not said.
        """
        if len(claim.lost) and not self.memory.get(LOSS_KEY):
            self.memory.set(LOSS_KEY, True)
            raise_for_losses(self.options.topic, claim.run_id, claim.lost)

    def _remembered(self, record: ClaimRecord | None) -> Claim | None:
        """Step 1.1, where the record does not say."""
        run_id = self.run.run_id
        found = self.memory.get(CLAIM_KEY)
        if found is not None:
            return read_claim(found)
        owned = self.ledger.recorded_claim() if self.ledger is not None else None
        if owned is not None:
            log.info("Claim of an earlier try, from the ledger: %s", owned)
            return Claim(run_id, owned, Slice(owned.topic, owned.topic_id))
        since = self.run.since
        if record is not None and since is not None and int(since.timestamp()) <= record.forgotten:
            raise StateLostError(
                f"What run {run_id} claimed, if it did, is no longer known: {len(record.claims)} claims are "
                "kept, and Airflow's state of this task is gone",
                where=f"topic {self.options.topic}, DAG {self.run.dag_id}",
                remedy="What is pending goes to the next run, so trigger a new one. If this run died right "
                "after it had claimed, its range is a gap that `madhatter audit` shows; a replay lands it.",
            )
        return None

    def _new_claim(self, record: ClaimRecord | None) -> tuple[ClaimRecord, Claim]:
        """Steps 1.2 to 1.4."""
        bounds = self.kafka.bounds(self.options.topic)
        stored, first = record, None
        if record is None:
            record, first = self._without_record(bounds)
        if record is not None:
            self._say_if_created_again(record, bounds)
            record = self._check_cuts(record, bounds)
        new, claim = take(
            record,
            self.run.run_id,
            bounds,
            first=first,
            cap=self._cap,
            parts=self.parts,
            at=int(time.time()),
        )
        reached("claim.before_store")
        if new != stored:
            self._store(new)
        reached("claim.after_store")
        self._register()
        if len(claim.lost):
            log.error("Lost to retention before it was claimed: %s", claim.lost)
        return new, claim

    def _without_record(self, bounds: TopicBounds) -> tuple[ClaimRecord | None, dict[int, int] | None]:
        """A record to go on from, or the offsets to begin with."""
        topic, group = self.options.topic, mirror_group(self.run.dag_id)
        if self.options.on_state_lost == "start":
            first = first_offsets(self.options, bounds, self.kafka)
            log.warning("No position of %s in %s: beginning at %s", self.run.dag_id, topic, first)
            # Before the first claim: should the state be lost again, a mirror that is ahead would skip.
            self._mirror(ClaimRecord(topic, bounds.topic_id, first), back=True)
            return None, first
        mirror = self._mirrored(bounds)
        known = self._known(mirror.position(bounds.topic_id), bounds)
        if known and self.options.on_state_lost == "restore":
            log.warning("Airflow has no position of %s in %s; restored %s", self.run.dag_id, topic, known)
            return ClaimRecord(topic, bounds.topic_id, known), None
        self._refuse_if_lost(known, mirror, group)
        return None, first_offsets(self.options, bounds, self.kafka)

    def _known(self, mirrored: Mapping[int, int], bounds: TopicBounds) -> dict[int, int]:
        """The position, from whichever is further, mirror or ledger; empty if neither knows one."""
        recorded = self.ledger.recorded_position(bounds.topic_id) if self.ledger is not None else {}
        if not mirrored and not recorded:
            return {}
        # The mirror has every partition that was there. The ledger has those that ever had a message: of the
        # others it does not say whether they were there.
        others = mirrored or bounds.starts
        return {p: max(others.get(p, 0), recorded.get(p, 0)) for p in {*others, *recorded}}

    def _refuse_if_lost(self, known: Mapping[int, int], mirror: Mirror, group: str) -> None:
        if known:
            why = f"the group {group} or the ledger says it was at {dict(known)}"
        elif mirror.of_other_epochs:
            why = f"the group {group} has a position of a topic of this name that was deleted since"
        elif mirror.by_others:
            why = f"the group {group} has offsets that somebody else has committed"
        elif self.run.succeeded_before():
            why = f"this task has succeeded before, but neither the group {group} nor a ledger has a position"
        else:
            return
        raise StateLostError(
            f"Airflow has no position of this DAG, and this is not its first run: {why}",
            where=f"topic {self.options.topic}, DAG {self.run.dag_id}",
            remedy='Choose: on_state_lost="start" begins where start says, for instance '
            "start={0: 1200, 1: 900}, and may read messages twice or leave some out; "
            'on_state_lost="restore" goes on where the group or the ledger says. Then clear this task.',
        )

    def _mirrored(self, bounds: TopicBounds) -> Mirror:
        group = mirror_group(self.run.dag_id)
        try:
            return self.kafka.mirror(group, self.options.topic, sorted(bounds.ends))
        except TopicError as err:
            log.warning(
                "The position in the group %s cannot be read, so a lost one cannot be found: %s", group, err
            )
            return Mirror({})

    def _say_if_created_again(self, record: ClaimRecord, bounds: TopicBounds) -> None:
        if record.topic_id != bounds.topic_id:
            log.warning(
                "Topic %s was created again: its id was %s and is %s. What was not claimed before is gone; "
                "the new one is read from its first message",
                bounds.topic, record.topic_id, bounds.topic_id,
            )  # fmt: skip

    def _check_cuts(self, record: ClaimRecord, bounds: TopicBounds) -> ClaimRecord:
        record, cut = find_cuts(record, bounds)
        if not len(cut):
            return record
        error = LostRangeError(
            f"The log ends before the position: {cut} will be given to other messages, and these will not be "
            "read",
            where=f"topic {bounds.topic}, position {dict(record.position)}, ends {dict(bounds.ends)}",
            remedy="It was cut by an unclean leader election or a broker restored from a copy (or, on a "
            "broker without topic ids, created again). Have the producers send these messages again once "
            "the log is longer than the position, or create the topic again. Clear this task to go on.",
        )
        log.error("%s", error)  # should the process die between the store and the raise
        self._store(record)
        raise error

    def _cap(self, pending: Slice) -> Slice:
        """Step 1.3: what one run takes."""
        mine = pending
        if self.options.max_messages is not None:
            mine = mine.head(self.options.max_messages)
        if self.options.max_bytes is not None and len(mine):
            each = self.kafka.bytes_per_offset(mine)
            mine = mine.head_of_bytes(self.options.max_bytes, each)
            about = sum(len(r) * each.get(r.partition, 0.0) for r in mine)
            log.info("About %.0f bytes, estimated from the first messages of each partition", about)
        return mine

    def _store(self, record: ClaimRecord) -> None:
        """Step 1.4."""
        self.store.set(record_key(self.run.dag_id), write_record(record))

    def _register(self) -> None:
        """The watcher must know which positions to look at."""
        dags = self.store.get(DAGS_KEY, [])
        if self.run.dag_id not in dags:
            self.store.set(DAGS_KEY, sorted({*dags, self.run.dag_id}))

    def _mirror(self, record: ClaimRecord, *, back: bool = False) -> None:
        """Step 1.6. The mirror is a convenience: if it fails, the run goes on."""
        group = mirror_group(self.run.dag_id)
        try:
            self.kafka.mirror_position(group, record.topic, record.topic_id, record.position, back=back)
        except (BrokerError, TopicError) as err:
            log.warning("Position not mirrored to the group %s: %s", group, err)

    def _record(self, claim: Claim) -> None:
        """Step 2."""
        if self.ledger is not None and (len(claim.slice) or len(claim.lost)):
            self.ledger.record_claim(claim, claim.parts or self.parts)
            reached("claim.after_ledger")
