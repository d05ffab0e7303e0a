"""Start services in the order of their needs, side by side where independent; end them in reverse.

Start:

1. Services whose recorded process runs are left alone; a step is done again when what it needs was started.
2. A service starts as soon as all that it needs is ready: its ports are checked, its configuration written,
   its process spawned and recorded at once (a killed supervisor leaves a record), then its probe is polled.
3. The first failure (also Ctrl-C) stops the rest; what this call started is ended before the error is
   raised.

End: a service is ended when nothing that needs it runs any more; afterwards no process with the platform's
mark is left.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from madhatter_provider.core.errors import ServiceError
from madhatter_provider.local.home import LocalHome
from madhatter_provider.local.process import (
    HOME,
    end,
    free_port,
    platform_processes,
    port_holder,
    port_is_free,
    spawn,
    tail,
    wait_gone,
)
from madhatter_provider.local.service import Catalog, Service, wait_until
from madhatter_provider.local.state import Record, State, read_state, write_state

_POLL_SECONDS = 0.1
_HANGS = "Look at it with ps: it may hang in the kernel."

What = Literal["starting", "ready", "running", "done", "moved", "absent", "ended"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something a person wants to see: one line each. ``seconds`` is how long it took."""

    what: What
    name: str
    text: str = ""
    seconds: float | None = None


Report = Callable[[Event], None]


