"""State of one check of one subject, as a fold over its measurements. Pure.

The rules, so that a state neither flaps nor depends on how often anybody looked:

1. Higher is worse. A state is entered at its ``enter`` limit and left below its ``leave`` limit; between the
   two the state stays what it is.
2. A change must last: the measurements must ask for it without a break for ``worse_after`` (or
   ``better_after``) seconds. What is entered then is the mildest change asked for all that time.
3. A measurement that is not newer than the last one changes nothing: a retry or a replay repeats nothing.
   One without a value changes nothing either.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from madhatter_provider.core.errors import ConfigurationError

OK, WARNING, CRITICAL = STATES = ("ok", "warning", "critical")
_RANK: Final = {state: rank for rank, state in enumerate(STATES)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a check changes its state.

    :param critical_enter: ``None``: the check knows no critical state.
    :param worse_after: seconds that a worse state must be asked for.
    :param better_after: seconds that a better state must be asked for.
    :raises ConfigurationError: a ``leave`` limit is above its ``enter`` limit, ``critical`` is below
        ``warning``, or a time is negative.
    """

    warning_enter: float
    warning_leave: float
    critical_enter: float | None = None
    critical_leave: float | None = None
    worse_after: float = 0.0
    better_after: float = 0.0

    def __post_init__(self) -> None:
        if (self.critical_enter is None) != (self.critical_leave is None):
            raise self._wrong("critical needs both of its limits, or none")
        pairs = [
            ("warning_leave", "warning_enter"),
            ("critical_leave", "critical_enter"),
            ("warning_enter", "critical_enter"),
            ("warning_leave", "critical_leave"),
        ]
        for lower, higher in pairs:
            low, high = getattr(self, lower), getattr(self, higher)
            if low is not None and high is not None and low > high:
                raise self._wrong(f"{lower} {low:g} is above {higher} {high:g}")
        if self.worse_after < 0 or self.better_after < 0:
            raise self._wrong("worse_after and better_after are seconds, and not negative")

    @staticmethod
    def _wrong(what: str) -> ConfigurationError:
        return ConfigurationError(
            f"Limits of a check: {what}", where="OPS.CHECKS", remedy="Correct the setting in OPS.SETTINGS."
        )

    def of(self, state: str) -> float | None:
        """The limit that matters: of the state itself, or for ``ok`` of the first that is worse."""
        return self.critical_enter if state == CRITICAL else self.warning_enter


@dataclass(frozen=True, slots=True)
class Health:
    """A state, what is about to follow, and how often it has changed.

    ``pending_state``: asked for since ``pending_since``. ``checked_at``: time of the newest measurement.
    """

    state: str = OK
    pending_state: str | None = None
    pending_since: datetime | None = None
    changes: int = 0
    changed_at: datetime | None = None
    checked_at: datetime | None = None


def level(measured: float, state: str, limits: Limits) -> str:
    """The state that a measurement asks for, seen from the present one."""
    if _beyond(measured, limits.critical_enter, limits.critical_leave, stays=state == CRITICAL):
        return CRITICAL
    if _beyond(measured, limits.warning_enter, limits.warning_leave, stays=state != OK):
        return WARNING
    return OK


def _beyond(measured: float, enter: float | None, leave: float | None, *, stays: bool) -> bool:
    limit = leave if stays else enter
    return limit is not None and measured >= limit


def _is_worse(state: str, than: str) -> bool:
    return _RANK[state] > _RANK[than]


def observe(before: Health, at: datetime, measured: float | None, limits: Limits) -> Health:
    """The state after one more measurement."""
    if measured is None or (before.checked_at is not None and at <= before.checked_at):
        return before
    now = dataclasses.replace(before, checked_at=at)
    wanted = level(measured, before.state, limits)
    if wanted == before.state:
        return dataclasses.replace(now, pending_state=None, pending_since=None)
    worse = _is_worse(wanted, before.state)
    since, pending = at, wanted
    if before.pending_state is not None and _is_worse(before.pending_state, before.state) == worse:
        since = before.pending_since or at
        mildest = min if worse else max
        pending = mildest(wanted, before.pending_state, key=_RANK.__getitem__)
    if at - since < timedelta(seconds=limits.worse_after if worse else limits.better_after):
        return dataclasses.replace(now, pending_state=pending, pending_since=since)
    return Health(state=pending, changes=before.changes + 1, changed_at=at, checked_at=at)
