"""What would mend the differences that an audit found. Pure: the plan is shown before anything is done.

Rows are put right from Kafka, else from landing files; what is in neither is recorded as lost, never made up.
Nothing that a person has to decide is decided: then the action is advice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from madhatter_provider.core.audit.landing import LandingIndex
from madhatter_provider.core.audit.model import DagState, Evidence, Finding
from madhatter_provider.core.audit.ranges import RangeIndex, minus
from madhatter_provider.core.slices.offsets import OffsetRange, Slice

KINDS: Final[Mapping[str, str]] = {
    "claim": "record in the ledger who claimed the range",
    "lose": "record in the ledger that the range is lost",
    "lose_missing": "record as lost which offsets of the range are in neither table, then count it anew",
    "trim": "let the later of two ledger rows begin where the earlier ends, and count both anew",
    "land": "land the slice again: the same files and the manifest",
    "replay": "read the range again and put its rows in place of those there",
    "deduplicate": "keep one of the rows that a message has more than once",
    "recount": "count the range's rows anew and record the counts",
    "mirror": "set the mirror group to the position",
    "position": "set Airflow's position to where the ledger says the DAG has claimed",
    "tidy": "remove unpublished files",
    "advise": "for a person",
}
"""Kinds of action in the order in which they are carried out, and what each does."""


@dataclass(frozen=True, slots=True)
class Action:
    """One step of a repair.

    :param owned: the offsets concerned.
    :param said: why, or the advice.
    :param run: ``(dag_id, run_id)`` of the ledger rows concerned.
    :param position: for ``mirror`` and ``position``.
    """

    kind: str
    owned: Slice
    said: str
    run: tuple[str, str] = ("", "")
    position: Mapping[int, int] = field(default_factory=dict)

    @property
    def repairs(self) -> bool:
        """Does it do anything?"""
        return self.kind != "advise"

    def __str__(self) -> str:
        offsets = f" {' '.join(map(str, self.owned))}" if len(self.owned) else ""
        return f"{self.kind}{offsets}: {self.said}"


def plan(evidence: Evidence, findings: Iterable[Finding]) -> list[Action]:
    """Actions in the order in which they must be carried out, each once."""
    planner = _Planner(evidence)
    actions = [a for finding in findings for a in planner.mend(finding)]
    order = list(KINDS)
    unique = {(a.kind, a.owned, a.run, a.said if a.kind == "advise" else ""): a for a in reversed(actions)}
    return sorted(reversed(unique.values()), key=lambda a: order.index(a.kind))


def merged(actions: Iterable[Action]) -> list[Slice]:
    """The ranges of these actions in as few slices as possible with one range per partition: what one replay
    takes.
    """
    by_epoch: dict[tuple[str, str], list[OffsetRange]] = {}
    for a in actions:
        by_epoch.setdefault((a.owned.topic, a.owned.topic_id), []).extend(a.owned)
    rounds: list[Slice] = []
    for epoch, found in by_epoch.items():
        whole = Slice(*epoch, tuple(found))
        by_partition = {p: [r for r in whole if r.partition == p] for p in whole.partitions}
        for number in range(max(map(len, by_partition.values()), default=0)):
            mine = tuple(ranges[number] for ranges in by_partition.values() if number < len(ranges))
            rounds.append(Slice(whole.topic, whole.topic_id, mine))
    return rounds


@dataclass(slots=True)
class _Planner:
    evidence: Evidence
    index: RangeIndex = field(init=False)
    landed: LandingIndex = field(init=False)

    def __post_init__(self) -> None:
        self.index = RangeIndex(self.evidence.ledger or ())
        self.landed = LandingIndex(self.evidence, self.index)

    def mend(self, finding: Finding) -> Iterator[Action]:
        """Actions for one finding."""
        yield from _MENDERS[finding.kind](self, finding)

    def retained(self, owned: Slice) -> tuple[Slice, Slice]:
        """The part that Kafka still has, and the rest."""
        bounds = self.evidence.bounds
        kept: list[OffsetRange] = []
        if bounds is not None and bounds.topic_id == owned.topic_id:
            for r in owned:
                start, end = bounds.starts.get(r.partition, 0), bounds.ends.get(r.partition, 0)
                if max(r.start, start) < min(r.end, end):
                    kept.append(OffsetRange(r.partition, max(r.start, start), min(r.end, end)))
        rest = [left for r in owned for left in minus(r, kept)]
        return (
            Slice(owned.topic, owned.topic_id, tuple(kept)),
            Slice(owned.topic, owned.topic_id, tuple(rest)),
        )

    def known_bounds(self, finding: Finding) -> Action | None:
        """Nothing is called gone while nobody has looked at the broker."""
        if self.evidence.bounds is not None:
            return None
        return self.advice(finding, "look again when Kafka answers: it may still have these messages")

    @staticmethod
    def advice(finding: Finding, said: str) -> Action:
        """Words for a person."""
        return Action("advise", finding.owned, said, finding.run)

    def read_again(self, finding: Finding, *, claim: bool = False) -> Iterator[Action]:
        """From Kafka or files; the rest is lost.

        :param claim: no ledger row covers the range.
        """
        kept, gone = self.retained(finding.owned)
        if len(gone) and self.landed.intact(finding.owned):
            kept, gone = finding.owned, Slice(gone.topic, gone.topic_id)
        if len(gone) and (blind := self.known_bounds(finding)):
            yield blind
            return
        if len(kept):
            if claim:
                yield Action("claim", kept, finding.said, finding.run)
            yield Action("replay", kept, finding.said, finding.run)
        if len(gone):
            why = "neither Kafka nor landing files have these messages"
            yield Action("lose", gone, why, finding.run)

    def wrong_rows(self, finding: Finding) -> Iterator[Action]:
        """Rows of a range that the ledger has."""
        _, gone = self.retained(finding.owned)
        if not len(gone) or self.landed.intact(finding.owned):
            yield Action("replay", finding.owned, finding.said, finding.run)
            return
        if blind := self.known_bounds(finding):
            yield blind
        elif finding.kind == "rows_missing":
            yield Action("lose_missing", finding.owned, finding.said, finding.run)
        else:
            yield self.advice(
                finding,
                f"{finding.said}; neither Kafka nor intact landing files say which rows are right: look at "
                "them, delete the wrong ones",
            )

    def recount(self, finding: Finding) -> Iterator[Action]:
        """The rows are right."""
        yield Action("recount", finding.owned, finding.said, finding.run)

    def deduplicate(self, finding: Finding) -> Iterator[Action]:
        """Needs no source: the rows of a message are alike."""
        yield Action("deduplicate", finding.owned, finding.said, finding.run)

    def trim(self, finding: Finding) -> Iterator[Action]:
        """Offsets stay with the row that had them first."""
        yield Action("trim", finding.owned, finding.said, finding.run)

    def lose(self, finding: Finding) -> Iterator[Action]:
        """Retention has taken it, unless files have it."""
        yield from self.read_again(finding, claim=True)

    def strangers(self, finding: Finding) -> Iterator[Action]:
        """Rows that nobody claimed. Offsets that a run may still claim are not recorded: it would load them
        twice.
        """
        if any(self._claimable(finding.owned.topic_id, r) for r in finding.owned):
            yield self.advice(
                finding,
                f"{finding.said}, beyond what was claimed: find who writes there, and delete these rows "
                "before a run loads the same offsets",
            )
            return
        if any(not self.index.uncovered((finding.owned.topic_id, r.partition), r) for r in finding.owned):
            yield self.advice(finding, f"{finding.said}, in a range recorded as lost: find who wrote them")
            return
        yield Action("claim", finding.owned, finding.said, finding.run)
        kept, gone = self.retained(finding.owned)
        if len(kept):
            yield Action("replay", kept, finding.said, finding.run)
        if len(gone):
            yield Action("recount", gone, "no source can check these rows: count them as loaded", finding.run)

    def _claimable(self, topic_id: str, r: OffsetRange) -> bool:
        if topic_id != self.evidence.topic_id:
            return False
        ends = [self.index.end((topic_id, r.partition)) or 0]
        for dag in self.evidence.dags:
            if dag.dag_id == self.evidence.dag_id and dag.before is not None:
                ends.append(dag.before.position.get(r.partition, 0))
        return r.end > max(ends)

    def land(self, finding: Finding) -> Iterator[Action]:
        """Files, where Kafka still has what they held."""
        owned = self._slice_of(finding)
        if owned is None:
            yield self.advice(
                finding, f"{finding.said}: no run of the ledger wrote it; look at it, remove it"
            )
            return
        _, gone = self.retained(owned)
        manifest = self.landed.of_path.get(finding.path)
        paths = [f.path for f in manifest.files] if manifest else [finding.path]
        if any(not path.endswith((".parquet", ".json")) for path in paths if path):
            yield self.advice(finding, f"{finding.said}: clear run {finding.run[1]}, which knows its format")
        elif not len(gone):
            yield Action("land", owned, finding.said, finding.run)
        elif blind := self.known_bounds(finding):
            yield blind
        else:
            yield self.advice(
                finding,
                f"{finding.said}; Kafka no longer has the slice, so it cannot be landed again",
            )

    def _slice_of(self, finding: Finding) -> Slice | None:
        """What must be landed to make a file or a manifest again: its manifest's slice, else the ledger's
        range.
        """
        if finding.path in self.landed.of_path:
            return self.landed.of_path[finding.path].slice
        for r in finding.owned:
            place = (finding.owned.topic_id, r.partition)
            another = self.landed.manifests.covers(place, r) and not self.landed.unreadable.covers(place, r)
            if another or self.index.holder(place, r) is None:
                return None
        return finding.owned if len(finding.owned) else None

    def mirror(self, finding: Finding) -> Iterator[Action]:
        """Positions are the truth, the mirror follows."""
        dag = self._dag(finding)
        if dag.before is None and finding.kind == "mirror_ahead":
            yield self.advice(
                finding,
                f"{finding.said}: a claim that the ledger does not know, or somebody moved the group. Give "
                "--airflow-url: Airflow's position decides",
            )
            return
        newest = dag.after or dag.before
        position = newest.position if newest is not None else self._claimed(finding.run[0])
        yield Action("mirror", finding.owned, finding.said, finding.run, dict(position))

    def position(self, finding: Finding) -> Iterator[Action]:
        """What the ledger knows was claimed."""
        dag = self._dag(finding)
        old = dag.before.position if dag.before and dag.before.topic_id == self.evidence.topic_id else {}
        recorded = self._claimed(finding.run[0])
        known = {p: max(old.get(p, 0), recorded.get(p, 0)) for p in {*old, *recorded}}
        yield Action("position", finding.owned, finding.said, finding.run, known)
        yield Action("mirror", finding.owned, finding.said, finding.run, known)

    def _dag(self, finding: Finding) -> DagState:
        return next(d for d in self.evidence.dags if d.dag_id == finding.run[0])

    def _claimed(self, dag_id: str) -> dict[int, int]:
        ends: dict[int, int] = {}
        for row in self.evidence.ledger or ():
            if row.dag_id == dag_id and row.topic_id == self.evidence.topic_id:
                ends[row.range.partition] = max(ends.get(row.range.partition, 0), row.range.end)
        return ends

    def tidy(self, finding: Finding) -> Iterator[Action]:
        """Nobody writes them."""
        yield Action("tidy", finding.owned, finding.said)

    def acknowledge(self, finding: Finding) -> Iterator[Action]:
        """A person must say it."""
        words = " ".join(f"--range {r.partition}:{r.start}-{r.end}" for r in finding.owned)
        epoch = (
            ""
            if finding.owned.topic_id == self.evidence.topic_id
            else f" --topic-id {finding.owned.topic_id}"
        )
        yield self.advice(
            finding, f'madhatter ledger acknowledge {self.evidence.stream} {words}{epoch} --reason "…"'
        )

    def clear(self, finding: Finding) -> Iterator[Action]:
        """Only the DAG knows what its run does."""
        yield self.advice(
            finding, f"clear run {finding.run[1]} of {finding.run[0]}: it reads the same slice again"
        )

    def send_again(self, finding: Finding) -> Iterator[Action]:
        """No offset brings them back."""
        said = (
            f"{finding.said}: an unclean leader election or a restored broker. Have the producers send these "
            "messages again once the topic is longer than the position, or create it again"
        )
        yield self.advice(finding, said)

    def deep_gate(self, finding: Finding) -> Iterator[Action]:
        """Another DAG's work."""
        yield Action(
            "advise", Slice(finding.owned.topic, finding.owned.topic_id), "start the DAG of the deep gate"
        )

    def nothing(self, finding: Finding) -> Iterator[Action]:
        """Worth knowing."""
        yield from ()


