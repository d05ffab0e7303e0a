"""The dashboards of the configured folder; files that change are read again, and a broken one says so on its
own page.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from madhatter_provider.core.dashboards.definition import Dashboard, load_dashboard
from madhatter_provider.core.errors import ConfigurationError

QUALITY = "quality"
"""This dashboard is part of the page *Quality*, which there is without it too."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A file that cannot be read."""

    name: str
    fault: ConfigurationError


class Dashboards:
    """:param folder: holds the definitions; ``None``: there are none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._read: dict[Path, tuple[int, Dashboard | Broken]] = {}

    def all(self) -> list[Dashboard | Broken]:
        """All of them, in the order of the navigation; broken ones last."""
        files = sorted(self._folder.glob("*.yaml")) if self._folder else []
        found = [self._one(file) for file in files]
        return sorted(found, key=lambda d: (d.order if isinstance(d, Dashboard) else 9999, d.name))

    def find(self, name: str) -> Dashboard | None:
        """One of them.

        :raises ConfigurationError: its file is broken.
        """
        found = next((d for d in self.all() if d.name == name), None)
        if isinstance(found, Broken):
            raise found.fault
        return found

    def _one(self, file: Path) -> Dashboard | Broken:
        changed = file.stat().st_mtime_ns
        known = self._read.get(file)
        if known is None or known[0] != changed:
            try:
                known = changed, load_dashboard(file)
            except ConfigurationError as err:
                known = changed, Broken(file.stem, err)
            self._read[file] = known
        return known[1]
