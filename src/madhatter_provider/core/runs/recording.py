"""What a run records about its slice, and how it is judged. Every step may be repeated.

Steps of a run, numbered as in docs/slice-protocol.md:

1. claim: see :mod:`madhatter_provider.core.runs.claiming`.
2. :meth:`SliceRun.record_claim`: the ledger knows who owns the range before anything is read.
3. land: see :mod:`madhatter_provider.core.landing.land`.
4. ingest: see :mod:`madhatter_provider.core.warehouse.ingest`. :meth:`SliceRun.record_landed`, where it is a
   task of its own or takes long.
5. :meth:`SliceRun.judge`: count the rows in Snowflake, measure the contract's critical rules.
6. :meth:`SliceRun.record_loaded`: the ledger knows the counts and the judgement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.crash_points import reached
from madhatter_provider.core.errors import ConfigurationError, ConservationError, GateFailed, LostRangeError
from madhatter_provider.core.landing.manifest import LandedRange, Manifest
from madhatter_provider.core.landing.names import manifest_path
from madhatter_provider.core.slices.claims import Claim
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.core.warehouse import ledger
from madhatter_provider.core.warehouse.gate import GateResult, compile_gate, judge
from madhatter_provider.core.warehouse.ledger import LedgerRow
from madhatter_provider.core.warehouse.ledger_changes import touching
from madhatter_provider.core.warehouse.sql_client import Sql


@dataclass(frozen=True, slots=True)
class SliceRun:
    """One run of one DAG over one slice of one stream."""

    contract: Contract
    dag_id: str
    run_id: str
    sql: Sql

    def record_claim(self, claim: Claim, parts: int = 1) -> None:
        """Step 2.

        :param parts: number of parts that the slice is landed in; the ledger has a row per range of each.
        """
        rows = [self._row(piece, r, "claimed") for piece in claim.slice.split(parts) for r in piece]
        rows += [self._row(claim.lost, r, "lost") for r in claim.lost]
        if rows:
            self.sql.execute(*ledger.record(rows))

    def is_replayed(self, owned: Slice) -> bool:
        """Whether a replay has decided on this slice since it was claimed. What is loaded is then newer than
        the landing's files, which must not be loaded again.

        :raises ConfigurationError: of a part of it only, and the rest is not loaded.
        """
        if not len(owned):
            return False
        found = self.sql.execute(
            f"SELECT COUNT_IF(STATE <> 'loaded') AS OPEN, COUNT_IF(REPLAY_ID IS NOT NULL) AS REPLAYED, "
            f"MAX(REPLAY_ID) AS REPLAY_ID FROM {ledger.TABLE} WHERE STREAM = ? AND TOPIC_ID = ? "
            f"AND STATE <> 'lost' AND ({touching(owned)})",
            [self.contract.stream, owned.topic_id],
        )[0]
        if not found["REPLAYED"]:
            return False
        if found["OPEN"]:
            raise ConfigurationError(
                f"Replay {found['REPLAY_ID']} has taken over a part of this slice, the rest is not loaded",
                where=f"run {self.run_id}, {owned}",
                remedy=f"Replay the rest too: `madhatter replay {self.contract.stream} "
                f"--run-id {self.run_id} --take-over`.",
            )
        return True

    def judge(self, manifest: Manifest) -> GateResult:
        """Step 5.

        :raises ConservationError: the number of rows in Snowflake is not the number of rows landed.
        """
        if not manifest.ranges:  # everything claimed was lost
            return GateResult(self.contract.stream, "pass", 0, ())
        ranges = [(r.partition, r.start, r.end) for r in manifest.ranges]
        statement, bindings = compile_gate(self.contract, manifest.topic_id, ranges)
        result = judge(self.contract, self.sql.execute(statement, bindings)[0], manifest.quarantined)
        if result.row_count != manifest.landed:
            raise ConservationError(
                f"{manifest.landed} rows landed, but {result.row_count} are in RAW.{self.contract.table}",
                where=f"run {self.run_id}, {manifest.slice}",
                remedy="Look for another writer to the table or a load under another name; clear the task.",
            )
        return result

    def record_landed(self, landed: Sequence[Manifest], landed_at: datetime | None = None) -> None:
        """Step 4, where it is a task of its own or takes long: the files are there, not yet their rows. Who
        claimed without a ledger has no rows there, and gets none.

        :param landed: the manifests of the slice's parts.
        :param landed_at: when the files were there; left out: now, for a task that only finds them. The time
            that was recorded first stays.
        """
        rows = [self._landed_row(m, r, "landed", landed_at=landed_at) for m in landed for r in m.ranges]
        if rows:
            self.sql.execute(*ledger.record(rows, only_known=True))

    def record_loaded(
        self, landed: Sequence[Manifest], gate: GateResult, landed_at: datetime | None = None
    ) -> None:
        """Step 6.

        :param landed: the manifests of the slice's parts, as they were written.
        """
        rows = [
            self._landed_row(m, r, "loaded", rows_loaded=r.landed, gate=gate.decision, landed_at=landed_at)
            for m in landed
            for r in m.ranges
        ]
        reached("ledger.before_loaded")
        if rows:
            self.sql.execute(*ledger.record(rows))
        reached("ledger.after_loaded")

    def _landed_row(self, manifest: Manifest, r: LandedRange, state: str, **known: Any) -> LedgerRow:
        files = [
            f
            for f in manifest.files
            if not f.quarantine and f.partition == r.partition and r.start <= f.start < r.end
        ]
        return self._row(
            manifest.slice,
            OffsetRange(r.partition, r.start, r.end),
            state,
            rows_read=r.read,
            rows_landed=r.landed,
            rows_quarantined=r.quarantined,
            rows_filtered=r.filtered,
            bytes=sum(f.bytes for f in files),
            file_path=files[0].path if files else None,
            manifest_path=manifest_path(manifest.stream, manifest.slice),
            **known,
            **_event_times(r),
        )

    def losses(self, topic: str, topic_id: str) -> Slice:
        """What retention took from this run's claim and nobody has acknowledged."""
        found = self.sql.execute(
            f"SELECT PARTITION_ID, START_OFFSET, END_OFFSET FROM {ledger.TABLE} WHERE STREAM = ? "
            "AND TOPIC_ID = ? AND DAG_ID = ? AND RUN_ID = ? AND STATE = 'lost' AND ACKNOWLEDGED_AT IS NULL",
            [self.contract.stream, topic_id, self.dag_id, self.run_id],
        )
        return Slice(topic, topic_id, _ranges(found))

    def recorded_claim(self) -> Slice | None:
        """The slice that the ledger says this run owns: for runs cleared long after their claim. It is empty
        where all of it was lost: such a run claims nothing else.
        """
        found = self.sql.execute(
            f"SELECT TOPIC, TOPIC_ID, PARTITION_ID, START_OFFSET, END_OFFSET, STATE FROM {ledger.TABLE} "
            "WHERE STREAM = ? AND DAG_ID = ? AND RUN_ID = ?",
            [self.contract.stream, self.dag_id, self.run_id],
        )
        if not found:
            return None
        owned = _ranges([row for row in found if row["STATE"] != "lost"])
        return Slice(str(found[0]["TOPIC"]), str(found[0]["TOPIC_ID"]), owned)

    def recorded_position(self, topic_id: str) -> dict[int, int]:
        """How far the ledger says this DAG has claimed a topic epoch: restores a position that Airflow has
        lost.
        """
        found = self.sql.execute(
            f"SELECT PARTITION_ID, MAX(END_OFFSET) AS POSITION FROM {ledger.TABLE} "
            "WHERE STREAM = ? AND TOPIC_ID = ? AND DAG_ID = ? GROUP BY PARTITION_ID",
            [self.contract.stream, topic_id, self.dag_id],
        )
        return {int(r["PARTITION_ID"]): int(r["POSITION"]) for r in found}

    def _row(self, owned: Slice, r: OffsetRange, state: str, **facts: Any) -> LedgerRow:
        owner = {"dag_id": self.dag_id, "run_id": self.run_id}
        return LedgerRow.of_range(self.contract.stream, owned, r, state, **owner, **facts)


