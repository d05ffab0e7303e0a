"""What this machine has, what it lacks, and the command that installs it."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import psutil

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.local.home import LocalHome
from madhatter_provider.local.java import OLDEST, find_java
from madhatter_provider.local.kafka import KAFKA_VERSION, has_kafka_jars
from madhatter_provider.local.prism import prism_path
from madhatter_provider.local.process import port_holder, port_is_free
from madhatter_provider.local.pubsub import emulator_version, find_emulator_jar
from madhatter_provider.local.state import read_state

Need = Literal["required", "wanted"]

_GIB = 1 << 30
_DISK_GIB = 5
_MEMORY_GIB = 6
# Package that stands for each extra of setup.cfg.
_EXTRAS = {
    "dataflow": "apache-beam",
    "quality": "great-expectations",
    "local": "fakesnow",
}
_INSTALL = {
    "java": {"apt-get": "apt-get install openjdk-17-jre-headless", "brew": "brew install openjdk@17"},
    "maven": {"apt-get": "apt-get install maven", "brew": "brew install maven"},
    "go": {"apt-get": "apt-get install golang-go", "brew": "brew install go"},
    "python": {"apt-get": "apt-get install python3 python3-venv", "brew": "brew install python@3.12"},
    "pubsub": {
        "apt-get": "apt-get install google-cloud-cli-pubsub-emulator (from Google's apt repository)",
        "brew": "gcloud components install pubsub-emulator",
    },
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    :param found: what there is, or what is wrong.
    :param without: what does not work without it.
    :param command: what installs it; empty when nothing is missing.
    """

    name: str
    ok: bool
    need: Need
    found: str
    without: str = ""
    command: str = ""


def examine(home: LocalHome) -> list[Finding]:
    """Look at everything that the local platform uses."""
    checks: list[Callable[[LocalHome], Iterator[Finding]]] = [
        _python, _extras, _compiled, _java, _maven, _go, _pubsub, _disk, _memory, _ports,
    ]  # fmt: skip
    return [finding for check in checks for finding in check(home)]


def _install(what: str) -> str:
    for tool, command in _INSTALL[what].items():
        if shutil.which(tool):
            return command
    return " or ".join(_INSTALL[what].values())


def _python(_: LocalHome) -> Iterator[Finding]:
    release = ".".join(map(str, sys.version_info[:3]))
    ok = (3, 11) <= sys.version_info[:2] < (3, 14)
    yield Finding(
        "Python", ok, "required", release, "MadHatter: it wants 3.11, 3.12 or 3.13",
        "" if ok else f"{_install('python')}; make venv",
    )  # fmt: skip


def _extras(_: LocalHome) -> Iterator[Finding]:
    for extra, package in _EXTRAS.items():
        try:
            found, ok = f"{package} {version(package)}", True
        except PackageNotFoundError:
            found, ok = f"{package} is missing", False
        yield Finding(f"extra {extra}", ok, "required", found, "local platform", "" if ok else "make venv")


def _compiled(_: LocalHome) -> Iterator[Finding]:
    spec = importlib.util.find_spec("airflow")
    if spec is None or spec.origin is None:
        yield Finding("Airflow", False, "required", "is missing", "MadHatter", "make venv")
        return
    ok = Path(importlib.util.cache_from_source(spec.origin)).exists()
    folder = Path(spec.origin).parent.parent
    yield Finding(
        "compiled packages", ok, "wanted", "yes" if ok else "no .pyc files",
        "quick starts: imports take twice as long",
        "" if ok else f"{sys.executable} -m compileall -q -j 0 {folder}",
    )  # fmt: skip


def _java(_: LocalHome) -> Iterator[Finding]:
    without = "real Kafka (a mock broker stands in) and the Pub/Sub emulator"
    try:
        java = find_java()
        yield Finding(f"Java {OLDEST}+", True, "wanted", f"{java.release} ({java.path})")
    except ConfigurationError as err:
        yield Finding(f"Java {OLDEST}+", False, "wanted", err.what, without, _install("java"))


def _maven(home: LocalHome) -> Iterator[Finding]:
    path = shutil.which("mvn")
    cached = has_kafka_jars(home.cache)
    found = path or ("not needed: Kafka's jars are cached" if cached else "is missing")
    ok = bool(path) or cached
    without = f"real Kafka {KAFKA_VERSION} (a mock broker stands in)"
    yield Finding("Maven", ok, "wanted", found, without, "" if ok else _install("maven"))


def _go(home: LocalHome) -> Iterator[Finding]:
    path = shutil.which("go")
    try:
        cached = prism_path(home.cache, version("apache-beam")).exists()
    except PackageNotFoundError:
        cached = False
    ok = bool(path) or cached
    found = path or ("not needed: Prism is cached" if cached else "is missing")
    without = "own build of Beam's runner (Beam then downloads one)"
    yield Finding("Go", ok, "wanted", found, without, "" if ok else _install("go"))


def _pubsub(_: LocalHome) -> Iterator[Finding]:
    try:
        jar = find_emulator_jar()
        yield Finding("Pub/Sub emulator", True, "wanted", f"{emulator_version(jar)} ({jar})")
    except ConfigurationError as err:
        without = "alert leg: Pub/Sub and the Cloud Function are left out"
        yield Finding("Pub/Sub emulator", False, "wanted", err.what, without, _install("pubsub"))


def _disk(home: LocalHome) -> Iterator[Finding]:
    place = next(folder for folder in (home.root, *home.root.parents) if folder.exists())
    free = shutil.disk_usage(place).free / _GIB
    ok = free >= _DISK_GIB
    yield Finding(
        "disk", ok, "required", f"{free:.0f} GiB free in {place}",
        f"local platform: it wants {_DISK_GIB} GiB",
        "" if ok else f"free space in {place}, or set MADHATTER_HOME to a roomier place",
    )  # fmt: skip


def _memory(_: LocalHome) -> Iterator[Finding]:
    free = psutil.virtual_memory().available / _GIB
    ok = free >= _MEMORY_GIB
    yield Finding(
        "memory", ok, "wanted", f"{free:.0f} GiB available", f"comfort: it uses up to {_MEMORY_GIB} GiB",
        "" if ok else "end other programs",
    )  # fmt: skip


def _ports(home: LocalHome) -> Iterator[Finding]:
    """Ports of services that do not run but are held by others: `up` moves them, which is worth knowing."""
    state = read_state(home.state_file)
    if state.alive:
        yield Finding("ports", True, "wanted", f"{len(state.alive)} services of this platform run")
        return
    taken = {name: port for name, port in state.ports.items() if not port_is_free(port)}
    if not taken:
        yield Finding("ports", True, "wanted", "free ones are chosen at each first start")
    for name, port in taken.items():
        holder = port_holder(port) or "another process"
        yield Finding(
            f"port {port}", False, "wanted", f"{name}'s port is held by {holder}", "address that stays",
            "nothing to do: `madhatter local up` takes another one",
        )  # fmt: skip
