"""States of checks: entered late, left late, never flapping, and the same however often somebody looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.operations.health import STATES, Health, Limits, level, observe

BEGIN = datetime(2026, 11, 24, 6, tzinfo=UTC)
LIMITS = Limits(
    warning_enter=6, warning_leave=3, critical_enter=14, critical_leave=6, worse_after=60, better_after=300
)


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def fold(measured: list[tuple[float, float | None]], limits: Limits = LIMITS) -> list[Health]:
    """The health after each measurement; times in seconds."""
    health, seen = Health(), []
    for when, value in measured:
        health = observe(health, at(when), value, limits)
        seen.append(health)
    return seen


def changes(seen: list[Health]) -> list[tuple[float, str]]:
    """When (second) and to what the state changed."""
    return [
        ((h.changed_at - BEGIN).total_seconds(), h.state)
        for before, h in pairwise([Health(), *seen])
        if h.changes > before.changes and h.changed_at is not None
    ]


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    low, mid_low, mid_high, high = sorted(draw(st.lists(st.integers(1, 20), min_size=4, max_size=4)))
    seconds = st.integers(0, 90)
    critical = {"critical_enter": high, "critical_leave": draw(st.sampled_from([mid_low, mid_high]))}
    return Limits(
        warning_enter=mid_low, warning_leave=low, worse_after=draw(seconds), better_after=draw(seconds),
        **(critical if draw(st.booleans()) else {}),
    )  # fmt: skip


@st.composite
def series(draw: st.DrawFn) -> list[tuple[float, float | None]]:
    steps = draw(st.lists(st.tuples(st.integers(1, 60), st.none() | st.floats(0, 25)), max_size=40))
    when, out = 0.0, []
    for step, value in steps:
        when += step
        out.append((when, value))
    return out


class TestProperties:
    @given(limits(), series())
    def test_changes_are_at_least_the_minimum_duration_apart(
        self, limits: Limits, measured: list[tuple[float, float | None]]
    ) -> None:
        begin = next((when for when, value in measured if value is not None), 0.0)
        for (earlier, before), (later, after) in pairwise([(begin, "ok"), *changes(fold(measured, limits))]):
            worse = STATES.index(after) > STATES.index(before)
            assert later - earlier >= (limits.worse_after if worse else limits.better_after)

    @given(limits(), series())
    def test_a_change_was_asked_for_without_a_break(
        self, limits: Limits, measured: list[tuple[float, float | None]]
    ) -> None:
        """Whoever looks at the measurements alone finds the reason of every change."""
        state = "ok"
        for when, entered in changes(fold(measured, limits)):
            worse = STATES.index(entered) > STATES.index(state)
            lasting = limits.worse_after if worse else limits.better_after
            asked = [(t, level(v, state, limits)) for t, v in measured if v is not None and t <= when]
            run = []
            for t, wanted in reversed(asked):
                if (STATES.index(wanted) > STATES.index(state)) != worse or wanted == state:
                    break
                run.append((t, wanted))
            assert when - run[-1][0] >= lasting
            state = entered

    @given(st.floats(0.1, 20), st.floats(0.1, 20), st.lists(st.floats(0, 0.999), min_size=1, max_size=40))
    def test_what_swings_between_the_limits_changes_nothing(
        self, leave: float, width: float, parts: list[float]
    ) -> None:
        limits = Limits(warning_enter=leave + width, warning_leave=leave)
        calm, alarmed = Health(), Health(state="warning", changes=1, changed_at=at(0), checked_at=at(0))
        for i, part in enumerate(parts, 1):
            calm = observe(calm, at(30.0 * i), leave + width * part, limits)
            alarmed = observe(alarmed, at(30.0 * i), leave + width * part, limits)
        assert (calm.state, calm.changes) == ("ok", 0)
        assert (alarmed.state, alarmed.changes) == ("warning", 1)

    @given(limits(), series(), st.integers(0, 40))
    def test_a_replay_of_what_was_seen_changes_nothing(
        self, limits: Limits, measured: list[tuple[float, float | None]], upto: int
    ) -> None:
        once = fold(measured, limits)
        again = fold([*measured[:upto], *measured[: max(0, upto - 3)], *measured[upto:]], limits)
        assert changes(again) == changes(once)
        if once:
            assert again[-1] == once[-1]

    @given(limits(), st.floats(0, 25))
    def test_what_lasts_is_settled_after_two_changes(self, limits: Limits, value: float) -> None:
        seen = fold([(100.0 * i, value) for i in range(1, 8)], limits)
        assert len(changes(seen)) <= 2
        assert level(value, seen[-1].state, limits) == seen[-1].state


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        pytest.param([(0, 20), (30, 0), (60, 20), (90, 0)], [], id="spikes"),
        pytest.param([(0, 20), (60, 20)], [(60, "critical")], id="lasting"),
        pytest.param([(0, 20), (30, None), (60, 20)], [(60, "critical")], id="no value in between"),
        pytest.param([(0, 8), (30, 20), (60, 20)], [(60, "warning")], id="the mildest of the time"),
        pytest.param(
            [(0, 8), (60, 20), (90, 20), (120, 20), (150, 20)], [(60, "warning"), (150, "critical")],
            id="worse in steps",
        ),
        pytest.param([(0, 20), (60, 20), (61, 5), (300, 1), (361, 1)], [(60, "critical"), (361, "warning")],
                     id="better, as far as it was all the time"),
        pytest.param([(0, 20), (60, 20), (61, 1), (200, 7), (361, 1), (660, 1), (661, 1)],
                     [(60, "critical"), (661, "ok")], id="a relapse begins the time anew"),
    ],
)  # fmt: skip
def test_how_states_change(
    measured: list[tuple[float, float | None]], expected: list[tuple[float, str]]
) -> None:
    assert changes(fold(measured)) == expected


def test_without_times_every_measurement_counts_at_once() -> None:
    quick = Limits(warning_enter=1, warning_leave=0.5)
    assert changes(fold([(0, 1), (1, 0.6), (2, 0.4), (3, 99)], quick)) == [
        (0, "warning"), (2, "ok"), (3, "warning"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"warning_leave": 7}, "warning_leave 7 is above warning_enter 6"),
        ({"critical_leave": 20}, "critical_leave 20 is above critical_enter 14"),
        ({"critical_enter": 5, "critical_leave": 4}, "warning_enter 6 is above critical_enter 5"),
        ({"critical_leave": 2}, "warning_leave 3 is above critical_leave 2"),
        ({"critical_leave": None}, "both of its limits"),
        ({"worse_after": -1}, "not negative"),
    ],
)
def test_limits_that_contradict_each_other_are_refused(wrong: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {
        "warning_enter": 6, "warning_leave": 3, "critical_enter": 14, "critical_leave": 6, **wrong
    }  # fmt: skip
    with pytest.raises(ConfigurationError, match=words):
        Limits(**given)