def _event_times(r: LandedRange) -> Mapping[str, datetime | None]:
    def parse(text: str | None) -> datetime | None:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None

    return {"min_event_time": parse(r.min_event_time), "max_event_time": parse(r.max_event_time)}


def raise_if_held(contract: Contract, run_id: str, gate: GateResult, lost: Slice) -> None:
    """The last word of a run: data is safe and recorded, but a person must know.

    :param lost: see :meth:`SliceRun.losses`; acknowledged losses hold nothing up.
    :raises GateFailed: a critical rule failed, so the stream's asset event is withheld.
    :raises LostRangeError: retention deleted messages before they were claimed.
    """
    raise_for_losses(contract.stream, run_id, lost)
    if gate.decision == "fail":
        broken = "; ".join(str(r) for r in gate.broken if r.severity == "critical")
        raise GateFailed(
            f"The slice is loaded but does not keep its contract: {broken}",
            where=f"stream {contract.stream}, run {run_id}",
            remedy="Look at RAW.QUARANTINE for this run_id, mend the producer; no asset event was published.",
        )


def raise_for_losses(stream: str, run_id: str, lost: Slice) -> None:
    """Nothing, if nothing is lost.

    :raises LostRangeError: retention deleted messages before they were claimed.
    """
    if len(lost):
        raise LostRangeError(
            f"{len(lost)} offsets were deleted by retention before they were claimed; the rest is safe",
            where=f"stream {stream}, {lost}, run {run_id}",
            remedy="Lengthen the topic's retention or run more often. Then say that you know: "
            f'madhatter ledger acknowledge {stream} --all --reason "…", and clear this task.',
        )


def _ranges(found: list[dict[str, Any]]) -> tuple[OffsetRange, ...]:
    return tuple(
        OffsetRange(int(r["PARTITION_ID"]), int(r["START_OFFSET"]), int(r["END_OFFSET"])) for r in found
    )
