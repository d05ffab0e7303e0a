"""The files that a new project begins with."""

from __future__ import annotations

from pathlib import Path

_SOURCE = Path(__file__).parent / "starter"
# Under this name it would be at work here.
_RENAMED = {"gitignore": ".gitignore"}


def starter_files() -> dict[str, bytes]:
    """Content by path, relative to the project."""
    found = (
        file for file in sorted(_SOURCE.rglob("*")) if file.is_file() and "__pycache__" not in file.parts
    )
    return {
        _RENAMED.get(name := file.relative_to(_SOURCE).as_posix(), name): file.read_bytes() for file in found
    }