class Supervisor:
    """Runs the nodes of a catalog.

    :param base_env: environment of every process, asked for at each start.
    :param ports: live mapping that the catalog's functions read; changed here when a port has to move.
    :param pinned: names of ports that must not move, because a person asked for them.
    """

    def __init__(
        self, home: LocalHome, catalog: Catalog, ports: dict[str, int],
        base_env: Callable[[], Mapping[str, str]], report: Report, *, pinned: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        self._home, self._catalog, self._ports, self._base_env = home, catalog, ports, base_env
        self._report, self._pinned = report, pinned
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._guard = threading.RLock()
        self._abort = threading.Event()

    def state(self) -> State:
        """The recorded state."""
        return read_state(self._home.state_file)

    def mark(self, name: str) -> str:
        """What the processes of a service carry in their environment."""
        return f"{name}@{self._home.root}"

    def start(self, names: Iterable[str]) -> None:
        """Bring up these nodes and all that they need.

        :raises ServiceError: one did not get ready; what this call started has been ended.
        """
        state = self.state()
        needed = self._catalog.closure(list(names))
        alive = state.alive
        todo = needed - alive - set(state.steps)
        services = self._catalog.services
        todo |= {name for name in self._catalog.dependents(todo) & needed if name not in services}
        for name in sorted(needed & alive):
            self._report(Event("running", name, f"process {state.services[name].pid}"))
        self._forget(todo)
        self._abort.clear()
        try:
            self._bring_up(todo)
        except BaseException:
            self._abort.set()
            self.stop(todo & set(services))
            raise
        for name in sorted(needed & alive):
            self._check_running(services[name], state.services[name])

    def _check_running(self, service: Service, record: Record) -> None:
        """A process that runs may hang all the same."""
        if not wait_until(lambda: service.ready(record.started_at), seconds=service.deadline):
            raise ServiceError(
                f"{service.name} runs (process {record.pid}) but does not answer", where=record.log,
                remedy=f"madhatter local restart {service.name}",
            )  # fmt: skip

    def _forget(self, todo: set[str]) -> None:
        """Drop records of what is about to be done again, and what is left of dead services."""
        services = todo & set(self._catalog.services)
        with self._changed() as state:
            state.ports.update(self._ports)
            state.steps = [step for step in state.steps if step not in todo]
            dead = {name: state.services.pop(name, None) for name in services}
        for name, record in dead.items():
            if record is not None:
                end(record.process, self.mark(name), grace=0)

    def _bring_up(self, todo: set[str]) -> None:
        pending, running = set(todo), dict[Future[None], str]()
        with ThreadPoolExecutor(max_workers=max(1, len(todo))) as pool:
            try:
                while pending or running:
                    for name in sorted(pending):
                        waiting = pending | set(running.values())
                        if not waiting & set(self._catalog.nodes[name].needs):
                            pending.discard(name)
                            running[pool.submit(self._bring_up_one, name)] = name
                    finished, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        running.pop(future)
                        future.result()
            except BaseException:
                self._abort.set()
                raise

    def _bring_up_one(self, name: str) -> None:
        node = self._catalog.nodes[name]
        if self._abort.is_set():
            return
        if isinstance(node, Service):
            self._start_service(node)
            return
        began = time.monotonic()
        self._report(Event("starting", name))
        text = node.run()
        with self._changed() as state:
            state.steps.append(name)
        self._report(Event("done", name, text, time.monotonic() - began))

    def _start_service(self, service: Service) -> None:
        self._settle_ports(service)
        self._report(Event("starting", service.name))
        if service.prepare is not None:
            service.prepare()
        log = self._home.logs / f"{service.name}.log"
        log_start = log.stat().st_size if log.exists() else 0
        env = {**self._base_env(), **(service.env() if service.env else {}), HOME: str(self._home.root)}
        since = time.time()
        with self._guard:
            child, process = spawn(
                service.command(), env=env, log=log, cwd=self._home.project, mark=self.mark(service.name)
            )
            self._children[service.name] = child
            record = Record(
                pid=process.pid, create_time=process.create_time, log=str(log), kind=service.kind,
                version=service.version, started_at=since,
            )  # fmt: skip
            with self._changed() as state:
                state.services[service.name] = record
        if not self._wait_ready(service, child, since, log, log_start):
            return
        with self._changed() as state:
            state.services[service.name].ready_seconds = round(time.time() - since, 2)
        text = f"{service.version}, {service.kind}"
        self._report(Event("ready", service.name, text, time.time() - since))

    def _wait_ready(
        self, service: Service, child: subprocess.Popen[bytes], since: float, log: Path, log_start: int
    ) -> bool:
        """True when it is ready, False when the whole start is given up."""
        deadline = time.monotonic() + service.deadline
        while not self._abort.is_set():
            if child.poll() is not None:
                what = f"{service.name} ended with code {child.returncode} before it was ready"
            elif service.ready(since):
                return True
            elif time.monotonic() > deadline:
                what = f"{service.name} was not ready within {service.deadline:.0f} s"
            else:
                self._abort.wait(_POLL_SECONDS)
                continue
            said = tail(log, start=log_start)
            remedy = service.remedy or f"Read its log: madhatter local logs {service.name}"
            raise ServiceError(f"{what}\n{said}".rstrip(), where=str(log), remedy=remedy)
        return False

    def _settle_ports(self, service: Service) -> None:
        """Move ports that somebody took, unless a running service knows them or a person chose them."""
        users = self._catalog.dependents({service.name}) & self.state().alive
        for name in service.ports:
            port = self._ports[name]
            if port_is_free(port):
                continue
            if users or name in self._pinned:
                holder = port_holder(port) or "another process"
                raise ServiceError(
                    f"Port {port} ({name}) is taken by {holder}", where=service.name,
                    remedy="End that process, or run `madhatter local down` and `madhatter local up` again"
                    + (" with another --port." if name in self._pinned else "."),
                )  # fmt: skip
            with self._changed() as state:
                self._ports[name] = state.ports[name] = free_port(self._ports.values())
            self._report(Event("moved", name, f"port {port} is taken, using {self._ports[name]}"))

    def stop(self, names: Iterable[str] | None = None) -> None:
        """End these services (default: all), dependents first. Idempotent.

        :raises ServiceError: a process could not be ended.
        """
        everything = names is None
        left = set(self._catalog.services) if names is None else set(names)
        while left:
            batch = {n for n in left if not self._catalog.dependents({n}) & left}
            with ThreadPoolExecutor(max_workers=len(batch)) as pool:
                list(pool.map(self._stop_one, sorted(batch)))
            left -= batch
        if everything:
            self._stop_strays()
            with self._changed() as state:
                state.services.clear()
                state.steps.clear()

    def _stop_one(self, name: str) -> None:
        with self._guard:
            record = self.state().services.get(name)
        began = time.monotonic()
        try:
            killed = end(
                record.process if record else None, self.mark(name), grace=self._catalog.services[name].grace
            )
        except RuntimeError as err:
            raise ServiceError(str(err), where=name, remedy=_HANGS) from err
        child = self._children.pop(name, None)
        if child is not None:
            child.wait(timeout=10)
        with self._changed() as state:
            state.services.pop(name, None)
        if record is not None:
            text = f"{killed} of its processes had to be killed" if killed else ""
            self._report(Event("ended", name, text, time.monotonic() - began))

    def _stop_strays(self) -> None:
        """Processes with the platform's mark that no service of the catalog accounts for."""
        strays = platform_processes(self._home.root)
        for stray in strays:
            with contextlib.suppress(psutil.NoSuchProcess):
                stray.kill()
        wait_gone(strays, 5)
        left = [process.pid for process in platform_processes(self._home.root)]
        if left:
            where = str(self._home.root)
            raise ServiceError(f"Processes {left} could not be ended", where=where, remedy=_HANGS)

    @contextlib.contextmanager
    def _changed(self) -> Iterator[State]:
        """The state, written back at the end of the block."""
        with self._guard:
            state = self.state()
            yield state
            write_state(self._home.state_file, state)

    def kill(self, name: str, number: int) -> None:
        """Send a signal to a service's first process only; its children are left as after a real crash.

        :raises ServiceError: it does not run.
        """
        record = self.state().services.get(name)
        process = record.process.find() if record else None
        if process is None:
            where = str(self._home.root)
            raise ServiceError(f"{name} does not run", where=where, remedy="See `madhatter local status`.")
        os.kill(process.pid, number)
