"""Who owns which offsets: the pure rules."""

from __future__ import annotations

import pytest

from madhatter_provider.core.slices.claims import CLAIMS_KEPT, ClaimRecord, TopicBounds, find_cuts, take
from madhatter_provider.core.slices.offsets import OffsetRange, Slice


def bounds(ends: dict[int, int], starts: dict[int, int] | None = None, topic_id: str = "A") -> TopicBounds:
    return TopicBounds("t", topic_id, {p: (starts or {}).get(p, 0) for p in ends}, dict(ends))


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


def test_what_a_first_run_leaves_out_is_not_lost() -> None:
    _, claim = take(None, "r1", bounds({0: 40}, {0: 25}))
    assert list(claim.slice) == [OffsetRange(0, 25, 40)]
    assert len(claim.lost) == 0


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


@pytest.mark.parametrize("topic_id", ["A", "B"])
def test_what_retention_took_of_a_new_partition_or_a_new_epoch_is_lost_too(topic_id: str) -> None:
    record, _ = take(None, "r1", bounds({0: 10}))
    _, claim = take(record, "r2", bounds({0: 10, 1: 9}, {1: 5}, topic_id))
    assert OffsetRange(1, 0, 5) in claim.lost.ranges
    assert OffsetRange(1, 5, 9) in claim.slice.ranges


def test_an_end_below_the_log_start_gives_nothing_but_the_loss() -> None:
    """Both were asked for one after the other, and deletion came in between."""
    record, _ = take(None, "r1", bounds({0: 10}))
    seen = bounds({0: 12}, {0: 15})
    new, claim = take(record, "r2", seen)
    assert len(claim.slice) == 0
    assert list(claim.lost) == [OffsetRange(0, 10, 15)]
    assert len(find_cuts(new, seen)[1]) == 0, "that is no cut"


def test_a_partition_that_disappears_keeps_its_position() -> None:
    record, _ = take(None, "r1", bounds({0: 10, 1: 10}))
    record, _ = take(record, "r2", bounds({0: 12}))
    assert record.position == {0: 12, 1: 10}
    _, claim = take(record, "r3", bounds({0: 12, 1: 11}))
    assert list(claim.slice) == [OffsetRange(1, 10, 11)]


def test_a_cut_log_is_found_once_and_again_when_it_is_cut_further() -> None:
    record, _ = take(None, "r1", bounds({0: 100, 1: 7}))
    record, cut = find_cuts(record, bounds({0: 80, 1: 7}))
    assert list(cut) == [OffsetRange(0, 80, 100)]
    record, cut = find_cuts(record, bounds({0: 90, 1: 7}))
    assert len(cut) == 0
    record, cut = find_cuts(record, bounds({0: 70, 1: 7}))
    assert list(cut) == [OffsetRange(0, 70, 80)]
    record, claim = take(record, "r2", bounds({0: 110, 1: 7}))
    assert list(claim.slice) == [OffsetRange(0, 100, 110)]
    assert record.cuts, "as long as it was not looked at again"
    record, cut = find_cuts(record, bounds({0: 110, 1: 7}))
    assert (dict(record.cuts), len(cut)) == ({}, 0)
    assert len(find_cuts(record, bounds({0: 3}, topic_id="B"))[1]) == 0, "a new epoch is no cut"


def test_nothing_pending_claims_nothing_and_keeps_old_claims() -> None:
    record, _ = take(None, "r1", bounds({0: 10}))
    new, claim = take(record, "r2", bounds({0: 10}))
    assert len(claim.slice) == 0
    assert [c.run_id for c in new.claims] == ["r1"]
    assert new == record, "nothing to store"


def test_the_record_says_since_when_it_forgets() -> None:
    record: ClaimRecord | None = None
    for run in range(CLAIMS_KEPT + 3):
        record, _ = take(record, f"r{run}", bounds({0: run + 1}), at=1_000 + run)
    assert record is not None
    assert [c.run_id for c in record.claims] == [f"r{run}" for run in range(3, CLAIMS_KEPT + 3)]
    assert record.forgotten == 1_002
