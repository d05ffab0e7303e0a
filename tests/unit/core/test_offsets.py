"""Slices behave as sets of (partition, offset)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.offsets import OffsetRange, Slice, gaps_and_overlaps

RANGES = st.builds(
    lambda p, s, n: OffsetRange(p, s, s + n), st.integers(0, 2), st.integers(0, 30), st.integers(0, 12)
)
SLICES = st.lists(RANGES, max_size=6).map(lambda rs: Slice("t", "id", tuple(rs)))


def members(s: Slice) -> set[tuple[int, int]]:
    return {(r.partition, o) for r in s for o in range(r.start, r.end)}


@given(SLICES, SLICES)
def test_algebra_is_set_algebra(a: Slice, b: Slice) -> None:
    assert members(a | b) == members(a) | members(b)
    assert members(a & b) == members(a) & members(b)
    assert members(a - b) == members(a) - members(b)
    assert (members(a) == members(b)) == (a == b)
    assert len(a) == len(members(a))


@given(SLICES)
def test_normal_form(a: Slice) -> None:
    assert list(a) == sorted(a)
    for x, y in zip(a.ranges, a.ranges[1:], strict=False):
        assert x.partition < y.partition or x.end < y.start
    assert Slice.from_json(a.to_json()) == a
    assert Slice("t", "id", tuple(reversed(a.ranges))).digest == a.digest


@given(SLICES, st.integers(1, 9))
def test_split_tiles_evenly(a: Slice, parts: int) -> None:
    pieces = a.split(parts)
    assert len(pieces) == min(parts, len(a))
    assert sum(map(len, pieces)) == len(a)
    assert set().union(*map(members, pieces), set()) == members(a)
    if pieces:
        assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


@given(SLICES, st.integers(0, 60))
def test_head_takes_prefixes_up_to_the_cap(a: Slice, cap: int) -> None:
    head = a.head(cap)
    assert len(head) == min(cap, len(a))
    assert members(head) <= members(a)
    for p in a.partitions:
        mine, taken = (
            sorted(o for q, o in members(a) if q == p),
            sorted(o for q, o in members(head) if q == p),
        )
        assert taken == mine[: len(taken)]


@given(st.lists(SLICES, max_size=5))
def test_gaps_and_overlaps(slices: list[Slice]) -> None:
    gaps, twice = gaps_and_overlaps(slices)
    if not slices:
        assert gaps is twice is None
        return
    assert gaps is not None
    assert twice is not None
    every = [m for s in slices for m in members(s)]
    assert members(twice) == {m for m in every if every.count(m) > 1}
    for p in {p for p, _ in every}:
        offsets = {o for q, o in every if q == p}
        assert {o for q, o in members(gaps) if q == p} == set(range(min(offsets), max(offsets) + 1)) - offsets


def test_membership_and_text() -> None:
    s = Slice("t", "id", (OffsetRange(1, 5, 8),))
    assert (1, 5) in s
    assert (1, 8) not in s
    assert (0, 5) not in s
    assert "nonsense" not in s
    assert str(s) == "t 1:[5, 8)"


@pytest.mark.parametrize("bad", [(-1, 0, 1), (0, -1, 1), (0, 2, 1)])
def test_bad_ranges_are_refused(bad: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigurationError, match="Not an offset range"):
        OffsetRange(*bad)


def test_epochs_do_not_mix() -> None:
    with pytest.raises(ConfigurationError, match="different topics"):
        Slice("t", "one") | Slice("t", "two")


@pytest.mark.parametrize(
    "bad", [{}, {"version": 99}, {"version": 1, "topic": "t", "topic_id": "i", "ranges": 3}]
)
def test_bad_json_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Slice.from_json(bad)
