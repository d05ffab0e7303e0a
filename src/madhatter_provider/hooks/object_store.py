"""The landing root as a URL: file://, gs://, s3:// … through Airflow's ``ObjectStoragePath``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast
from urllib.parse import unquote, urlsplit

from madhatter_provider.core.errors import ConfigurationError, MadHatterError, StorageError
from madhatter_provider.core.landing.local_store import LocalStore
from madhatter_provider.core.landing.manifest import digest

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

# Errors of the stores' client libraries, which are not imported before they are used.
_NO_CREDENTIALS: Final = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "DefaultCredentialsError",
    "RefreshError",
)
_EXTRAS: Final = {"gs": "gcs", "gcs": "gcs", "s3": "s3", "s3a": "s3"}


class ObjectStore:
    """Store below one object storage prefix.

    An object appears whole or not at all: its upload publishes it, and one that is cut off, by a kill too,
    leaves the name as it was. (S3 keeps the parts of a large one, invisible and billed, until a lifecycle
    rule aborts incomplete uploads.)

    :param root: URL of the landing root, ``gs://connection@bucket/prefix`` and the like.
    :raises ConfigurationError: the connection, or the package for this kind of store, is missing.
    """

    def __init__(self, root: str) -> None:
        from airflow.providers.common.compat.sdk import BaseHook
        from airflow.sdk import ObjectStoragePath

        self._url = root
        with self._errors():
            if conn_id := urlsplit(root).username:  # Amazon's provider would go on without it, as anybody
                BaseHook.get_connection(conn_id)
            self.root = ObjectStoragePath(root)
            self._fs: Any = self.root.fs

    def __str__(self) -> str:
        return f"landing root {self._url}"

    @property
    def scratch(self) -> Path:
        """Below the system's folder for temporary files (``TMPDIR`` moves it)."""
        return Path(tempfile.gettempdir()) / f"madhatter-landing-{os.getuid()}"

    def publish(self, scratch: str, path: str) -> int:
        """Upload under the final name; an object of that name is replaced by the same content."""
        size = os.path.getsize(scratch)
        with self._errors(path):
            self._fs.put_file(scratch, self._key(path))
        os.unlink(scratch)
        return size

    def size(self, path: str) -> int | None:
        """Bytes of an object, ``None`` if there is none."""
        with self._errors(path):
            try:
                self._fs.invalidate_cache()
                return int(self._fs.info(self._key(path))["size"])
            except FileNotFoundError:
                return None

    def read(self, path: str) -> bytes | None:
        """Content of a small object, ``None`` if there is none."""
        with self._errors(path):
            try:
                return bytes(self._fs.cat_file(self._key(path)))
            except FileNotFoundError:
                return None

    def names(self, folder: str) -> list[str]:
        """Names of the objects right below a prefix, sorted; none if there are none."""
        with self._errors(folder):
            try:
                self._fs.invalidate_cache()
                found = self._fs.ls(self._key(folder), detail=True)
            except FileNotFoundError:
                return []
        return sorted(entry["name"].rpartition("/")[2] for entry in found if entry["type"] == "file")

    def open(self, path: str) -> BinaryIO | None:
        """An object of any size, to read from any place of it; ``None`` if there is none."""
        with self._errors(path):
            try:
                return cast(BinaryIO, self._fs.open(self._key(path), "rb"))
            except FileNotFoundError:
                return None

    def digest(self, path: str) -> str | None:
        """SHA-256 of an object, which is read whole, a few megabytes at a time; ``None`` if there is none."""
        with self._errors(path):
            try:
                self._fs.invalidate_cache()
                with self._fs.open(self._key(path), "rb") as content:
                    return digest(content)
            except FileNotFoundError:
                return None

    def write(self, path: str, content: bytes) -> None:
        """Write a small object."""
        with self._errors(path):
            self._fs.pipe_file(self._key(path), content)

    def _key(self, path: str) -> str:
        """Bucket and key, as the store's client wants them."""
        target: ObjectStoragePath = self.root / path
        return str(target.path)

    @contextmanager
    def _errors(self, path: str = "") -> Iterator[None]:
        try:
            yield
        except MadHatterError:
            raise
        except Exception as err:
            raise explain(err, self._url, path) from err


def explain(error: Exception, root: str, path: str = "") -> MadHatterError:
    """What an error of a store's client means to a person.

    :param root: URL of the landing root.
    :param path: the object concerned, relative to the root.
    """
    parts = urlsplit(root)
    said = " ".join(str(error).split())[:300] or type(error).__name__
    where = f"landing root {root}, {path}" if path else f"landing root {root}"
    if type(error).__name__ in ("AirflowNotFoundException", "AirflowRuntimeError"):
        return ConfigurationError(
            f"There is no connection {parts.username!r}: {said}",
            where=where,
            remedy="Add it, or name another one: gs://connection@bucket/prefix.",
        )
    if isinstance(error, ImportError) or "not registered" in said or "No filesystem" in said:
        extra = _EXTRAS.get(parts.scheme)
        remedy = f'pip install "airflow-provider-madhatter[{extra}]".' if extra else "Use file, gs or s3."
        return ConfigurationError(
            f"{parts.scheme}:// needs a package that is missing: {said}", where=where, remedy=remedy
        )
    if isinstance(error, FileNotFoundError):
        return ConfigurationError(
            f"The bucket does not exist: {said}", where=where, remedy="Create it, or mend the URL."
        )
    if isinstance(error, PermissionError) or _refused(error, said):
        return ConfigurationError(
            f"The store refuses access: {said}",
            where=where,
            remedy="Check the connection's credentials, and their right to write, read and list there.",
        )
    return StorageError(
        f"Landing files: {said}",
        where=where,
        remedy="Check that the store can be reached; nothing is half published, a retry goes on.",
    )


def _refused(error: Exception, said: str) -> bool:
    status = str(getattr(error, "code", ""))
    named = type(error).__name__ in _NO_CREDENTIALS
    return named or status in ("401", "403") or said.startswith("Forbidden")


def open_store(root: str) -> LocalStore | ObjectStore:
    """The store for a landing root.

    :raises ConfigurationError: ``root`` is not a URL, or its connection or package is missing.
    """
    parts = urlsplit(root)
    if not parts.scheme:
        raise ConfigurationError(
            "The landing root is not a URL",
            where=repr(root),
            remedy="Give file:///path, gs://bucket/prefix or s3://bucket/prefix.",
        )
    return LocalStore(unquote(parts.path)) if parts.scheme == "file" else ObjectStore(root)
