"""The landing root as a URL: file://, gs://, s3:// … through Airflow's ``ObjectStoragePath``."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

from airflow.sdk import ObjectStoragePath

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.landing import Store
from madhatter_provider.core.local_store import LocalStore


class ObjectStore:
    """Store below one object storage prefix. An object appears whole or not at all, so uploading it publishes
    it.

    :param root: URL of the landing root, ``gs://connection@bucket/prefix`` and the like.
    """

    def __init__(self, root: str) -> None:
        self.root = ObjectStoragePath(root)
        self._scratch = tempfile.mkdtemp(prefix="madhatter-")

    def __str__(self) -> str:
        return f"landing root {self.root}"

    def scratch(self) -> str:
        """A new local path."""
        return tempfile.mktemp(dir=self._scratch)

    def publish(self, scratch: str, path: str) -> int:
        """Upload under the final name."""
        size = os.path.getsize(scratch)
        with open(scratch, "rb") as source, (self.root / path).open("wb") as target:
            shutil.copyfileobj(source, target, 8 << 20)
        os.unlink(scratch)
        return size

    def read(self, path: str) -> bytes | None:
        """Content of a small object, ``None`` if there is none."""
        try:
            return bytes((self.root / path).read_bytes())
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """Names of the objects right below a prefix, sorted; none if there are none."""
        try:
            return sorted(entry.name for entry in (self.root / folder).iterdir() if entry.is_file())
        except FileNotFoundError:
            return []

    def open(self, path: str) -> BinaryIO | None:
        """An object of any size, to read from any place of it; ``None`` if there is none."""
        try:
            return cast(BinaryIO, (self.root / path).open("rb"))
        except FileNotFoundError:
            return None

    def write(self, path: str, content: bytes) -> None:
        """Write a small object."""
        (self.root / path).write_bytes(content)


def open_store(root: str) -> Store:
    """The store for a landing root.

    :raises ConfigurationError: ``root`` is not a URL.
    """
    parts = urlsplit(root)
    if not parts.scheme:
        raise ConfigurationError(
            "The landing root is not a URL",
            where=repr(root),
            remedy="Give file:///path, gs://bucket/prefix or s3://bucket/prefix.",
        )
    return LocalStore(unquote(parts.path)) if parts.scheme == "file" else ObjectStore(root)
