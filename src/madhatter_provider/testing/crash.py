"""Let a process die at a named boundary between two steps (:mod:`madhatter_provider.core.crash_points`)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from madhatter_provider.core.crash_points import POINTS, listen
from madhatter_provider.core.errors import ConfigurationError


class Crash(BaseException):
    """Stands for the end of the process: no ``except Exception`` catches it."""


@contextmanager
def crash_at(point: str, occurrence: int = 1) -> Iterator[None]:
    """Raise :class:`Crash` in this process when the boundary is reached; once.

    A task that runs under ``dag.test()`` fails by it; one that a test executes by itself lets it pass.

    :param point: one of ``core.crash_points.POINTS``.
    :param occurrence: which time that it is reached, from 1.
    :raises AssertionError: the block ended without reaching the boundary: a crash that never came proves
        nothing.
    :raises ConfigurationError: there is no such boundary.
    """

    def die() -> None:
        raise Crash(point)

    left = _arm(point, occurrence, die)
    try:
        yield
    finally:
        listen(None)
    if left():
        raise AssertionError(f"{point} was reached {occurrence - left()} times, not {occurrence}")


def kill_at(point: str, occurrence: int = 1) -> None:
    """End this process by SIGKILL when the boundary is reached. For the child process of a test.

    :raises ConfigurationError: there is no such boundary.
    """
    _arm(point, occurrence, lambda: os.kill(os.getpid(), signal.SIGKILL))


def _arm(point: str, occurrence: int, die: Callable[[], None]) -> Callable[[], int]:
    """Listen for the boundary; gives back how often it must still be reached."""
    if point not in POINTS:
        raise ConfigurationError(
            f"No boundary is named {point!r}", where="crash_at", remedy=f"Use one of {', '.join(POINTS)}."
        )
    left = occurrence

    def on_reached(name: str) -> None:
        nonlocal left
        if name == point and left:
            left -= 1
            if not left:
                die()

    listen(on_reached)
    return lambda: left
