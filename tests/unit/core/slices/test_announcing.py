"""When the watcher announces."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.slices.announcing import MAX_PATIENCE, Announcer, claimed_by_all
from madhatter_provider.core.slices.claims import ClaimRecord


def announcer(
    min_messages: int, max_wait: float, reannounce_after: float, position: Mapping[int, int] | None = None
) -> Announcer:
    made = Announcer(min_messages, max_wait, reannounce_after)
    made.begin("epoch", position)
    return made


def test_many_messages_are_announced_at_once_and_once() -> None:
    a = announcer(100, 10, 60)
    assert a.observe({0: 100}, 0.0) == "new"
    assert a.observe({0: 100}, 0.1) is None


def test_few_messages_wait() -> None:
    a = announcer(100, 10, 60)
    assert a.observe({0: 3}, 5.0) is None
    assert a.wait_seconds(6.0) == 9.0
    assert a.observe({0: 4}, 14.9) is None
    assert a.observe({0: 4}, 15.0) == "new"


def test_claimed_messages_are_not_announced_after_a_restart() -> None:
    a = announcer(1, 10, 60, {0: 50})
    assert a.observe({0: 50}, 0.0) is None
    assert a.wait_seconds(0.0) is None
    assert a.observe({0: 51}, 1.0) == "new"


def test_a_lost_event_is_announced_again_ever_more_slowly_until_claimed() -> None:
    a = announcer(1, 10, 60)
    assert a.observe({0: 5}, 0.0) == "new"
    assert not a.must_check(59.0)
    now, waits = 0.0, []
    for _ in range(7):
        due = a.wait_seconds(now)
        assert due is not None
        waits.append(due)
        now += due
        assert a.must_check(now)
        a.checked({0: 4}, now)
        assert a.observe({0: 5}, now) == "again"
    assert waits == [60, 120, 240, 480, 960, 60 * MAX_PATIENCE, 60 * MAX_PATIENCE]
    now += 60 * MAX_PATIENCE
    a.checked({0: 5}, now)
    assert a.observe({0: 5}, now) is None
    assert a.wait_seconds(now) is None


def test_new_messages_reset_the_patience() -> None:
    a = announcer(1, 10, 60)
    a.observe({0: 5}, 0.0)
    a.checked(None, 60.0)
    assert a.observe({0: 5}, 60.0) == "again"
    assert a.observe({0: 6}, 61.0) == "new"
    assert a.must_check(121.0)


def test_nothing_is_announced_before_the_position_is_known() -> None:
    a = Announcer(1, 10, 60)
    assert a.observe({0: 5}, 0.0) is None
    a.begin("first", {0: 5})
    assert a.observe({0: 5}, 0.0) is None


def test_a_topic_created_again_starts_over() -> None:
    a = announcer(1, 10, 60, {0: 500})
    assert a.observe({0: 510}, 0.0) == "new"
    a.begin("second", None)
    assert a.wait_seconds(0.0) is None, "what was announced of the old topic is forgotten"
    assert a.observe({0: 2}, 0.0) == "new"


def test_a_log_that_was_cut_off_is_new() -> None:
    a = announcer(1, 10, 60, {0: 500})
    assert a.observe({0: 2}, 0.0) == "new"


def test_a_few_messages_are_not_announced_if_the_run_before_them_has_claimed_them_too() -> None:
    a = announcer(100, 10, 60)
    assert a.observe({0: 100}, 0.0) == "new"
    assert a.observe({0: 103}, 1.0) is None
    assert not a.must_check(10.9)
    assert a.must_check(11.0)
    a.checked({0: 103}, 11.0)
    assert a.observe({0: 103}, 11.0) is None
    assert a.wait_seconds(11.0) is None
    assert a.observe({0: 104}, 12.0) is None
    assert not a.must_check(22.0), "nothing is outstanding: they are announced without looking"
    assert a.observe({0: 104}, 22.0) == "new"


def test_claimed_by_all_is_what_the_slowest_dag_has_reached_in_this_epoch() -> None:
    fast, slow = ClaimRecord("t", "now", {0: 9, 1: 4}), ClaimRecord("t", "now", {0: 7})
    before = ClaimRecord("t", "before", {0: 900})
    assert claimed_by_all([], "now") is None
    assert claimed_by_all([None], "now") is None
    assert claimed_by_all([fast, None], "now") == {0: 9, 1: 4}
    assert claimed_by_all([fast, slow], "now") == {0: 7, 1: 0}
    assert claimed_by_all([fast, before], "now") == {0: 0, 1: 0}
    assert claimed_by_all([before], "now") == {}


@given(
    steps=st.lists(
        st.tuples(st.floats(0.01, 30), st.integers(0, 300), st.sampled_from(["", "claim", "lost"])),
        max_size=40,
    )
)
def test_everything_is_announced_in_time_and_again_until_it_is_claimed(
    steps: list[tuple[float, int, str]],
) -> None:
    """Messages come, runs claim all of what they see or are lost; in the end nothing is left unclaimed."""
    a, now, end, claimed, hints = announcer(100, 10, 60), 0.0, 0, 0, 0

    def look() -> None:
        nonlocal hints
        if a.must_check(now):
            a.checked({0: claimed}, now)
        if a.observe({0: end}, now):
            hints += 1

    for pause, more, fate in steps:
        now, end = now + pause, end + more
        look()
        if fate and hints:
            hints, claimed = hints - 1, end if fate == "claim" else claimed
    for _ in range(10):
        look()
        claimed = end if hints else claimed
        now += a.wait_seconds(now) or 0.0
    assert claimed == end
    assert a.wait_seconds(now) is None


def test_capped_runs_are_announced_one_after_the_other_while_they_make_headway() -> None:
    a = announcer(1, 10, 60, {0: 0})
    assert a.observe({0: 100}, 0.0) == "new"
    now = 60.0
    for claimed in (30, 60, 90):
        assert a.must_check(now)
        a.checked({0: claimed}, now)
        assert a.observe({0: 100}, now) == "again"
        assert a.wait_seconds(now) == 10
        now += 10
    a.checked({0: 90}, now)
    assert a.observe({0: 100}, now) == "again"
    assert a.wait_seconds(now) == 120, "no headway any more"
    a.checked({0: 100}, now + 120)
    assert a.wait_seconds(now + 120) is None
