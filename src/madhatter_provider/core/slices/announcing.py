"""When a watcher announces work: pure decisions over observed end offsets and a clock.

* ``new``: at least ``min_messages`` arrived since the last announcement, or the first of fewer has waited
  ``max_wait``.
* ``again``: what was announced is still not claimed after ``reannounce_after``; each repetition waits twice
  as long, at most sixteen times. So an event that Airflow lost is replaced, and a DAG that stays away is not
  pestered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from madhatter_provider.core.slices.claims import ClaimRecord

MAX_PATIENCE = 16

Position = Mapping[int, int] | None


class Announcer:
    """State of one watcher. All times are seconds of one monotonic clock.

    Before :meth:`begin` it announces nothing.
    """

    def __init__(self, min_messages: int, max_wait: float, reannounce_after: float) -> None:
        self.min_messages, self.max_wait, self.reannounce_after = min_messages, max_wait, reannounce_after
        self.epoch: str | None = None
        self._forget()

    def _forget(self) -> None:
        self._announced: dict[int, int] = {}
        self._first_at: float | None = None
        self._announced_at: float | None = None
        self._patience = 1
        self._unclaimed = self._advancing = False
        self._position: Position = None

    def begin(self, epoch: str, position: Position) -> None:
        """Start, or start over: the topic was created again, and its offsets have nothing to do with before.

        :param epoch: the topic's id.
        :param position: what is claimed of this epoch already; ``None`` if nothing ever was.
        """
        self._forget()
        self.epoch, self._position, self._announced = epoch, position, dict(position or {})

    def observe(self, ends: Mapping[int, int], now: float) -> Literal["new", "again"] | None:
        """Look at the topic's ends; say whether to announce, and why."""
        if self.epoch is None:
            return None
        fresh = sum(_grown(self._announced.get(p, 0), end) for p, end in ends.items())
        if not fresh:
            self._first_at = None
        elif self._first_at is None:
            self._first_at = now
        if fresh >= self.min_messages or self._waited(now):
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
        """Is it time to compare the position with what was announced?

        Also before a few messages are announced because they have waited: the run that was announced before
        them may have claimed them too.
        """
        if self._announced_at is None:
            return False
        return now >= self._announced_at + self._interval or self._waited(now)

    def checked(self, position: Position, now: float) -> None:
        """Take in the position: settled, or still unclaimed."""
        self._advancing = None not in (position, self._position) and position != self._position
        self._position = position
        reached = position or {}
        behind = position is None or any(reached.get(p, 0) < end for p, end in self._announced.items())
        self._announced = {
            p: max(self._announced.get(p, 0), o) for p, o in {**self._announced, **reached}.items()
        }
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

    def _waited(self, now: float) -> bool:
        """Has the first unannounced message waited long enough?"""
        return self._first_at is not None and now >= self._first_at + self.max_wait

    @property
    def _interval(self) -> float:
        """Seconds from an announcement to the next look at the position."""
        if self._advancing:
            return min(self.max_wait, self.reannounce_after)
        return self.reannounce_after * self._patience

    def _announce(self, ends: Mapping[int, int], now: float) -> None:
        self._announced = {**self._announced, **ends}
        self._first_at, self._announced_at, self._unclaimed = None, now, False


def claimed_by_all(records: Iterable[ClaimRecord | None], epoch: str) -> Position:
    """The position that every DAG has reached in an epoch of the topic; ``None`` while no DAG has a record.

    A DAG whose record is of another epoch has claimed nothing of this one.
    """
    known = [r for r in records if r is not None]
    if not known:
        return None
    positions = [r.position if r.topic_id == epoch else {} for r in known]
    partitions = {p for position in positions for p in position}
    return {p: min(position.get(p, 0) for position in positions) for p in partitions}


def _grown(before: int, end: int) -> int:
    """New offsets of a partition. An end that went back is a log cut off and written anew: all of it is
    new.
    """
    return end - before if end >= before else end
