"""When the watcher announces."""

from __future__ import annotations

from madhatter_provider.core.announcing import MAX_PATIENCE, Announcer


def test_many_messages_are_announced_at_once_and_once() -> None:
    a = Announcer(100, 10, 60)
    assert a.observe({0: 100}, 0.0) == "new"
    assert a.observe({0: 100}, 0.1) is None


def test_few_messages_wait() -> None:
    a = Announcer(100, 10, 60)
    assert a.observe({0: 3}, 5.0) is None
    assert a.wait_seconds(6.0) == 9.0
    assert a.observe({0: 4}, 14.9) is None
    assert a.observe({0: 4}, 15.0) == "new"


def test_claimed_messages_are_not_announced_after_a_restart() -> None:
    a = Announcer(1, 10, 60, {0: 50})
    assert a.observe({0: 50}, 0.0) is None
    assert a.wait_seconds(0.0) is None
    assert a.observe({0: 51}, 1.0) == "new"


def test_a_lost_event_is_announced_again_ever_more_slowly_until_claimed() -> None:
    a = Announcer(1, 10, 60)
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
    a = Announcer(1, 10, 60)
    a.observe({0: 5}, 0.0)
    a.checked(None, 60.0)
    assert a.observe({0: 5}, 60.0) == "again"
    assert a.observe({0: 6}, 61.0) == "new"
    assert a.must_check(121.0)


def test_a_topic_created_again_is_new() -> None:
    a = Announcer(1, 10, 60, {0: 500})
    assert a.observe({0: 2}, 0.0) == "new"


def test_capped_runs_are_announced_one_after_the_other_while_they_make_headway() -> None:
    a = Announcer(1, 10, 60, {0: 0})
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
