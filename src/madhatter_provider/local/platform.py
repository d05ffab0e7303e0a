"""The local platform as one object: start, stop, break and inspect it.

::

    with Platform() as platform:            # or platform.start() … platform.stop()
        run(env=platform.env)               # what any process of the platform is told
        platform.kill("kafka")              # SIGKILL
        platform.restart("kafka")           # on its recorded port, with its data
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.local.credentials import airflow_secrets
from madhatter_provider.local.home import LocalHome, local_home
from madhatter_provider.local.process import free_port, members, memory, port_holder, port_is_free
from madhatter_provider.local.service import Service
from madhatter_provider.local.services import PORTS, build_catalog, platform_env
from madhatter_provider.local.site import Site
from madhatter_provider.local.state import only_one, read_state
from madhatter_provider.local.supervisor import Event, Report, Supervisor


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service as it is now. ``rss_mb`` counts all its processes; ``uptime`` in seconds."""

    name: str
    kind: str
    version: str
    alive: bool
    pid: int | None
    processes: int
    rss_mb: int
    uptime: float | None
    ready_seconds: float | None
    ports: dict[str, int]
    log: Path


def _silent(_: Event) -> None:
    """Report to nobody."""


class Platform:
    """One local platform.

    :param home: its folder; default: that of the current project.
    :param report: gets an :class:`Event` for everything worth a line.
    :param pinned_ports: ports that a person asked for, by name.
    :raises ConfigurationError: a pinned port is unknown or taken, or there is no project.
    """

    def __init__(
        self, home: LocalHome | None = None, *, report: Report = _silent,
        pinned_ports: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        self.home = home or local_home()
        self._report = report
        self._pinned = dict(pinned_ports or {})
        self._site = Site(self.home)
        self._choose_ports()
        self.catalog = build_catalog(self._site)
        self._supervisor = Supervisor(
            self.home, self.catalog, self._site.ports, lambda: platform_env(self._site), report,
            pinned=frozenset(self._pinned),
        )  # fmt: skip

    def _choose_ports(self) -> None:
        """Recorded ports are kept: a restarted platform is found where it was."""
        ports = self._site.ports
        state = read_state(self.home.state_file)
        ports.update({name: port for name, port in state.ports.items() if name in PORTS})
        for name, port in self._pinned.items():
            if name not in PORTS:
                known = ", ".join(PORTS)
                raise ConfigurationError(
                    f"No port is named {name!r}", where="--port", remedy=f"Choose of {known}."
                )
            if ports.get(name) != port and not port_is_free(port):
                holder = port_holder(port) or "another process"
                raise ConfigurationError(
                    f"Port {port} is taken by {holder}", where=f"port {name}", remedy="Choose another one."
                )
            ports[name] = port
        for name in PORTS:
            if name not in ports:
                ports[name] = free_port(ports.values())

    @property
    def ports(self) -> dict[str, int]:
        """Port by name (see :data:`~madhatter_provider.local.services.PORTS`)."""
        return dict(self._site.ports)

    @property
    def env(self) -> dict[str, str]:
        """Environment of a process that belongs to the platform."""
        return platform_env(self._site)

    @property
    def airflow_url(self) -> str:
        """Address of the Airflow UI."""
        return self._site.url("airflow")

    @property
    def airflow_passwords(self) -> dict[str, str]:
        """Password by Airflow user."""
        return airflow_secrets(self.home).passwords

    def start(self, only: Iterable[str] | None = None) -> None:
        """Start what does not run yet, and wait until all of it is ready.

        :param only: names of services and steps (and what they need); default: all. Steps that need nothing
            but these services are done too.
        :raises ServiceError: something did not start; what this call started has been ended.
        :raises ConfigurationError: a name is unknown, or another command is at work on this platform.
        """
        names = self._names(only)
        with only_one(self.home):
            for absent in self.catalog.absent:
                self._report(Event("absent", absent.name, f"{absent.reason}. {absent.remedy}"))
            self._supervisor.start(names)

    def _names(self, only: Iterable[str] | None) -> set[str]:
        if only is None:
            return set(self.catalog.nodes)
        names = list(only)
        unknown = sorted(set(names) - set(self.catalog.nodes))
        if unknown:
            raise ConfigurationError(
                f"Not part of this platform: {', '.join(unknown)}",
                where=str(self.home.root),
                remedy=f"Choose of {', '.join(self.catalog.nodes)}.",
            )
        return set(names) | self.catalog.steps_of([*self.catalog.closure(names)])

    def stop(self) -> None:
        """End everything; no process of the platform is left.

        :raises ServiceError: one could not be ended.
        """
        with only_one(self.home):
            self._supervisor.stop()

    def restart(self, name: str) -> None:
        """End a service if it runs, start it on its recorded ports, and repeat the steps that follow it."""
        service = self._service(name)
        with only_one(self.home):
            before = self._supervisor.state().alive
            self._supervisor.stop([service.name])
            steps = self.catalog.steps_of([*before, name]) & self.catalog.dependents({name})
            self._supervisor.start([name, *steps])

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Signal a service's first process, as an operating system would; its children are not touched.

        :raises ServiceError: it does not run.
        """
        self._supervisor.kill(self._service(name).name, number)

    def _service(self, name: str) -> Service:
        service = self.catalog.services.get(name)
        if service is None:
            known = ", ".join(self.catalog.services)
            raise ConfigurationError(
                f"No service is named {name!r}", where=str(self.home.root), remedy=f"Choose of {known}."
            )
        return service

    @property
    def services(self) -> list[ServiceStatus]:
        """All services of this platform, running or not."""
        return [self._status(service) for service in self.catalog.services.values()]

    def _status(self, service: Service) -> ServiceStatus:
        record = self._supervisor.state().services.get(service.name)
        alive = record is not None and record.alive
        processes = members(record.process, self._supervisor.mark(service.name)) if record and alive else []
        return ServiceStatus(
            name=service.name, kind=service.kind, version=service.version, alive=alive,
            pid=record.pid if record and alive else None, processes=len(processes),
            rss_mb=sum(memory(process) for process in processes) >> 20,
            uptime=time.time() - record.started_at if record and alive else None,
            ready_seconds=record.ready_seconds if record else None,
            ports={name: self._site.ports[name] for name in service.ports},
            log=self.home.logs / f"{service.name}.log",
        )  # fmt: skip

    def run(self, *command: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command with the platform's environment in the project folder; its output is captured."""
        return subprocess.run(
            command, env=self.env, cwd=self.home.project, timeout=timeout, capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    def __enter__(self) -> Platform:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
