"""What a landing produced. The manifest is written last: where it exists, the slice is landed, and every
retry uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from madhatter_provider.core.errors import ConfigurationError, ConservationError
from madhatter_provider.core.slices.offsets import OffsetRange, Slice

MANIFEST_VERSION = 1


@dataclass(frozen=True, slots=True)
class LandedFile:
    """One immutable file: the good or the quarantined rows of one offset range.

    ``path`` is relative to the landing root; ``bytes`` is its size; event times are ISO-8601 in UTC.
    """

    path: str
    partition: int
    start: int
    end: int
    rows: int
    bytes: int
    quarantine: bool = False


@dataclass(frozen=True, slots=True)
class LandedRange:
    """Counts of one offset range. ``read = landed + quarantined + filtered`` or it raises.

    :raises ConservationError: the counts do not add up.
    """

    partition: int
    start: int
    end: int
    read: int
    landed: int
    quarantined: int
    filtered: int = 0
    min_event_time: str | None = None
    max_event_time: str | None = None

    def __post_init__(self) -> None:
        if self.read != self.landed + self.quarantined + self.filtered:
            raise ConservationError(
                f"{self.read} messages read, but {self.landed} landed + {self.quarantined} quarantined "
                f"+ {self.filtered} filtered",
                where=f"partition {self.partition} [{self.start}, {self.end})",
                remedy="This is a defect of the landing; the run must not go on. Report it.",
            )


@dataclass(frozen=True, slots=True)
class Manifest:
    """All files and counts of one landed slice."""

    stream: str
    topic: str
    topic_id: str
    run_id: str
    contract_version: str
    ranges: tuple[LandedRange, ...] = ()
    files: tuple[LandedFile, ...] = ()
    version: int = field(default=MANIFEST_VERSION)

    @property
    def slice(self) -> Slice:
        """The slice that was landed."""
        return Slice(
            self.topic, self.topic_id, tuple(OffsetRange(r.partition, r.start, r.end) for r in self.ranges)
        )

    @property
    def read(self) -> int:
        """Messages read."""
        return sum(r.read for r in self.ranges)

    @property
    def landed(self) -> int:
        """Rows in landing files."""
        return sum(r.landed for r in self.ranges)

    @property
    def quarantined(self) -> int:
        """Rows in quarantine files."""
        return sum(r.quarantined for r in self.ranges)

    def to_json(self) -> dict[str, Any]:
        """A JSON value."""
        return asdict(self) | {
            "ranges": [asdict(r) for r in self.ranges],
            "files": [asdict(f) for f in self.files],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Manifest:
        """Read what :meth:`to_json` wrote.

        :raises ConfigurationError: the value is not a manifest of this version.
        """
        try:
            if value["version"] != MANIFEST_VERSION:
                raise ConfigurationError(
                    f"Manifest of version {value['version']}", remedy="Update the provider."
                )
            ranges = tuple(LandedRange(**r) for r in value["ranges"])
            files = tuple(LandedFile(**f) for f in value["files"])
            return cls(**{**value, "ranges": ranges, "files": files})
        except (KeyError, TypeError) as err:
            raise ConfigurationError(
                f"Not a manifest: {str(value)[:200]!r}", remedy="Pass the landing's result."
            ) from err

    @classmethod
    def merge(cls, parts: list[Manifest]) -> Manifest:
        """One manifest of several landings of the same stream and topic epoch."""
        first = parts[0]
        return Manifest(
            first.stream,
            first.topic,
            first.topic_id,
            first.run_id,
            first.contract_version,
            tuple(r for m in parts for r in m.ranges),
            tuple(f for m in parts for f in m.files),
        )
