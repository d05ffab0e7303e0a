"""Positions in many partitions at once, as a restriction of one splittable DoFn."""

from __future__ import annotations

import json
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker

# topic and partition to the offset that is read next
Positions = dict[tuple[str, int], int]


@dataclass(frozen=True)
class Restriction:
    """Everything from ``positions`` on; nothing if ``closed``."""

    positions: Positions
    closed: bool = False

    def encode(self) -> bytes:
        """Stable bytes: JSON."""
        rows = sorted((topic, partition, offset) for (topic, partition), offset in self.positions.items())
        return json.dumps([self.closed, rows]).encode()

    @classmethod
    def decode(cls, data: bytes) -> Restriction:
        """The reverse of :meth:`encode`."""
        closed, rows = json.loads(data)
        return cls({(topic, partition): offset for topic, partition, offset in rows}, closed)


class RestrictionCoder(beam.coders.Coder):
    """JSON; deterministic."""

    def encode(self, value: Restriction) -> bytes:
        return value.encode()

    def decode(self, encoded: bytes) -> Restriction:
        return Restriction.decode(encoded)

    def is_deterministic(self) -> bool:
        return True


class PositionsTracker(RestrictionTracker):
    """Claims messages of a vector of partitions. It can be cut at the positions read so far, nowhere else."""

    CLOSE = None

    def __init__(self, restriction: Restriction) -> None:
        self._restriction = restriction
        self._next = dict(restriction.positions)
        self._cut = False

    def current_restriction(self) -> Restriction:
        return self._restriction

    def current_progress(self) -> RestrictionProgress:
        return RestrictionProgress(fraction=0.5)

    def try_claim(self, position: tuple[str, int, int] | None) -> bool:
        """Claim (topic, partition, offset), or with :attr:`CLOSE` the end of all reading."""
        if self._cut or self._restriction.closed:
            return False
        if position is None:
            self._restriction = Restriction(self._next, closed=True)
            return True
        self._next[position[0], position[1]] = position[2] + 1
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[Restriction, Restriction] | None:
        if fraction_of_remainder or self._cut or self._restriction.closed:
            return None
        self._cut = True
        self._restriction = Restriction(self._restriction.positions, closed=True)
        return self._restriction, Restriction(dict(self._next))

    def check_done(self) -> bool:
        if not self._restriction.closed:
            raise ValueError("the reader stopped without deferring the rest")
        return True

    def is_bounded(self) -> bool:
        return False
