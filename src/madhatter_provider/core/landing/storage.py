"""What goes wrong with files, in words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from madhatter_provider.core.errors import StorageError

_FILE = "A part of this path is a file: choose another landing root."
_REMEDIES = {
    errno.ENOSPC: "Free space there, or move the landing root; nothing is published, a retry goes on.",
    errno.EDQUOT: "Raise the quota, or free space there; nothing is published, a retry goes on.",
    errno.EACCES: "Give the worker's user the right to write there.",
    errno.EPERM: "Give the worker's user the right to write there.",
    errno.EROFS: "Mount it writable.",
    errno.ENOTDIR: _FILE,
    errno.EEXIST: _FILE,
}
_REMEDY = "Check that the landing root can be reached and written; a retry goes on."


@contextmanager
def storage_errors(where: str) -> Iterator[None]:
    """Turn ``OSError`` into ours.

    :param where: what was written or read, if the error itself names no file.
    :raises StorageError: the system refused, or did not answer.
    """
    try:
        yield
    except OSError as err:
        what = err.strerror or str(err)
        place = f"{where}, {err.filename}" if err.filename else where
        remedy = _REMEDIES.get(err.errno or 0, _REMEDY)
        raise StorageError(f"Landing files: {what}", where=place, remedy=remedy) from err
