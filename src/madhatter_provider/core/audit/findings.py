"""Find the differences in what was gathered of a stream. Pure.

One cause gives one finding: what follows from it is not said again. So a landed slice that the ledger has
forgotten is one finding, not a gap, a stranger file and thousands of stranger rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from madhatter_provider.core.audit.landing import LandingIndex, landing_findings
from madhatter_provider.core.audit.model import Evidence, Finding, LedgerRange, RangeRows, Stray
from madhatter_provider.core.audit.positions import InWork, position_findings
from madhatter_provider.core.audit.ranges import RangeIndex, meet, minus
from madhatter_provider.core.landing.manifest import LandedRange
from madhatter_provider.core.slices.offsets import OffsetRange, Slice


def compare(evidence: Evidence) -> list[Finding]:
    """All differences, in the order of the protocol's steps. None without a ledger to compare with."""
    if evidence.ledger is None:
        return []
    return list(_Comparison(evidence, evidence.ledger).findings())


@dataclass(slots=True)
class _Comparison:
    """One comparison, with its indexes."""

    evidence: Evidence
    ledger: tuple[LedgerRange, ...]
    index: RangeIndex = field(init=False)
    landed: LandingIndex = field(init=False)
    work: InWork = field(init=False)

    def __post_init__(self) -> None:
        self.index = RangeIndex(self.ledger)
        self.landed = LandingIndex(self.evidence, self.index)
        self.work = InWork(self.evidence)

    def findings(self) -> Iterator[Finding]:
        """In the order of the protocol's steps."""
        yield from self._old_epochs()
        yield from position_findings(self.evidence, self.index, self.work)
        overlapping: set[int] = set()
        for first, second in self.index.overlaps():
            overlapping |= {id(first), id(second)}
            yield self._overlap(first, second)
        yield from self._uncovered()
        for row in self.ledger:
            yield from self._state(row)
            if row.state == "loaded" and id(row) not in overlapping:
                yield from self._counts(row)
        yield from landing_findings(self.evidence, self.landed)

    def _say(self, kind: str, row: LedgerRange, said: str) -> Finding:
        return Finding(kind, self.evidence.slice(row.topic_id, row.range), said, (row.dag_id, row.run_id))

    def _nobody(self, kind: str, topic_id: str, r: OffsetRange, said: str) -> Finding:
        return Finding(kind, self.evidence.slice(topic_id, r), said)

    def _old_epochs(self) -> Iterator[Finding]:
        for topic_id in self.index.epochs:
            if topic_id != self.evidence.topic_id:
                found = [r for (t, _), rows in self.index.by_place.items() if t == topic_id for r in rows]
                nothing = Slice(self.evidence.topic, topic_id)
                yield Finding("old_epoch", nothing, f"{len(found)} ranges of topic id {topic_id}")

    def _overlap(self, first: LedgerRange, second: LedgerRange) -> Finding:
        a, b = first.range, second.range
        shared = OffsetRange(b.partition, b.start, min(a.end, b.end))
        said = f"[{a.start}, {a.end}) of run {first.run_id} and [{b.start}, {b.end}) of run {second.run_id}"
        owned = self.evidence.slice(second.topic_id, shared)
        return Finding("ledger_overlap", owned, said, (second.dag_id, second.run_id))

    def _uncovered(self) -> Iterator[Finding]:
        """Offsets between first claim and position that no ledger row covers; rows of such offsets."""
        strays = list(self.evidence.rows.strays) if self.evidence.rows else []
        for topic_id, gap in self.index.gaps(self.work.claimed_to):
            for left in minus(gap, self.landed.unrecorded(topic_id, gap.partition)):
                mine = [s for s in strays if s.topic_id == topic_id and meet(s.range, left)]
                strays = [s for s in strays if s not in mine]
                if mine:
                    yield self._strangers(topic_id, left, mine)
                else:
                    yield from self._missing(topic_id, left)
        for stray in strays:
            if minus(stray.range, self.landed.unrecorded(stray.topic_id, stray.range.partition)):
                yield self._strangers(stray.topic_id, stray.range, [stray])

    def _strangers(self, topic_id: str, r: OffsetRange, strays: list[Stray]) -> Finding:
        rows, held = sum(s.rows for s in strays), sum(s.held_rows for s in strays)
        return self._nobody("stranger_rows", topic_id, r, f"{rows} rows in the table, {held} in quarantine")

    def _missing(self, topic_id: str, gap: OffsetRange) -> Iterator[Finding]:
        bounds = self.evidence.bounds
        start = 0
        if bounds is not None and bounds.topic_id == topic_id:
            start = bounds.starts.get(gap.partition, 0)
        if gap.start < start:
            gone = OffsetRange(gap.partition, gap.start, min(gap.end, start))
            yield self._nobody("lost_without_record", topic_id, gone, f"the log starts at {start}")
        if gap.end > start:
            left = OffsetRange(gap.partition, max(gap.start, start), gap.end)
            end = self.index.end((topic_id, gap.partition))
            if end is not None and left.start < end:
                yield self._nobody("ledger_gap", topic_id, left, "no ledger row")
            else:
                yield from self._beyond(topic_id, left)

    def _beyond(self, topic_id: str, left: OffsetRange) -> Iterator[Finding]:
        for r, (dag_id, run_id) in self.work.claims_of(topic_id, left):
            said = f"claimed by run {run_id or 'unknown'}, which is not at work; no ledger row"
            yield Finding("position_ahead", self.evidence.slice(topic_id, r), said, (dag_id, run_id))

    def _state(self, row: LedgerRange) -> Iterator[Finding]:
        if row.state == "lost" and not row.acknowledged:
            said = f"{len(row.range)} offsets lost to run {row.run_id}"
            yield self._say("lost_not_acknowledged", row, said)
        if row.state in ("claimed", "landed") and (why := self.work.stuck(row)):
            yield self._say("not_loaded", row, f"{row.state}; {why}")
        limit = self.evidence.patience.deep_gate
        waits = row.state == "loaded" and not row.deep_gated and (row.loaded_ago or 0) > limit > 0
        if waits:
            said = f"loaded {(row.loaded_ago or 0) / 3600:.0f} h ago"
            yield self._say("deep_gate_waits", row, said)

    def _counts(self, row: LedgerRange) -> Iterator[Finding]:
        adds_up = row.read == row.landed + row.quarantined + row.filtered and row.landed == row.loaded
        if not adds_up:
            said = (
                f"read {row.read}, landed {row.landed}, loaded {row.loaded}, quarantined {row.quarantined}, "
                f"filtered {row.filtered}"
            )
            yield self._say("counts_do_not_add_up", row, said)
        if self.evidence.rows is None:
            return
        key = (row.topic_id, row.range.partition, row.range.start)
        there = self.evidence.rows.by_range.get(key, RangeRows())
        twice = there.rows - there.offsets + there.held_rows - there.held_offsets
        if twice:
            yield self._say("duplicate_rows", row, f"{twice} rows too many")
        if there.both:
            yield self._say("in_both", row, f"{there.both} messages")
        yield from self._against_manifest(row, there, adds_up)

    def _against_manifest(self, row: LedgerRange, there: RangeRows, adds_up: bool) -> Iterator[Finding]:
        """Who of table, ledger and manifest stands alone?"""
        manifest = None if row.replayed else self.landed.counts(row)
        good, held = there.offsets, there.held_offsets
        if there.both:  # said already: take each such message where the others say it belongs
            wanted = (
                (row.loaded, row.quarantined) if manifest is None else (manifest.landed, manifest.quarantined)
            )
            from_good = min(max(good - wanted[0], 0), there.both)
            good -= from_good
            held -= min(max(held - wanted[1], 0), there.both - from_good)
        if manifest is not None and (good, held) == (manifest.landed, manifest.quarantined):
            if adds_up and (row.loaded, row.quarantined) != (good, held):
                said = f"{good} rows and {held} quarantined, ledger {row.loaded} and {row.quarantined}"
                yield self._say("ledger_miscounts", row, said)
            return
        if adds_up and (good, held) == (row.loaded, row.quarantined):
            if manifest is not None:
                yield self._disagrees(row, manifest)
            return
        yield from self._wrong_rows(row, manifest, good, held, adds_up)

    def _disagrees(self, row: LedgerRange, manifest: LandedRange) -> Finding:
        said = (
            f"manifest {manifest.landed} and {manifest.quarantined} quarantined, table and ledger "
            f"{row.loaded} and {row.quarantined}"
        )
        run = (row.dag_id, row.run_id)
        owned = self.evidence.slice(row.topic_id, row.range)
        return Finding("manifest_disagrees", owned, said, run, self.landed.manifest_of(row))

    def _wrong_rows(
        self, row: LedgerRange, manifest: LandedRange | None, good: int, held: int, adds_up: bool
    ) -> Iterator[Finding]:
        """The table stands alone. A ledger row that does not add up is no witness."""
        if not adds_up and manifest is None:
            return
        loaded, quarantined = (row.loaded, row.quarantined) if adds_up else (0, 0)
        if manifest is not None:
            loaded, quarantined = manifest.landed, manifest.quarantined
        if good != loaded:
            kind = "rows_missing" if good < loaded else "rows_surplus"
            yield self._say(kind, row, f"{good} in the table, {loaded} landed")
        if held != quarantined:
            said = f"{held} in quarantine, {quarantined} landed"
            yield self._say("quarantine_count", row, said)
