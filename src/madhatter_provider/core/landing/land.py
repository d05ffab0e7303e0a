"""Land a slice: write each offset range's good rows to landing files and its bad rows to quarantine files.

Steps, numbered as in docs/slice-protocol.md, each safe to repeat:

3.1 If the slice's manifest exists and its files are there, the slice is landed: return it.
3.2 Read the messages; per partition, cut them into row groups, and these into files, at places that depend on
    the messages alone, so that the same offsets give the same files.
3.3 Decode, apply the row rules, write good and bad rows to two files under scratch names.
3.4 Publish each file under its final name (atomic) when it is complete; keep its size and its digest.
3.5 When all ranges have ended and the counts add up, write the manifest (atomic).
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.crash_points import reached
from madhatter_provider.core.decoding.decoders import SchemaSource
from madhatter_provider.core.errors import ConservationError
from madhatter_provider.core.landing.batch import Batch
from madhatter_provider.core.landing.files import PARQUET, FileOptions
from madhatter_provider.core.landing.manifest import (
    MANIFEST_VERSION,
    LandedFile,
    LandedRange,
    Manifest,
    digest,
)
from madhatter_provider.core.landing.names import landing_path, manifest_path, quarantine_path
from madhatter_provider.core.landing.range_writer import Written, WrittenFile, write_slice
from madhatter_provider.core.landing.scratch import Scratch, scratch_below
from madhatter_provider.core.landing.storage import storage_errors
from madhatter_provider.core.landing.writing import Writing
from madhatter_provider.core.slices.offsets import Slice

__all__ = ["Batch", "Landing", "Store", "files_amiss", "land", "land_written", "landed_before"]

log = logging.getLogger(__name__)


class Store(Protocol):
    """Where files go. Paths are relative to the landing root."""

    @property
    def scratch(self) -> Path:
        """Local folder for files that are not published yet."""

    def publish(self, scratch: str, path: str) -> int:
        """Make a scratch file visible under its final name, atomically and for good; return its size in
        bytes. The scratch file is gone afterwards.
        """

    def size(self, path: str) -> int | None:
        """Bytes of a published file, ``None`` if there is none."""

    def read(self, path: str) -> bytes | None:
        """Content of a small file, ``None`` if there is none."""

    def names(self, folder: str) -> list[str]:
        """Names of the files of a folder, sorted; none if there is no such folder."""

    def open(self, path: str) -> BinaryIO | None:
        """A file of any size, to read from any place of it; ``None`` if there is none."""

    def digest(self, path: str) -> str | None:
        """SHA-256 of a file of any size, which is read whole; ``None`` if there is none."""

    def write(self, path: str, content: bytes) -> None:
        """Write a small file atomically."""


@dataclass(frozen=True, slots=True)
class Landing:
    """What is landed, for whom, under which contract, where and how."""

    contract: Contract
    owned: Slice
    run_id: str
    store: Store
    options: FileOptions = PARQUET
    schemas: SchemaSource | None = None

    @property
    def writing(self) -> Writing:
        """The part of it that needs no store."""
        return Writing(self.contract, self.owned, self.run_id, self.options, self.schemas)


def landed_before(job: Landing) -> Manifest | None:
    """Step 3.1: the manifest of this slice, if it is landed already.

    A manifest that cannot be read, or is that of another slice, counts for none: landing again mends it.

    :raises ConfigurationError: a later version of this package wrote it.
    """
    path = manifest_path(job.contract.stream, job.owned)
    content = job.store.read(path)
    if content is None:
        return None
    value: Any = None
    try:
        value = json.loads(content)
        manifest = Manifest.from_json(value)
        if manifest.slice == job.owned:
            return manifest
        amiss = f"it is that of {manifest.slice}"
    except (ValueError, TypeError, ConservationError) as err:
        if isinstance(value, dict) and _later(value.get("version")):
            raise
        amiss = str(err)
    log.warning("%s, %s is damaged, so the slice is landed again: %s", job.store, path, amiss)
    return None


def _later(version: Any) -> bool:
    return isinstance(version, int) and version > MANIFEST_VERSION


def files_amiss(job: Landing, manifest: Manifest) -> list[str]:
    """What is wrong with the files that a manifest names: missing, or of another size. Their content is not
    read.
    """
    sizes = [(file, job.store.size(file.path)) for file in manifest.files]
    return [
        f"{file.path} is missing" if size is None else f"{file.path} has {size} bytes, not {file.bytes}"
        for file, size in sizes
        if size != file.bytes
    ]


def land(job: Landing, batches: Iterable[Batch]) -> Manifest:
    """Steps 2 to 5 in this process.

    :param batches: the messages of the slice, in offset order within a partition; exhausted when every range
        has ended.
    :raises StorageError: a file could not be written; what was not published yet is removed.
    """
    return land_written(job, lambda scratch: write_slice(job.writing, batches, scratch))


def land_written(job: Landing, write: Callable[[Scratch], Generator[Written]]) -> Manifest:
    """Steps 4 and 5, for whoever does the steps before.

    :param write: writes the slice to a scratch folder.
    :raises StorageError: as :func:`land`.
    """
    ranges: list[LandedRange] = []
    files: list[LandedFile] = []
    with (
        storage_errors(f"{job.store}, slice {job.owned}"),
        scratch_below(job.store.scratch) as scratch,
        ThreadPoolExecutor(1) as aside,
    ):
        written = write(scratch)
        with contextlib.closing(written):
            for one in written:
                if isinstance(one, WrittenFile):
                    files.append(_publish(job, one, aside))
                else:
                    ranges.append(one)
        manifest = _manifest(job, ranges, files)
        reached("land.before_manifest")
        content = json.dumps(manifest.to_json()).encode()
        job.store.write(manifest_path(job.contract.stream, job.owned), content)
        reached("land.after_manifest")
    return manifest


def _publish(job: Landing, file: WrittenFile, aside: Executor) -> LandedFile:
    """Step 3.4. The digest is made while the disk, or the store, takes the file."""
    stream, topic_id = job.contract.stream, job.owned.topic_id
    if file.quarantine:
        path = quarantine_path(stream, topic_id, file.range)
    else:
        path = landing_path(stream, topic_id, file.range, job.options.suffix)
    with open(file.scratch, "rb") as content:  # it can be read to its end whatever becomes of the name
        sha256 = aside.submit(digest, content)
        reached("land.before_rename")
        size = job.store.publish(file.scratch, path)
        reached("land.after_rename")
        r = file.range
        return LandedFile(
            path, r.partition, r.start, r.end, file.rows, size, file.quarantine, sha256.result()
        )


def _manifest(job: Landing, ranges: list[LandedRange], files: list[LandedFile]) -> Manifest:
    """The manifest, in an order that does not depend on which range ended first."""
    manifest = Manifest(
        job.contract.stream,
        job.owned.topic,
        job.owned.topic_id,
        job.run_id,
        job.contract.version,
        tuple(sorted(ranges, key=lambda r: (r.partition, r.start))),
        tuple(sorted(files, key=lambda f: (f.partition, f.start, f.quarantine))),
    )
    if manifest.slice != job.owned:
        raise ConservationError(
            f"{manifest.slice} was written, not the whole slice",
            where=f"{job.store}, slice {job.owned}",
            remedy="This is a defect of the landing; the run must not go on. Report it.",
        )
    return manifest
