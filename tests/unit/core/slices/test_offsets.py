"""Slices behave as sets of (partition, offset)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.slices.offsets import OffsetRange, Slice, gaps_and_overlaps, tiles

RANGES = st.builds(
    lambda p, s, n: OffsetRange(p, s, s + n), st.integers(0, 2), st.integers(0, 30), st.integers(0, 12)
)
SLICES = st.lists(RANGES, max_size=6).map(lambda rs: Slice("t", "id", tuple(rs)))
EACH = st.dictionaries(st.integers(0, 2), st.floats(0, 50, allow_nan=False))


def members(s: Slice) -> set[tuple[int, int]]:
    return {(r.partition, o) for r in s for o in range(r.start, r.end)}


@given(SLICES, SLICES)
def test_algebra_is_set_algebra(a: Slice, b: Slice) -> None:
    assert members(a | b) == members(a) | members(b)
    assert members(a & b) == members(a) & members(b)
    assert members(a - b) == members(a) - members(b)
    assert (members(a) == members(b)) == (a == b)
    assert len(a) == len(members(a))


@given(SLICES, SLICES, SLICES)
def test_laws(a: Slice, b: Slice, c: Slice) -> None:
    assert (a | b) - c == (a - c) | (b - c)
    assert a - (b | c) == (a - b) & (a - c), "De Morgan"
    assert a - (b & c) == (a - b) | (a - c), "De Morgan"
    assert a & (b | c) == (a & b) | (a & c)
    assert a | b == b | a
    assert a & b == b & a
    assert (a | b) | c == a | (b | c)
    assert a - a == a & (b - a) == Slice("t", "id")
    assert tiles([a & b, a - b], a)


@given(SLICES, st.lists(SLICES, max_size=4))
def test_tiles_means_every_offset_once_and_no_other(whole: Slice, parts: list[Slice]) -> None:
    every = sorted(m for part in parts for m in members(part))
    assert tiles(parts, whole) == (every == sorted(members(whole)))


@given(SLICES)
def test_normal_form(a: Slice) -> None:
    assert list(a) == sorted(a)
    for x, y in zip(a.ranges, a.ranges[1:], strict=False):
        assert x.partition < y.partition or x.end < y.start
    assert Slice.from_json(json.loads(json.dumps(a.to_json()))) == a
    assert Slice("t", "id", tuple(reversed(a.ranges))).digest == a.digest


@given(SLICES, st.integers(1, 9))
def test_split_tiles_evenly(a: Slice, parts: int) -> None:
    pieces = a.split(parts)
    assert len(pieces) == min(parts, len(a))
    assert tiles(pieces, a)
    assert [m for piece in pieces for m in sorted(members(piece))] == sorted(members(a)), "in order"
    if pieces:
        assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


def weight(s: Slice, each: dict[int, float]) -> float:
    return sum(len(r) * each.get(r.partition, 0) for r in s)


@given(SLICES, st.integers(1, 200), EACH)
def test_split_by_bytes_tiles_and_keeps_to_the_size(a: Slice, most: int, each: dict[int, float]) -> None:
    pieces = a.split_by_bytes(most, each)
    assert tiles(pieces, a)
    assert [m for piece in pieces for m in sorted(members(piece))] == sorted(members(a)), "in order"
    for piece in pieces:
        assert len(piece) == 1 or weight(piece, each) <= most + 1e-6
    for x, y in itertools.pairwise(pieces):
        assert weight(x, each) + weight(y.split(len(y))[0], each) > most - 1e-6, (
            "none is smaller than it must be"
        )


@given(SLICES)
def test_split_by_partition(a: Slice) -> None:
    pieces = a.split_by_partition()
    assert tiles(pieces, a)
    assert [piece.partitions for piece in pieces] == [(p,) for p in a.partitions]


@given(SLICES, st.integers(1, 200), EACH)
def test_head_of_bytes_takes_prefixes_and_at_least_one(a: Slice, most: int, each: dict[int, float]) -> None:
    head = a.head_of_bytes(most, each)
    assert bool(len(head)) == bool(len(a))
    assert len(head) == 1 or weight(head, each) <= most + 1e-6
    assert_prefix(head, a)
    if weight(a, each) + len(a.partitions) <= most:
        assert head == a


@pytest.mark.parametrize("each", [{0: 10.0, 1: 100.0}, {0: 100.0, 1: 10.0}])
def test_a_cap_below_one_message_does_not_starve_a_partition(each: dict[int, float]) -> None:
    rest = Slice("t", "id", (OffsetRange(0, 0, 50), OffsetRange(1, 0, 50)))
    for _ in range(100):
        taken = rest.head_of_bytes(1, each)
        assert len(taken) == 1
        rest = rest - taken
    assert len(rest) == 0


def assert_prefix(head: Slice, a: Slice) -> None:
    assert members(head) <= members(a)
    for p in a.partitions:
        mine = sorted(o for q, o in members(a) if q == p)
        taken = sorted(o for q, o in members(head) if q == p)
        assert taken == mine[: len(taken)]


@given(SLICES, st.integers(0, 60))
def test_head_takes_prefixes_up_to_the_cap(a: Slice, cap: int) -> None:
    head = a.head(cap)
    assert len(head) == min(cap, len(a))
    assert_prefix(head, a)


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
    with pytest.raises(ConfigurationError, match=r"Not an offset range[^\n]*\nWhere: partition"):
        OffsetRange(*bad)


@pytest.mark.parametrize(
    "mix",
    [
        lambda a, b: a | b,
        lambda a, b: a & b,
        lambda a, b: a - b,
        lambda a, b: tiles([a, b], a),
        lambda a, b: gaps_and_overlaps([a, b]),
    ],
)
def test_epochs_do_not_mix(mix: Callable[[Slice, Slice], object]) -> None:
    with pytest.raises(ConfigurationError, match=r"different topics.*\nWhere: topic t"):
        mix(Slice("t", "one"), Slice("t", "two"))


@given(SLICES, SLICES)
def test_equal_slices_have_equal_digests_and_others_other_ones(a: Slice, b: Slice) -> None:
    assert (a.digest == b.digest) == (a == b)
    assert a.digest != Slice("t", "another epoch", a.ranges).digest


@pytest.mark.parametrize("cut", [lambda s: s.split(0), lambda s: s.split_by_bytes(0, {})])
def test_a_split_into_nothing_is_refused(cut: Callable[[Slice], object]) -> None:
    with pytest.raises(ConfigurationError, match=r"\nWhere: topic t, 5 offsets\n.*at least 1"):
        cut(Slice("t", "id", (OffsetRange(0, 0, 5),)))


def test_a_slice_of_a_thousand_partitions_is_handled_at_once() -> None:
    wide = Slice("t", "id", tuple(OffsetRange(p, 10**12, 10**12 + 10**9) for p in range(1000)))
    pieces = wide.split(64)
    assert tiles(pieces, wide)
    assert (wide - pieces[0]) | pieces[0] == wide


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"version": 1, "topic": "t", "topic_id": "i", "ranges": 3},
        {"version": 1, "topic": "t", "topic_id": "i", "ranges": [[0, 1]]},
        {"version": 1, "topic": "t", "topic_id": "i", "ranges": [["a", 1, 2]]},
        {"version": 1, "topic": "t", "topic_id": "i", "ranges": [[0, 5, 2]]},
    ],
)
def test_bad_json_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=r"(Not a slice|Not an offset range).*\nWhere: "):
        Slice.from_json(bad)


def test_a_slice_of_a_later_version_says_so() -> None:
    with pytest.raises(
        ConfigurationError, match=r"Slice of version 99, this provider reads version 1\nWhere: topic t"
    ):
        Slice.from_json(Slice("t", "id").to_json() | {"version": 99})
