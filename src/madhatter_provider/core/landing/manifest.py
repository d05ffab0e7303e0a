"""What a landing produced. The manifest is written last: where it exists, the slice is landed, and every
retry uses it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, BinaryIO, Final

from madhatter_provider.core.errors import ConfigurationError, ConservationError
from madhatter_provider.core.slices.offsets import OffsetRange, Slice

MANIFEST_VERSION = 1
"""Raised only when a reader that leaves out what it does not know would go wrong."""


_PIECE: Final = 1 << 20


def digest(content: BinaryIO) -> str:
    """SHA-256 of what is left to read of a file, in hexadecimal digits. It is read piece by piece."""
    found = hashlib.sha256()
    while piece := content.read(_PIECE):
        found.update(piece)
    return found.hexdigest()


def _known(kind: type, value: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass; a later version may have written others."""
    names = {f.name for f in fields(kind)}
    return {name: item for name, item in value.items() if name in names}


@dataclass(frozen=True, slots=True)
class LandedFile:
    """One immutable file: the good or the quarantined rows of one offset range.

    :param path: relative to the landing root.
    :param bytes: its size.
    :param sha256: :func:`digest` of it; ``None``: it was landed before digests were kept.
    """

    path: str
    partition: int
    start: int
    end: int
    rows: int
    bytes: int
    quarantine: bool = False
    sha256: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON value."""
        return {name: item for name, item in asdict(self).items() if item is not None}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LandedFile:
        """Read what :meth:`to_json` wrote.

        :raises TypeError: something is missing.
        """
        return cls(**_known(cls, value))


@dataclass(frozen=True, slots=True)
class LandedRange:
    """Counts of one offset range. ``read = landed + quarantined + filtered`` or it raises. Event times are
    ISO-8601 in UTC.

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
            "files": [f.to_json() for f in self.files],
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
            ranges = tuple(LandedRange(**_known(LandedRange, r)) for r in value["ranges"])
            files = tuple(LandedFile.from_json(f) for f in value["files"])
            return cls(**{**_known(cls, value), "ranges": ranges, "files": files})
        except (AttributeError, KeyError, TypeError) as err:
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


def slices_of(landed: Iterable[Manifest]) -> list[Slice]:
    """What several landings landed together: one slice for each topic epoch."""
    found: dict[tuple[str, str], Slice] = {}
    for owned in (m.slice for m in landed):
        epoch = owned.topic, owned.topic_id
        found[epoch] = found[epoch] | owned if epoch in found else owned
    return list(found.values())
