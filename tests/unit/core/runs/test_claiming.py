"""The claim protocol against a simple oracle: sets of offsets, each to be claimed once by every DAG, in
whatever order runs come, retry, are cleared and die between two steps, while the topic grows, gains
partitions, is created again and cut, retention deletes, and Airflow loses its state."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from madhatter_provider.core.crash_points import POINTS
from madhatter_provider.core.errors import LostRangeError, StateLostError
from madhatter_provider.core.runs import claiming
from madhatter_provider.core.slices.claim_json import read_record
from madhatter_provider.core.slices.claims import Claim, ClaimRecord, take
from madhatter_provider.core.slices.offsets import Slice
from madhatter_provider.core.slices.state import mirror_group, record_key
from madhatter_provider.testing import Crash, crash_at

from .claiming_world import Dag, Ledger, StateStore, Topic

CLAIM_POINTS = [point for point in POINTS if point.startswith("claim.")]
Offset = tuple[str, int, int]
"""Topic id, partition, offset."""


def members(owned: Slice) -> set[Offset]:
    return {(owned.topic_id, r.partition, o) for r in owned for o in range(r.start, r.end)}


class Oracle:
    """What one DAG must and must not have done. ``claims`` by run; ``excused`` is what nobody can read."""

    def __init__(self, dag: Dag) -> None:
        self.dag = dag
        self.claims: dict[str, Claim] = {}
        self.since: dict[str, int] = {}
        self.unfinished: set[str] = set()
        self.excused: set[Offset] = set()
        self.begun: dict[str, dict[int, int]] = {}
        self.lost_at = 0
        self.position: tuple[str, dict[int, int]] = ("", {})

    @property
    def record(self) -> ClaimRecord | None:
        stored = self.dag.asset.get(record_key(self.dag.dag_id))
        return None if stored is None else read_record(stored)


class Protocol(RuleBasedStateMachine):
    """Two DAGs on one asset; the first has a ledger."""

    def __init__(self) -> None:
        super().__init__()
        self.topic, self.asset, self.clock = Topic(), StateStore(), 1_000
        dags = Dag("a", self.topic, self.asset, Ledger()), Dag("b", self.topic, self.asset)
        self.oracles = [Oracle(dag) for dag in dags]
        self.patches: list[Any] = [
            mock.patch.dict(take.__kwdefaults__, kept=3),
            mock.patch.object(claiming, "time", SimpleNamespace(time=lambda: self.clock)),
        ]
        for patch in self.patches:
            patch.start()

    def teardown(self) -> None:
        for patch in self.patches:
            patch.stop()

    def _try(self, oracle: Oracle, run_id: str, dies: str | None, again: bool, **caps: int | None) -> None:
        """One try of a run, which may die."""
        self.clock += 1
        owner = oracle.dag.claiming(run_id, again=again, since=oracle.since[run_id], **caps)
        before, begins = self._pending(oracle), not oracle.begun
        if dies is None:
            try:
                claim = owner.claim()
            except LostRangeError:  # once more after a loss of state
                assert self._beyond_the_end(oracle) <= oracle.excused
                return
            oracle.unfinished.discard(run_id)
        else:
            try:
                with crash_at(dies):
                    owner.claim()
            except (Crash, AssertionError):  # not every try comes by every boundary
                oracle.unfinished.add(run_id)
            except LostRangeError:
                assert self._beyond_the_end(oracle) <= oracle.excused
            record = oracle.record
            found = record.of(run_id) if record is not None else None
            if begins and record is not None:
                oracle.begun[self.topic.id] = dict(self.topic.starts)
            if found is None:
                return
            claim = found
        if begins:
            oracle.begun[self.topic.id] = dict(self.topic.starts)
        if run_id in oracle.claims:
            assert claim.slice == oracle.claims[run_id].slice, "a run's slice has changed"
        elif len(claim.slice) or len(claim.lost):
            oracle.claims[run_id] = claim
            assert members(claim.slice) <= before, "claimed what was not there, or another run's"
            cap = caps.get("max_messages")
            assert cap is None or len(claim.slice) <= cap
            assert len(claim.slice) or not before, "there was something to claim"

    def _pending(self, oracle: Oracle) -> set[Offset]:
        """What a run may claim."""
        there = {
            (self.topic.id, p, o)
            for p, end in self.topic.ends.items()
            for o in range(self.topic.starts[p], end)
        }
        claimed = set().union(*(members(c.slice) for c in oracle.claims.values()), set())
        return there - claimed - oracle.excused

    @rule(p=st.integers(0, 2), n=st.integers(1, 5))
    def produce(self, p: int, n: int) -> None:
        if p in self.topic.ends:
            self.topic.ends[p] += n

    @rule(p=st.integers(0, 2), n=st.integers(1, 6))
    def retention(self, p: int, n: int) -> None:
        if p in self.topic.ends:
            self.topic.starts[p] = min(self.topic.ends[p], self.topic.starts[p] + n)

    @precondition(lambda self: len(self.topic.ends) < 3)
    @rule()
    def add_partition(self) -> None:
        p = len(self.topic.ends)
        self.topic.starts[p] = self.topic.ends[p] = 0

    @rule(n=st.integers(0, 5))
    def create_topic_again(self, n: int) -> None:
        self._all_know_where_they_are()
        self.topic.create_again(n)

    def _all_know_where_they_are(self) -> None:
        for oracle in self.oracles:
            if oracle.begun:
                self._run(oracle)

    @rule(p=st.integers(0, 2), n=st.integers(1, 4))
    def cut_log(self, p: int, n: int) -> None:
        """Every DAG that was further must say so in its next run, and the run after that goes on."""
        if p not in self.topic.ends:
            return
        self._all_know_where_they_are()
        self.topic.ends[p] = max(self.topic.starts[p], self.topic.ends[p] - n)
        for oracle in self.oracles:
            gone = self._beyond_the_end(oracle)
            if gone - oracle.excused:
                with pytest.raises(LostRangeError, match="ends before the position"):
                    oracle.dag.claiming(f"cut{self.clock}").claim()
                oracle.excused |= gone
                self._run(oracle)

    def _beyond_the_end(self, oracle: Oracle) -> set[Offset]:
        """Offsets behind a DAG's position that the log does not reach any more."""
        record, ends = oracle.record, self.topic.ends
        mirror = self.topic.mirror(mirror_group(oracle.dag.dag_id), "t", [0, 1, 2])
        position = mirror.position(self.topic.id)
        if record is not None:
            position = dict(record.position) if record.topic_id == self.topic.id else {}
        return {(self.topic.id, p, o) for p, at in position.items() for o in range(ends.get(p, at), at)}

    def _run(self, oracle: Oracle) -> None:
        run_id = f"run{self.clock}"
        oracle.since[run_id] = self.clock
        self._try(oracle, run_id, None, again=False)

    @rule(
        which=st.integers(0, 1),
        dies=st.none() | st.sampled_from(CLAIM_POINTS),
        max_messages=st.none() | st.integers(1, 4),
        max_bytes=st.none() | st.integers(1, 60),
    )
    def new_run(self, which: int, dies: str | None, max_messages: int | None, max_bytes: int | None) -> None:
        oracle = self.oracles[which]
        run_id = f"run{self.clock}"
        oracle.since[run_id] = self.clock
        self._try(oracle, run_id, dies, again=False, max_messages=max_messages, max_bytes=max_bytes)

    @rule(
        which=st.integers(0, 1),
        pick=st.randoms(use_true_random=False),
        dies=st.none() | st.sampled_from(CLAIM_POINTS),
    )
    def retry_or_clear(self, which: int, pick: object, dies: str | None) -> None:
        oracle = self.oracles[which]
        if oracle.since:
            self._again(oracle, pick.choice(sorted(oracle.since)), dies)  # type: ignore[attr-defined]

    def _again(self, oracle: Oracle, run_id: str, dies: str | None) -> None:
        record = oracle.record
        try:
            self._try(oracle, run_id, dies, again=True)
        except StateLostError:
            assert record is not None
            assert record.of(run_id) is None
            assert oracle.since[run_id] <= record.forgotten, "it can be told that it had none"
            oracle.unfinished.discard(run_id)

    def _finish(self, oracle: Oracle) -> None:
        """Runs that died are retried; one that has a loss to tell tells it once, and its next try goes on."""
        for run_id in sorted(oracle.unfinished):
            self._again(oracle, run_id, None)
            if run_id in oracle.unfinished:
                self._again(oracle, run_id, None)
        assert not oracle.unfinished

    @rule(which=st.integers(0, 1))
    def airflow_forgets_what_tasks_remember(self, which: int) -> None:
        """``clear_on_success`` does that. A run that died is retried first."""
        oracle = self.oracles[which]
        self._finish(oracle)
        oracle.dag.memories.clear()
        self._nobody_knows(oracle, since=oracle.lost_at)

    @staticmethod
    def _nobody_knows(oracle: Oracle, *, since: int) -> None:
        """Runs of which neither record nor task nor ledger knows anything are not cleared any more."""
        dag = oracle.dag
        known = {run for run, memory in dag.memories.items() if memory.get(claiming.CLAIM_KEY)}
        if dag.ledger is not None:
            known |= dag.ledger.claims.keys()
        oracle.since = {run: at for run, at in oracle.since.items() if run in known or at > since}

    @rule()
    def airflow_loses_positions(self) -> None:
        """With the asset: the mirror must be enough."""
        self._all_know_where_they_are()
        for oracle in self.oracles:
            self._finish(oracle)
            oracle.lost_at = self.clock
            self._nobody_knows(oracle, since=self.clock)
        self.asset.values.clear()

    @invariant()
    def check(self) -> None:
        for oracle in self.oracles:
            self.no_offset_is_claimed_or_lost_twice(oracle)
            record = oracle.record
            if record is not None:
                self.none_is_skipped_unless_it_is_said_to_be_lost(oracle, record)
                self.position_and_mirror_never_move_back(oracle, record)

    @staticmethod
    def no_offset_is_claimed_or_lost_twice(oracle: Oracle) -> None:
        owned = [members(s) for c in oracle.claims.values() for s in (c.slice, c.lost)]
        assert sum(map(len, owned)) == len(set().union(*owned, set()))

    @staticmethod
    def none_is_skipped_unless_it_is_said_to_be_lost(oracle: Oracle, record: ClaimRecord) -> None:
        begun = oracle.begun.get(record.topic_id, {})
        behind = {
            (record.topic_id, p, o)
            for p, position in record.position.items()
            for o in range(begun.get(p, 0), position)
        }
        known = [members(s) for c in oracle.claims.values() for s in (c.slice, c.lost)]
        assert behind <= set().union(*known, oracle.excused)

    def position_and_mirror_never_move_back(self, oracle: Oracle, record: ClaimRecord) -> None:
        epoch, before = oracle.position
        if epoch == record.topic_id:
            assert all(record.position[p] >= o for p, o in before.items())
        oracle.position = record.topic_id, dict(record.position)
        mirror = self.topic.mirror(mirror_group(oracle.dag.dag_id), "t", [0, 1, 2]).position(record.topic_id)
        assert all(o <= record.position[p] for p, o in mirror.items()), "ahead of the position"


TestProtocol = Protocol.TestCase
