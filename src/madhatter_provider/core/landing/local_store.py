"""A landing root on a local or mounted file system. Files are flushed to disk before they get their final
name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from madhatter_provider.core.landing.manifest import digest
from madhatter_provider.core.landing.scratch import Scratch
from madhatter_provider.core.landing.storage import storage_errors


class LocalStore:
    """Store below one directory.

    :param root: the landing root; made if it is missing.
    :raises StorageError: it cannot be made.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.scratch = self.root / ".scratch"  # on the same file system, so that publishing is a rename
        with storage_errors(str(self)):
            self.scratch.mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return f"landing root {self.root}"

    def publish(self, scratch: str, path: str) -> int:
        """Rename to the final name; a file of that name is replaced by the same content."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(scratch, "rb") as file:
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
        os.replace(scratch, target)
        _flush_name(target.parent)
        return size

    def size(self, path: str) -> int | None:
        """Bytes of a published file, ``None`` if there is none."""
        try:
            return (self.root / path).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, path: str) -> bytes | None:
        """Content of a small file, ``None`` if there is none."""
        try:
            return (self.root / path).read_bytes()
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """Names of the files of a folder, sorted; none if there is no such folder."""
        try:
            return sorted(entry.name for entry in os.scandir(self.root / folder) if entry.is_file())
        except FileNotFoundError:
            return []

    def open(self, path: str) -> BinaryIO | None:
        """A file of any size, to read from any place of it; ``None`` if there is none."""
        try:
            return (self.root / path).open("rb")
        except FileNotFoundError:
            return None

    def digest(self, path: str) -> str | None:
        """SHA-256 of a file, which is read whole; ``None`` if there is none."""
        try:
            with (self.root / path).open("rb") as file:
                return digest(file)
        except FileNotFoundError:
            return None

    def write(self, path: str, content: bytes) -> None:
        """Write a small file atomically."""
        scratch = Path(Scratch(str(self.scratch)).file())
        try:
            scratch.write_bytes(content)
            self.publish(str(scratch), path)
        finally:
            scratch.unlink(missing_ok=True)


def _flush_name(folder: Path) -> None:
    """A new name outlives a power cut only once its folder is on the disk too."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
