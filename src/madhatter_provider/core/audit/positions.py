"""Compare positions, claims and mirror groups with the ledger. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from madhatter_provider.core.audit.model import DagState, Evidence, Finding, LedgerRange
from madhatter_provider.core.audit.ranges import Place, RangeIndex, meet, minus
from madhatter_provider.core.slices.claims import Claim
from madhatter_provider.core.slices.offsets import OffsetRange, Slice

_AT_WORK: Final = frozenset({"queued", "running", "restarting", "deferred"})


@dataclass(slots=True)
class InWork:
    """Which claims may still be under way."""

    evidence: Evidence
    claimed_to: dict[Place, int] = field(init=False, default_factory=dict)
    """How far the landing DAG has claimed, as far as Airflow says."""
    _runs: dict[tuple[str, str], str | None] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for dag in self.evidence.dags:
            self._runs |= {(dag.dag_id, run): state for run, state in dag.runs.items()}
            if dag.dag_id == self.evidence.dag_id and dag.before is not None:
                topic_id = dag.before.topic_id
                self.claimed_to = {(topic_id, p): o for p, o in dag.before.position.items()}

    def stuck(self, row: LedgerRange) -> str:
        """Why a range that is not loaded will stay so by itself; empty if it may be under way."""
        run = (row.dag_id, row.run_id)
        if run in self._runs and self._runs[run] not in _AT_WORK:
            return f"its run is {self._runs[run] or 'gone'}"
        if row.claimed_ago > self.evidence.patience.load:
            return f"claimed {row.claimed_ago / 3600:.1f} h ago"
        return ""

    def claims_of(self, topic_id: str, left: OffsetRange) -> Iterator[tuple[OffsetRange, tuple[str, str]]]:
        """Parts of a range that the landing DAG has claimed, by run; without those that may be under way."""
        rest = [left]
        for dag_id, claim in self._claims():
            for r in (r for r in (*claim.slice, *claim.lost) if meet(r, left)):
                part = OffsetRange(r.partition, max(r.start, left.start), min(r.end, left.end))
                rest = [piece for old in rest for piece in minus(old, [part])]
                if claim.slice.topic_id == topic_id and not self._under_way(dag_id, claim):
                    yield part, (dag_id, claim.run_id)
        yield from ((r, (self.evidence.dag_id, "")) for r in rest)

    def _claims(self) -> Iterator[tuple[str, Claim]]:
        for dag in self.evidence.dags:
            if dag.dag_id == self.evidence.dag_id and dag.before is not None:
                yield from ((dag.dag_id, claim) for claim in dag.before.claims)

    def _under_way(self, dag_id: str, claim: Claim) -> bool:
        run = (dag_id, claim.run_id)
        if run in self._runs:
            return self._runs[run] in _AT_WORK
        return self.evidence.now - claim.at < self.evidence.patience.load


def position_findings(evidence: Evidence, index: RangeIndex, work: InWork) -> Iterator[Finding]:
    """Positions, claims without a ledger, mirror groups."""
    for dag in evidence.dags:
        recorded = _recorded(evidence, dag.dag_id)
        if dag.before is not None and dag.before.topic_id != evidence.topic_id:
            yield _old_epoch(evidence, dag.dag_id, dag.before.topic_id, recorded)
            continue
        yield from _behind(evidence, dag, recorded)
        yield from _cut(evidence, dag)
        yield from _failed(evidence, dag)
        yield from _mirror(evidence, dag, recorded)


def _recorded(evidence: Evidence, dag_id: str) -> dict[int, int]:
    """How far the ledger says that a DAG has claimed the present epoch."""
    ends: dict[int, int] = {}
    for row in evidence.ledger or ():
        if row.dag_id == dag_id and row.topic_id == evidence.topic_id:
            ends[row.range.partition] = max(ends.get(row.range.partition, 0), row.range.end)
    return ends


def _old_epoch(evidence: Evidence, dag_id: str, topic_id: str, recorded: Mapping[int, int]) -> Finding:
    said = f"position of topic id {topic_id}, the topic is {evidence.topic_id}"
    if not recorded:
        return Finding("position_of_old_epoch", Slice(evidence.topic, topic_id), said, (dag_id, ""))
    starts = evidence.bounds.starts if evidence.bounds else {}
    claimed = (OffsetRange(p, min(starts.get(p, 0), end), end) for p, end in recorded.items())
    owned = evidence.slice(evidence.topic_id, *claimed)
    return Finding("position_behind", owned, f"{said}, of which the ledger has claims", (dag_id, ""))


def _behind(evidence: Evidence, dag: DagState, recorded: Mapping[int, int]) -> Iterator[Finding]:
    if dag.before is None:
        return
    position = (dag.after or dag.before).position
    for p, end in sorted(recorded.items()):
        at = position.get(p, 0)
        if at < end:
            owned = evidence.slice(evidence.topic_id, OffsetRange(p, at, end))
            yield Finding("position_behind", owned, f"position {at}, ledger {end}", (dag.dag_id, ""))


def _cut(evidence: Evidence, dag: DagState) -> Iterator[Finding]:
    """The position was read before the broker's ends: in a log that only grows it is not beyond them."""
    if dag.before is None or evidence.bounds is None:
        return
    for p, end in sorted(evidence.bounds.ends.items()):
        at = dag.before.position.get(p, 0)
        if at > end:
            owned = evidence.slice(evidence.topic_id, OffsetRange(p, end, at))
            yield Finding("log_cut", owned, f"position {at}, the topic ends at {end}", (dag.dag_id, ""))


def _failed(evidence: Evidence, dag: DagState) -> Iterator[Finding]:
    if dag.dag_id == evidence.dag_id or dag.before is None:
        return
    for claim in dag.before.claims:
        if dag.runs.get(claim.run_id) == "failed":
            yield Finding("run_failed", claim.slice, "its run is failed", (dag.dag_id, claim.run_id))


def _mirror(evidence: Evidence, dag: DagState, recorded: Mapping[int, int]) -> Iterator[Finding]:
    """The group must be where the position was at some moment of the audit; where Airflow's state is not
    known, where the ledger says the DAG was.
    """
    if dag.mirror is None:
        return
    low = dict(recorded) if dag.before is None else dict(dag.before.position)
    high = low if dag.after is None or dag.before is None else dict(dag.after.position)
    known = "ledger" if dag.before is None else "position"
    said: dict[str, list[str]] = {}
    ranges: dict[str, list[OffsetRange]] = {}
    for p, at in sorted(low.items()):
        topic_id, offset = dag.mirror.get(p, (evidence.topic_id, -1))
        kind = _kind_of(dag, offset, topic_id == evidence.topic_id, at, high.get(p, at))
        if kind:
            said.setdefault(kind, []).append(f"{p}: mirror {offset if offset >= 0 else 'none'}, {known} {at}")
            between = sorted((max(offset, 0), at)) if kind in ("mirror_behind", "mirror_ahead") else (at, at)
            ranges.setdefault(kind, []).append(OffsetRange(p, *between))
    for kind, words in said.items():
        owned = evidence.slice(evidence.topic_id, *ranges[kind])
        yield Finding(kind, owned, "; ".join(words), (dag.dag_id, ""))


def _kind_of(dag: DagState, offset: int, same_epoch: bool, low: int, high: int) -> str:
    if not dag.mirror:
        return "mirror_missing"
    if not same_epoch:
        return "mirror_of_old_epoch"
    if offset < low:
        return "mirror_behind"
    return "mirror_ahead" if offset > high else ""
