"""The reader's bookkeeping: what is claimed is not read again, what is not claimed is never lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.beam.kafka_source import FirstPositions, TopicsToRead
from madhatter_provider.beam.positions import PositionsTracker, Restriction, RestrictionCoder
from madhatter_provider.core.errors import ConfigurationError

BEGIN = {("a", 0): 5, ("a", 1): 0, ("b", 0): 100}


def tracker() -> PositionsTracker:
    return PositionsTracker(Restriction(dict(BEGIN)))


def test_the_rest_begins_behind_what_was_claimed() -> None:
    t = tracker()
    assert t.try_claim(("a", 0, 5))
    assert t.try_claim(("a", 0, 9))  # offsets have holes
    assert t.try_claim(("b", 0, 100))
    split = t.try_split(0)
    assert split is not None
    primary, rest = split
    assert rest == Restriction({("a", 0): 10, ("a", 1): 0, ("b", 0): 101})
    assert primary.closed
    assert t.check_done()
    assert not t.try_claim(("a", 0, 10))


def test_it_cannot_be_cut_ahead_of_the_reader_nor_twice() -> None:
    t = tracker()
    assert t.try_split(0.5) is None
    assert t.try_split(0) is not None
    assert t.try_split(0) is None


def test_stopping_without_deferring_is_an_error() -> None:
    t = tracker()
    t.try_claim(("a", 0, 5))
    with pytest.raises(ValueError, match="without deferring"):
        t.check_done()


def test_a_drained_reader_is_done_and_leaves_no_rest() -> None:
    t = tracker()
    t.try_claim(("a", 0, 5))
    assert t.try_claim(PositionsTracker.CLOSE)
    assert t.check_done()
    assert t.try_split(0) is None
    assert not t.try_claim(("a", 0, 6))
    assert t.current_restriction().positions["a", 0] == 6


def test_a_partition_that_is_new_joins_the_rest() -> None:
    t = tracker()
    t.try_claim(("a", 2, 0))
    split = t.try_split(0)
    assert split is not None
    assert split[1].positions["a", 2] == 1


def test_reading_never_ends_by_itself() -> None:
    assert not tracker().is_bounded()
    assert FirstPositions().truncate(TopicsToRead("x", ("a",), "g"), Restriction(BEGIN)) is None  # type: ignore[func-returns-value]


positions = st.dictionaries(
    st.tuples(st.text("abc-._", min_size=1), st.integers(0, 99)), st.integers(0, 2**62), max_size=8
)


@given(positions, st.booleans())
def test_restrictions_survive_coding(where: dict[tuple[str, int], int], closed: bool) -> None:
    coder = RestrictionCoder()
    restriction = Restriction(where, closed)
    assert coder.decode(coder.encode(restriction)) == restriction
    assert coder.is_deterministic()


@given(st.lists(st.tuples(st.sampled_from(sorted(BEGIN)), st.integers(1, 3))), st.lists(st.booleans()))
def test_checkpoints_anywhere_lose_and_repeat_nothing(
    steps: list[tuple[tuple[str, int], int]], checkpoints: list[bool]
) -> None:
    """Read offsets in any order of partitions, with checkpoints in between:

    each partition's claims only grow.
    """
    t, last = tracker(), dict(BEGIN)
    for i, ((topic, partition), jump) in enumerate(steps):
        offset = last[topic, partition] + jump - 1
        assert t.try_claim((topic, partition, offset))
        last[topic, partition] = offset + 1
        if i < len(checkpoints) and checkpoints[i]:
            split = t.try_split(0)
            assert split is not None
            t = PositionsTracker(Restriction.decode(split[1].encode()))
    split = t.try_split(0)
    assert split is not None
    assert split[1].positions == last


@pytest.mark.parametrize("wrong", [{"start": "yesterday"}, {"topics": ()}])
def test_impossible_sources_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        TopicsToRead(**{"bootstrap_servers": "x", "topics": ("a",), "group": "g", **wrong})
