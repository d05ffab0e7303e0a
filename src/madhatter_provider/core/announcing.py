"""When a watcher announces work: pure decisions over observed end offsets and a clock.

* ``new``: at least ``min_messages`` arrived since the last announcement, or the first of fewer has waited
  ``max_wait``.
* ``again``: what was announced is still not claimed after ``reannounce_after``; each repetition waits twice
  as long, at most sixteen times. So an event that Airflow lost is replaced, and a DAG that stays away is not
  pestered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

MAX_PATIENCE = 16


class Announcer:
    """State of one watcher. All times are seconds of one monotonic clock.

    :param position: what is claimed already, ``None`` if nothing ever was.
    """

    def __init__(
        self,
        min_messages: int,
        max_wait: float,
        reannounce_after: float,
        position: Mapping[int, int] | None = None,
    ) -> None:
        self.min_messages, self.max_wait, self.reannounce_after = min_messages, max_wait, reannounce_after
        self._announced: dict[int, int] = dict(position or {})
        self._first_at: float | None = None
        self._announced_at: float | None = None
        self._patience = 1
        self._unclaimed = False
        self._position = position
        self._advancing = False

    def observe(self, ends: Mapping[int, int], now: float) -> Literal["new", "again"] | None:
        """Look at the topic's ends; say whether to announce, and why."""
        fresh = sum(_grown(self._announced.get(p, 0), end) for p, end in ends.items())
        if fresh and self._first_at is None:
            self._first_at = now
        if fresh >= self.min_messages or (
            self._first_at is not None and fresh and now - self._first_at >= self.max_wait
        ):
            self._announce(ends, now)
            self._patience = 1
            return "new"
        if self._unclaimed:
            self._unclaimed = False
            self._announced_at = now
            self._patience = 1 if self._advancing else min(2 * self._patience, MAX_PATIENCE)
            return "again"
        return None

    def must_check(self, now: float) -> bool:
        """Is it time to compare the position with what was announced?"""
        return self._announced_at is not None and now - self._announced_at >= self._interval

    def checked(self, position: Mapping[int, int] | None, now: float) -> None:
        """Take in the position: settled, or still unclaimed."""
        self._advancing = None not in (position, self._position) and position != self._position
        self._position = position
        behind = position is None or any(position.get(p, 0) < end for p, end in self._announced.items())
        self._unclaimed = behind
        self._announced_at = now if behind else None

    def wait_seconds(self, now: float) -> float | None:
        """Seconds until something is due even if the topic does not change; ``None``: nothing is."""
        due = []
        if self._first_at is not None:
            due.append(self._first_at + self.max_wait)
        if self._announced_at is not None:
            due.append(self._announced_at + self._interval)
        return max(0.0, min(due) - now) if due else None

    @property
    def _interval(self) -> float:
        """Seconds from an announcement to the next look at the position."""
        if self._advancing:
            return min(self.max_wait, self.reannounce_after)
        return self.reannounce_after * self._patience

    def _announce(self, ends: Mapping[int, int], now: float) -> None:
        self._announced = {**self._announced, **ends}
        self._first_at, self._announced_at, self._unclaimed = None, now, False


def _grown(before: int, end: int) -> int:
    """New offsets of a partition. An end that went back is a topic created again: all of it is new."""
    return end - before if end >= before else end
