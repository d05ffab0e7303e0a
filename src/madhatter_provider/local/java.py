"""Find a Java that Apache Kafka 4 and the Pub/Sub emulator run on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from madhatter_provider.core.errors import ConfigurationError

OLDEST = 17
_REMEDY = (
    f"Install Java {OLDEST} or newer (Debian: apt-get install openjdk-17-jre-headless; "
    "macOS: brew install openjdk@17) or point JAVA_HOME at one."
)


@dataclass(frozen=True, slots=True)
class Java:
    """A usable ``java``: its path and feature release."""

    path: str
    release: int


def find_java() -> Java:
    """``$JAVA_HOME/bin/java``, else ``java`` on the path.

    :raises ConfigurationError: there is none, it does not run, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    path = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if not path or not Path(path).exists():
        raise ConfigurationError("Java is not installed", where=path or "java on the PATH", remedy=_REMEDY)
    try:
        asked = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as err:
        raise ConfigurationError(f"Java does not run: {err}", where=path, remedy=_REMEDY) from err
    release = java_release(asked.stderr)
    if release < OLDEST:
        raise ConfigurationError(f"Java {release} is too old", where=path, remedy=_REMEDY)
    return Java(path, release)


def java_release(told: str) -> int:
    """Feature release in the text of ``java -version``; 0 when there is none. ``1.8.0_292`` is release 8."""
    found = re.search(r'version "(?:1\.)?(\d+)', told)
    return int(found[1]) if found else 0