_MENDERS: Final[Mapping[str, Callable[[_Planner, Finding], Iterator[Action]]]] = {
    "ledger_gap": lambda p, f: p.read_again(f, claim=True),
    "ledger_overlap": _Planner.trim,
    "not_loaded": _Planner.read_again,
    "counts_do_not_add_up": _Planner.recount,
    "lost_not_acknowledged": _Planner.acknowledge,
    "lost_without_record": _Planner.lose,
    "old_epoch": _Planner.nothing,
    "position_behind": _Planner.position,
    "position_ahead": lambda p, f: p.read_again(f, claim=True),
    "position_of_old_epoch": _Planner.nothing,
    "log_cut": _Planner.send_again,
    "run_failed": _Planner.clear,
    "mirror_missing": _Planner.mirror,
    "mirror_behind": _Planner.mirror,
    "mirror_ahead": _Planner.mirror,
    "mirror_of_old_epoch": _Planner.mirror,
    "file_missing": _Planner.land,
    "file_edited": _Planner.land,
    "file_without_manifest": _Planner.land,
    "manifest_unreadable": _Planner.land,
    "manifest_disagrees": _Planner.land,
    "manifest_without_ledger": lambda p, f: p.read_again(f, claim=True),
    "scratch_files": _Planner.tidy,
    "rows_missing": _Planner.wrong_rows,
    "rows_surplus": _Planner.wrong_rows,
    "ledger_miscounts": _Planner.recount,
    "duplicate_rows": _Planner.deduplicate,
    "in_both": _Planner.wrong_rows,
    "stranger_rows": _Planner.strangers,
    "quarantine_count": _Planner.wrong_rows,
    "deep_gate_waits": _Planner.deep_gate,
}
