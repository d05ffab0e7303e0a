"""What goes wrong again and again until it is over: said once, and tried ever more slowly."""

from __future__ import annotations

import logging
import random

log = logging.getLogger(__name__)

FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 1.0, 30.0
COMPLAIN_SECONDS = 60.0


def backoff(failures: int) -> float:
    """Seconds to wait after so many failures in a row: twice as long each time, with jitter."""
    longest = min(MAX_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** min(failures - 1, 10))
    return random.uniform(longest / 2, longest)


class Incident:
    """One line in the log when something begins to go wrong or goes wrong in another way, repeated once a
    minute; and the pause before the next try.

    ``error`` is what goes wrong now, ``pause`` is in seconds. ``unsaid`` tells that there is a line to write.

    :param what: begins the line; ``None``: somebody else writes it, and resets ``unsaid``.
    """

    def __init__(self, what: str | None = None) -> None:
        self._what = what
        self.error: str | None = None
        self.pause = 0.0
        self.unsaid = False
        self._failures = 0
        self._said_at = 0.0

    def complain(self, error: str, now: float) -> None:
        """It has gone wrong again."""
        self._failures += 1
        self.pause = backoff(self._failures)
        if self.error != error or now - self._said_at > COMPLAIN_SECONDS:
            self._said_at, self.unsaid = now, True
        self.error = error
        if self._what and self.unsaid:
            log.warning("%s (still trying): %s", self._what, error)
            self.unsaid = False

    def over(self) -> None:
        """It works."""
        self.unsaid = self.error is not None
        self.error, self.pause, self._failures = None, 0.0, 0
        if self._what and self.unsaid:
            log.info("%s: over", self._what)
            self.unsaid = False
