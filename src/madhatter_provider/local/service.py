"""What the platform runs: services (processes) and steps (set-up between them), in one graph."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["real", "emulator", "local"]
Probe = Callable[[float], bool]
"""Whether a service works; called with the time (Unix seconds) at which its process was started."""


@dataclass(frozen=True, slots=True)
class Service:
    """One process of the platform.

    Everything that depends on ports is a function, called when the process is about to start: a port may
    change until then.

    :param kind: ``real``: the product; ``emulator``: its maker's stand-in; ``local``: our own stand-in.
    :param version: of the product.
    :param ports: names of the ports that it listens on.
    :param command: command line.
    :param ready: probe; True when it can be used.
    :param needs: names of services and steps that must be ready before it starts.
    :param prepare: writes configuration; called before every start.
    :param env: environment on top of the platform's.
    :param deadline: seconds it may take to get ready.
    :param grace: seconds it gets to end by itself.
    :param remedy: what a person can do when it does not start; default: read its log.
    """

    name: str
    kind: Kind
    version: str
    ports: tuple[str, ...]
    command: Callable[[], Sequence[str]]
    ready: Probe
    needs: tuple[str, ...] = ()
    prepare: Callable[[], None] | None = None
    env: Callable[[], Mapping[str, str]] | None = None
    deadline: float = 90.0
    grace: float = 10.0
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """Set-up that follows services, done again whenever one of them was started anew. Must be idempotent.

    :param run: does it and returns a few words for the summary.
    """

    name: str
    run: Callable[[], str]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Absent:
    """A service that this machine cannot run, and why; what needs it is left out too."""

    name: str
    reason: str
    remedy: str


Node = Service | Step


@dataclass(slots=True)
class Catalog:
    """Everything that one platform may run."""

    nodes: dict[str, Node] = field(default_factory=dict)
    absent: list[Absent] = field(default_factory=list)

    def add(self, *items: Node | Absent) -> None:
        """Add nodes after the nodes they need; one that needs something absent becomes absent itself."""
        for item in items:
            if isinstance(item, Absent):
                self.absent.append(item)
                continue
            gone = {a.name for a in self.absent} & set(item.needs)
            if gone:
                reason = f"needs {', '.join(sorted(gone))}"
                self.absent.append(Absent(item.name, reason, "See there."))
            else:
                self.nodes[item.name] = item

    @property
    def services(self) -> dict[str, Service]:
        """The services among the nodes."""
        return {n.name: n for n in self.nodes.values() if isinstance(n, Service)}

    def closure(self, names: Sequence[str]) -> set[str]:
        """These nodes and all that they need."""
        todo, found = list(names), set[str]()
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo.extend(self.nodes[name].needs)
        return found

    def dependents(self, names: set[str]) -> set[str]:
        """The nodes that need one of these, directly or not; without these."""
        return {n for n in self.nodes if n not in names and self.closure([n]) & names}

    def steps_of(self, services: Sequence[str]) -> set[str]:
        """The steps that follow these services and need no others."""
        known = set(services)
        below = {name: self._services_below(name) for name in self.nodes if name not in self.services}
        return {name for name, needed in below.items() if needed and needed <= known}

    def _services_below(self, name: str) -> set[str]:
        return {n for n in self.closure([name]) if isinstance(self.nodes[n], Service)}


def port_open(port: int) -> bool:
    """Whether something accepts connections on this port of 127.0.0.1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def get_json(url: str, *, timeout: float = 5.0, context: Any = None) -> Any:
    """The JSON that a URL answers with status 200; None when it does not."""
    try:
        with urllib.request.urlopen(url, timeout=timeout, context=context) as answer:
            return json.load(answer)
    except (OSError, ValueError, urllib.error.URLError):
        return None


def http_answers(url: str, *, timeout: float = 2.0, context: Any = None) -> bool:
    """Whether a URL answers at all; an HTTP error is an answer unless it is a server error."""
    try:
        with urllib.request.urlopen(url, timeout=timeout, context=context):
            return True
    except urllib.error.HTTPError as err:
        return err.code < 500
    except OSError:
        return False


def wait_until(probe: Callable[[], bool], *, seconds: float, pause: float = 0.1) -> bool:
    """Poll until the probe holds or the time is over; tells which."""
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True
