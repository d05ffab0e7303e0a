"""Local files that are not published yet."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

_ABANDONED_SECONDS = 24 * 3600.0


class Scratch:
    """A folder for the files of one landing. Picklable."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def file(self) -> str:
        """A new path in it."""
        return os.path.join(self.folder, uuid.uuid4().hex)


@contextlib.contextmanager
def scratch_below(parent: Path) -> Iterator[Scratch]:
    """A new folder that is gone, with what is in it, when the block ends.

    A task that was killed leaves its folder behind: those that nobody has written to for a day are removed.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(parent)
    folder = parent / uuid.uuid4().hex
    folder.mkdir()
    try:
        yield Scratch(str(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    for entry in parent.iterdir():
        # Another task may be removing it at the same time.
        with contextlib.suppress(OSError):
            times = [entry.stat().st_mtime, *(file.stat().st_mtime for file in entry.glob("*"))]
            if time.time() - max(times) > _ABANDONED_SECONDS:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
