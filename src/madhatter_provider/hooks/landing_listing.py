"""What is below a landing root, for audits: names, sizes, ages, manifests and, if wanted, contents."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from madhatter_provider.core.audit.model import LandingFiles, SeenFile
from madhatter_provider.core.errors import ConfigurationError, StorageError
from madhatter_provider.core.landing.land import Store
from madhatter_provider.core.landing.manifest import LandedFile, Manifest
from madhatter_provider.core.landing.storage import storage_errors
from madhatter_provider.core.replay.store import look_at
from madhatter_provider.hooks.object_store import explain, open_store

_READERS: Final = 16
_TIMES: Final = ("mtime", "LastModified", "last_modified", "updated", "created")


def list_landing(root: str, stream: str, newer_than: float = 0.0, *, contents: bool = False) -> LandingFiles:
    """Files, manifests and scratch files of a stream. Files whose size is not that of their manifest are
    looked into.

    Manifests are listed first: all files that they name were published before.

    :param root: URL of the landing root.
    :param newer_than: leave out what was written before, seconds since the epoch.
    :param contents: read the files whole whose digest was kept when they were landed.
    :raises StorageError: the root is not there, or does not answer.
    :raises ConfigurationError: it is no URL.
    """
    local = _local(root)
    if local is not None and not local.is_dir():
        raise StorageError(
            "There is no landing root",
            where=root,
            remedy="Give the URL that the landing DAG uses, on a machine that reaches it.",
        )
    store = open_store(root)
    began = time.monotonic()
    with storage_errors(f"landing root {root}"):
        found = [f.path for f in _files(root, f"_manifests/{stream}", newer_than)]
        files = {
            f.path: f for folder in (stream, f"quarantine/{stream}") for f in _files(root, folder, newer_than)
        }
        with ThreadPoolExecutor(_READERS) as pool:
            manifests = dict(
                zip(found, pool.map(lambda path: _manifest(store.read(path)), found), strict=True)
            )
            named = [f for manifest in manifests.values() if manifest for f in manifest.files]
            digests = _digests(store, pool, files, named) if contents else None
        scratch = tuple(_files(root, ".scratch", 0.0)) if local is not None else ()
        rows = {f.path: _rows(store, f.path) for f in named if _has_size(files, f) is False}
    return LandingFiles(files, manifests, scratch, rows, digests, began)


def remove_scratch(root: str, older_than: float) -> int:
    """Remove unpublished files below a local landing root that nobody has written to for so many seconds.

    :returns: how many.
    """
    local, removed = _local(root), 0
    for file in _files(root, ".scratch", 0.0) if local is not None else ():
        if file.age > older_than and local is not None:
            (local / file.path).unlink(missing_ok=True)
            removed += 1
    return removed


def _local(root: str) -> Path | None:
    parts = urlsplit(root)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _files(root: str, folder: str, newer_than: float) -> Iterator[SeenFile]:
    now = time.time()
    for path, size, written in _listed(root, folder):
        if written >= newer_than:
            yield SeenFile(path, size, now - written)


def _listed(root: str, folder: str) -> Iterator[tuple[str, int, float]]:
    """Path below the root, bytes, and time of every file below a folder."""
    local = _local(root)
    if local is not None:
        for file in sorted((local / folder).rglob("*")):
            if file.is_file():
                found = file.stat()
                yield file.relative_to(local).as_posix(), found.st_size, found.st_mtime
        return
    try:
        yield from _listed_objects(root, folder)
    except Exception as err:  # the stores' client libraries have errors of their own
        raise explain(err, root, folder) from err


def _listed_objects(root: str, folder: str) -> Iterator[tuple[str, int, float]]:
    from airflow.sdk import ObjectStoragePath

    base = ObjectStoragePath(root)
    top = base.path.rstrip("/")
    base.fs.invalidate_cache()
    found = base.fs.find(f"{top}/{folder}", detail=True)
    if not found:
        base.fs.ls(top.partition("/")[0])  # no such bucket is an error here, where an empty folder is none
    for name, info in sorted(found.items()):
        yield name[len(top) :].lstrip("/"), int(info.get("size") or 0), _written(info)


def _written(info: Mapping[str, Any]) -> float:
    """When an object was written; now, if its store does not say."""
    value = next((info[name] for name in _TIMES if info.get(name)), None)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value.timestamp()
    return time.time() if value is None else float(value)


def _manifest(content: bytes | None) -> Manifest | None:
    try:
        return Manifest.from_json(json.loads(content or b""))
    except (ValueError, TypeError, AttributeError, ConfigurationError):
        return None


def _has_size(files: Mapping[str, SeenFile], file: LandedFile) -> bool | None:
    """Whether a file has the size that its manifest says; ``None`` if it is not there."""
    seen = files.get(file.path)
    return None if seen is None else seen.bytes == file.bytes


def _digests(
    store: Store, pool: ThreadPoolExecutor, files: Mapping[str, SeenFile], named: Iterable[LandedFile]
) -> dict[str, str]:
    """Digests of the files that are there and have one to compare with. Another size says enough."""
    paths = [f.path for f in named if f.sha256 and _has_size(files, f)]
    found = zip(paths, pool.map(store.digest, paths), strict=True)
    return {path: sha256 for path, sha256 in found if sha256 is not None}  # gone meanwhile


def _rows(store: Store, path: str) -> int | None:
    found = look_at(store, path)
    return None if found is None else found.rows
