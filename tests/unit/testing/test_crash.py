"""Crash points: reached, not reached, unknown, counted, and by signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from madhatter_provider.core.crash_points import POINTS, reached
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.testing import Crash, crash_at, kill_at

_POINT = "land.after_rename"


def test_names_are_unique_and_say_where() -> None:
    assert len(set(POINTS)) == len(POINTS)
    assert all(point.count(".") == 1 for point in POINTS)


def test_dies_once_at_the_boundary_and_passes_no_except_exception() -> None:
    steps = []

    def task() -> None:
        try:
            reached("land.before_rename")
            steps.append("before")
            reached(_POINT)
        except Exception:
            steps.append("caught")

    with pytest.raises(Crash, match=_POINT), crash_at(_POINT):
        task()
    reached(_POINT)
    assert steps == ["before"]


def test_the_nth_occurrence() -> None:
    with crash_at(_POINT, occurrence=3):
        reached(_POINT)
        reached(_POINT)
        with pytest.raises(Crash):
            reached(_POINT)


def test_a_crash_that_never_came_is_a_failure() -> None:
    with pytest.raises(AssertionError, match=f"{_POINT} was reached 1 times, not 2"), crash_at(_POINT, 2):
        reached(_POINT)


def test_an_unknown_boundary_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="No boundary is named"):
        kill_at("land.nowhere")


def test_kill_is_a_real_sigkill() -> None:
    script = (
        "from madhatter_provider.core.crash_points import reached\n"
        "from madhatter_provider.testing import kill_at\n"
        f"kill_at({_POINT!r})\nreached('land.before_rename')\nprint('alive', flush=True)\n"
        f"reached({_POINT!r})\nprint('still alive')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ, check=False
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "alive\n")
