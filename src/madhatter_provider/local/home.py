"""Where the local platform keeps its things: one folder, ``.madhatter/``, that may be deleted as a whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from madhatter_provider.core.errors import ConfigurationError

_MARK = Path("include") / "contracts"


@dataclass(frozen=True, slots=True)
class LocalHome:
    """The folders of one local platform. ``root`` is ``.madhatter``, ``project`` holds dags/ and include/."""

    root: Path
    project: Path

    @property
    def cache(self) -> Path:
        """What can be made again but takes time: jars, compiled tools, a migrated database. May be shared."""
        shared = os.environ.get("MADHATTER_CACHE")
        return Path(shared).resolve() if shared else self.root / "cache"

    @property
    def logs(self) -> Path:
        """One log file per service."""
        return self.root / "logs"

    @property
    def data(self) -> Path:
        """What the services keep over a restart."""
        return self.root / "data"

    @property
    def landing(self) -> Path:
        """Root of the landing files."""
        return self.root / "landing"

    @property
    def profiles(self) -> Path:
        """Customers' profiles for the streaming job, made for the traffic's seed."""
        return self.root / "profiles.ndjson"

    @property
    def state_file(self) -> Path:
        """Processes and ports of the running platform."""
        return self.root / "state.json"


def find_project(start: Path | None = None) -> Path:
    """The nearest folder at or above ``start`` (default: the current one) that has ``include/contracts``.

    :raises ConfigurationError: there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / _MARK).is_dir():
            return folder
    raise ConfigurationError(
        f"No folder with {_MARK} here or above",
        where=str(here),
        remedy="Run the command inside a project; `madhatter init FOLDER` makes one.",
    )


def local_home(project: Path | None = None) -> LocalHome:
    """The platform's home: ``MADHATTER_HOME``, else ``<project>/.madhatter``.

    :raises ConfigurationError: there is no project folder.
    """
    folder = find_project(project)
    root = os.environ.get("MADHATTER_HOME")
    return LocalHome(root=Path(root).resolve() if root else folder / ".madhatter", project=folder)


def fill_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder whole or not at all: ``fill`` writes a temporary one, which is then renamed.

    When another process was quicker its folder stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        made = Path(scratch) / folder.name
        made.mkdir()
        fill(made)
        try:
            os.replace(made, folder)
        except OSError:
            if not folder.is_dir():
                raise


def write_atomic(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file so that a reader sees the old text or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
