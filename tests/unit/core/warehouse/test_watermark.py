"""The event-time watermark: the slowest partition that is not idle."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.warehouse.watermark import Progress, Watermark


def test_it_is_the_slowest_partitions_newest_event() -> None:
    w = Watermark(None)
    assert w.observe({0: Progress(5, 100.0), 1: Progress(9, 90.0)}, 200.0) == 90.0
    assert w.observe({0: Progress(5, 100.0), 1: Progress(10, 120.0)}, 210.0) == 100.0


def test_an_empty_partition_leaves_it_unknown_until_it_is_idle() -> None:
    w = Watermark(60)
    both = {0: Progress(5, 100.0), 1: Progress(0, None)}
    assert w.observe(both, 1000.0) is None
    assert w.observe({**both, 0: Progress(6, 150.0)}, 1059.0) is None
    assert w.observe({**both, 0: Progress(7, 160.0)}, 1060.0) == 160.0


def test_an_idle_partition_that_moves_again_counts_again() -> None:
    w = Watermark(60)
    w.observe({0: Progress(5, 100.0), 1: Progress(3, 50.0)}, 1000.0)
    assert w.observe({0: Progress(6, 900.0), 1: Progress(3, 50.0)}, 1060.0) == 900.0
    assert w.observe({0: Progress(7, 901.0), 1: Progress(4, 51.0)}, 1061.0) == 51.0


def test_where_all_are_idle_time_goes_on() -> None:
    w = Watermark(60)
    still = {0: Progress(5, 100.0), 1: Progress(0, None)}
    w.observe(still, 1000.0)
    assert w.observe(still, 1070.0) == 1010.0


def test_a_partition_that_is_not_loaded_to_its_end_is_not_idle() -> None:
    w = Watermark(60)
    for now in (1000.0, 1100.0):
        assert w.observe({0: Progress(5, 100.0, behind=True)}, now) == 100.0
    assert w.observe({0: Progress(5, 100.0)}, 1100.0) == 100.0
    assert w.observe({0: Progress(5, 100.0)}, 1160.0) == 1100.0


def test_an_event_of_the_future_does_not_move_it_past_now() -> None:
    w = Watermark(None)
    year_9999 = 253_370_764_800.0
    assert w.observe({0: Progress(5, year_9999)}, 1000.0) == 1000.0
    assert w.observe({0: Progress(5, year_9999), 1: Progress(3, 50.0)}, 1001.0) == 50.0


@given(
    looks=st.lists(
        st.tuples(st.floats(0.1, 50), st.lists(st.integers(0, 3), min_size=3, max_size=3)),
        min_size=1,
        max_size=20,
    )
)
def test_it_never_passes_the_newest_event_of_a_partition_that_moves(
    looks: list[tuple[float, list[int]]],
) -> None:
    """Events carry the time at which they come; a partition that moved within the last minute holds it."""
    w, now, moved = Watermark(60), 1000.0, dict.fromkeys(range(3), 1000.0)
    ends, newest = dict.fromkeys(range(3), 0), dict.fromkeys(range(3), 0.0)
    for pause, more in looks:
        now += pause
        for p, n in enumerate(more):
            ends[p] += n
            if n:
                moved[p] = newest[p] = now
        seen = w.observe({p: Progress(ends[p], newest[p]) for p in ends}, now)
        assert seen is not None
        assert all(seen <= newest[p] for p in ends if now - moved[p] < 60 and now - newest[p] < 60)
