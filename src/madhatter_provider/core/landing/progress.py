"""How far a landing is, said every few seconds and not for every batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from madhatter_provider.core.landing.batch import Batch

EVERY_SECONDS = 10.0


class Progress:
    """Counts messages and says rate, share and time left.

    :param offsets: offsets of the slice. It may hold fewer messages, so the share is a lower bound.
    :param say: takes a line.
    :param clock: seconds, for tests.
    """

    def __init__(
        self, offsets: int, say: Callable[[str], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._offsets, self._say, self._clock = offsets, say, clock
        self._began = self._said = clock()
        self.messages = self.bytes = 0

    def add(self, messages: int, size: int) -> None:
        """Count messages of so many bytes."""
        self.messages += messages
        self.bytes += size
        now = self._clock()
        if now - self._said >= EVERY_SECONDS:
            self._said = now
            self._say(self.line(now - self._began))

    def line(self, seconds: float) -> str:
        """Where it stands after so many seconds."""
        rate = self.messages / seconds if seconds else 0.0
        share = self.messages / self._offsets if self._offsets else 1.0
        left = (self._offsets - self.messages) / rate if rate else 0.0
        return (
            f"{self.messages:,} of {self._offsets:,} messages ({share:.0%}), "
            f"{self.bytes / 1e6:,.0f} MB, {rate:,.0f} messages/s, {left:,.0f} s left"
        )

    def watch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Count batches on their way."""
        for batch in batches:
            self.add(len(batch), batch.size)
            yield batch
