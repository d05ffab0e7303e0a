"""Files that a replay reads and writes: those of the landing, and its own below ``replay/<id>/``."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any, BinaryIO

from madhatter_provider.core.landing.land import Store


@dataclass(frozen=True, slots=True)
class Below:
    """The part of a store below a folder: what is landed there gets the folder's name before its own."""

    base: Store
    folder: str

    def __str__(self) -> str:
        return f"{self.base}, {self.folder}/"

    @property
    def scratch(self) -> Any:
        """As the whole store's."""
        return self.base.scratch

    def publish(self, scratch: str, path: str) -> int:
        """As :meth:`Store.publish`."""
        return self.base.publish(scratch, f"{self.folder}/{path}")

    def size(self, path: str) -> int | None:
        """As :meth:`Store.size`."""
        return self.base.size(f"{self.folder}/{path}")

    def read(self, path: str) -> bytes | None:
        """As :meth:`Store.read`."""
        return self.base.read(f"{self.folder}/{path}")

    def open(self, path: str) -> BinaryIO | None:
        """As :meth:`Store.open`."""
        return self.base.open(f"{self.folder}/{path}")

    def digest(self, path: str) -> str | None:
        """As :meth:`Store.digest`."""
        return self.base.digest(f"{self.folder}/{path}")

    def names(self, folder: str) -> list[str]:
        """As :meth:`Store.names`."""
        return self.base.names(f"{self.folder}/{folder}")

    def write(self, path: str, content: bytes) -> None:
        """As :meth:`Store.write`."""
        self.base.write(f"{self.folder}/{path}", content)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A Parquet file below the landing root, as it is there now."""

    path: str
    rows: int
    bytes: int


def look_at(store: Store, path: str) -> StoredFile | None:
    """A Parquet file's rows and size; ``None`` if it is not there or is no Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = store.open(path)
    if file is None:
        return None
    with closing(file):
        try:
            rows = pq.ParquetFile(file).metadata.num_rows
        except pa.ArrowInvalid:
            return None
        return StoredFile(path, rows, file.seek(0, 2))
