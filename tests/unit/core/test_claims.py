"""The claim protocol against a simple oracle: a set of produced offsets, each to be claimed once, in whatever
order runs come, retry, are cleared, crash between taking and storing, while the topic grows, gains
partitions, and retention deletes."""

from __future__ import annotations

import json

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from madhatter_provider.core.claims import Claim, ClaimRecord, TopicBounds, take
from madhatter_provider.core.errors import StateLostError
from madhatter_provider.core.offsets import OffsetRange, Slice


def bounds(ends: dict[int, int], starts: dict[int, int] | None = None, topic_id: str = "A") -> TopicBounds:
    return TopicBounds("t", topic_id, {p: (starts or {}).get(p, 0) for p in ends}, dict(ends))


class Protocol(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.starts, self.ends = {0: 0}, {0: 0}
        self.stored: str | None = None
        self.runs = 0
        self.known: dict[str, Claim] = {}

    def _claim(self, run_id: str, cap: int | None, stores: bool) -> None:
        record = ClaimRecord.from_json(json.loads(self.stored)) if self.stored else None
        new, claim = take(record, run_id, bounds(self.ends, self.starts), max_messages=cap, kept=4)
        if not stores:
            return
        self.stored = json.dumps(new.to_json())
        if record is not None and record.of(run_id) is not None:
            assert claim == self.known[run_id]
        elif len(claim.slice) or len(claim.lost):
            self.known[run_id] = claim

    @rule(p=st.integers(0, 2), n=st.integers(1, 5))
    def produce(self, p: int, n: int) -> None:
        if p in self.ends:
            self.ends[p] += n

    @precondition(lambda self: len(self.ends) < 3)
    @rule()
    def add_partition(self) -> None:
        p = len(self.ends)
        self.starts[p], self.ends[p] = 0, 0

    @rule(p=st.integers(0, 2), n=st.integers(1, 6))
    def delete_by_retention(self, p: int, n: int) -> None:
        if p in self.ends:
            self.starts[p] = min(self.ends[p], self.starts[p] + n)

    @rule(cap=st.none() | st.integers(1, 4))
    def new_run(self, cap: int | None) -> None:
        self.runs += 1
        self._claim(f"run{self.runs}", cap, stores=True)

    @rule()
    def run_dies_before_storing(self) -> None:
        self._claim(f"dead{self.runs}", None, stores=False)

    @precondition(lambda self: self.runs > 0)
    @rule()
    def last_run_is_retried(self) -> None:
        self._claim(f"run{self.runs}", None, stores=True)

    @invariant()
    def claims_and_losses_tile_what_is_behind_the_position(self) -> None:
        if not self.stored:
            return
        position = ClaimRecord.from_json(json.loads(self.stored)).position
        owned = [r for c in self.known.values() for s in (c.slice, c.lost) for r in s]
        assert sum(map(len, owned)) == len(Slice("t", "A", tuple(owned))), "an offset was claimed twice"
        covered = {p: 0 for p in self.ends}
        for r in owned:
            covered[r.partition] += len(r)
        first = {p: position.get(p, 0) - n for p, n in covered.items()}
        begun = {
            p: min((r.start for r in owned if r.partition == p), default=position.get(p, 0))
            for p in self.ends
        }
        assert first == begun, "an offset behind the position is nobody's"


TestProtocol = Protocol.TestCase


def test_a_retry_gets_its_slice_again_whatever_arrived_since() -> None:
    record, first = take(None, "r1", bounds({0: 10}))
    again, second = take(record, "r1", bounds({0: 99}))
    assert second == first
    assert again == record


def test_first_run_starts_where_it_is_told_and_new_partitions_at_their_beginning() -> None:
    record, claim = take(None, "r1", bounds({0: 10}), first={0: 7})
    assert list(claim.slice) == [OffsetRange(0, 7, 10)]
    _, claim = take(record, "r2", bounds({0: 10, 1: 4}), first={0: 0, 1: 4})
    assert list(claim.slice) == [OffsetRange(1, 0, 4)]


def test_a_topic_created_again_is_a_new_epoch() -> None:
    record, _ = take(None, "r1", bounds({0: 10}))
    new, claim = take(record, "r2", bounds({0: 3}, topic_id="B"))
    assert claim.slice == Slice("t", "B", (OffsetRange(0, 0, 3),))
    assert new.position == {0: 3}
    assert take(new, "r1", bounds({0: 3}, topic_id="B"))[1].slice.topic_id == "A"


def test_retention_leaves_a_lost_range() -> None:
    record, _ = take(None, "r1", bounds({0: 10}))
    _, claim = take(record, "r2", bounds({0: 40}, {0: 25}))
    assert list(claim.lost) == [OffsetRange(0, 10, 25)]
    assert list(claim.slice) == [OffsetRange(0, 25, 40)]


def test_nothing_pending_claims_nothing_and_keeps_old_claims() -> None:
    record, _ = take(None, "r1", bounds({0: 10}))
    new, claim = take(record, "r2", bounds({0: 10}))
    assert len(claim.slice) == 0
    assert [c.run_id for c in new.claims] == ["r1"]


@pytest.mark.parametrize("value", [None, {}, {"version": 2}, "text"])
def test_unreadable_state_is_not_guessed(value: object) -> None:
    with pytest.raises(StateLostError, match="cannot be read"):
        ClaimRecord.from_json(value)  # type: ignore[arg-type]


def test_the_record_stays_small_whatever_the_number_of_partitions() -> None:
    record = None
    for run in range(60):
        ends = {p: 1_000_000_000 * (run + 1) for p in range(200)}
        record, claim = take(
            record, f"asset_triggered__2026-11-24T06:38:29.414993+00:00_{run:08d}", bounds(ends)
        )
    assert record is not None
    assert record.claims[-1] == claim
    assert len(json.dumps(record.to_json())) < 65_536
    assert ClaimRecord.from_json(json.loads(json.dumps(record.to_json()))) == record
