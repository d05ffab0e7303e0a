"""Google's Pub/Sub emulator: find its jar, run it without gcloud around it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from madhatter_provider.core.errors import ConfigurationError

_JAR = "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar"
_USUAL = (
    "/usr/lib/google-cloud-sdk",
    "/usr/share/google-cloud-sdk",
    "/opt/google-cloud-sdk",
    "/opt/homebrew/share/google-cloud-sdk",
    "/usr/local/share/google-cloud-sdk",
    "/snap/google-cloud-cli/current",
    "~/google-cloud-sdk",
)
REMEDY = (
    "Debian: add Google's apt repository and apt-get install google-cloud-cli-pubsub-emulator; "
    "elsewhere: gcloud components install pubsub-emulator; or point PUBSUB_EMULATOR_JAR at the jar."
)


def find_emulator_jar() -> Path:
    """``$PUBSUB_EMULATOR_JAR``, else the newest jar of a Google Cloud CLI installation.

    :raises ConfigurationError: there is none.
    """
    named = os.environ.get("PUBSUB_EMULATOR_JAR")
    if named:
        if Path(named).is_file():
            return Path(named)
        raise ConfigurationError("PUBSUB_EMULATOR_JAR is not a file", where=named, remedy=REMEDY)
    for root in _sdk_roots():
        jars = sorted(root.glob(_JAR), key=_version_key)
        if jars:
            return jars[-1]
    raise ConfigurationError("The Pub/Sub emulator is not installed", remedy=REMEDY)


def emulator_version(jar: Path) -> str:
    """Version in the jar's name; ``?`` when it has none."""
    found = re.search(r"(\d+(?:\.\d+)+)", jar.name)
    return found[1] if found else "?"


def emulator_command(java: str, jar: Path, port: int) -> list[str]:
    """Command line of the emulator."""
    flags = ["-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    return [java, *flags, "-jar", str(jar), "--host=127.0.0.1", f"--port={port}"]


def _version_key(jar: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in emulator_version(jar).split(".") if part.isdigit())


def _sdk_roots() -> Iterator[Path]:
    yield from (Path(folder).expanduser() for folder in _USUAL)
    gcloud = shutil.which("gcloud")
    if gcloud:
        yield Path(gcloud).resolve().parent.parent
        asked = subprocess.run(
            [gcloud, "info", "--format=value(installation.sdk_root)"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if asked.stdout.strip():
            yield Path(asked.stdout.strip())
