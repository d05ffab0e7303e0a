"""Start a process in a session of its own, and end it with everything it started.

A service may fork, and its children may leave its process group or outlive it (Airflow's executor does both).
So members are found in three ways: descendants, processes of the same session, and processes that carry the
service's mark in their environment.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "MADHATTER_SERVICE"
HOME = "MADHATTER_HOME"
# Below the ports that Linux and macOS give to outgoing connections: none of them takes a dead service's port.
_PORTS = range(20000, 32000)


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process for certain: numbers are used again, number and start time together are not."""

    pid: int
    create_time: float

    def find(self) -> psutil.Process | None:
        """The process, if it still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.create_time) < 1
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(taken: Iterable[int] = ()) -> int:
    """A random free port that is not in ``taken``."""
    avoid = set(taken)
    while True:
        port = random.choice(_PORTS)
        if port not in avoid and port_is_free(port):
            return port


def spawn(
    command: Sequence[str], *, env: Mapping[str, str], log: Path, cwd: Path, mark: str
) -> tuple[subprocess.Popen[bytes], ProcessId]:
    """Start a process that leads a new session; its output is appended to ``log``.

    :param mark: written to its environment, so that stray descendants can be found.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        child = subprocess.Popen(
            list(command), env={**env, MARK: mark}, cwd=cwd, stdin=subprocess.DEVNULL,
            stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        started = psutil.Process(child.pid).create_time()
    except psutil.NoSuchProcess:
        started = time.time()
    return child, ProcessId(child.pid, started)


def members(leader: ProcessId | None, mark: str) -> list[psutil.Process]:
    """Every live process of a service: leader, descendants, session, and whoever carries its mark."""
    found: dict[int, psutil.Process] = {}
    process = leader.find() if leader else None
    if process is not None:
        found[process.pid] = process
        with contextlib.suppress(psutil.NoSuchProcess):
            found.update({child.pid: child for child in process.children(recursive=True)})
    for other in psutil.process_iter():
        if other.pid not in found and _belongs(other, leader, mark):
            found[other.pid] = other
    return [member for member in found.values() if _alive(member)]


def _belongs(process: psutil.Process, leader: ProcessId | None, mark: str) -> bool:
    try:
        if process.environ().get(MARK) == mark:
            return True
        # A session's id is its first process's number, not given out again while the session has members.
        in_session = leader is not None and os.getsid(process.pid) == leader.pid
        return in_session and leader is not None and process.create_time() >= leader.create_time - 1
    except (psutil.Error, OSError):
        return False


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end(leader: ProcessId | None, mark: str, *, grace: float = 10.0) -> int:
    """End a service: SIGTERM to the leader (it knows its children), then to the rest, then SIGKILL.

    :param grace: seconds that the leader gets; the rest gets a fifth of it.
    :returns: how many processes had to be killed.
    :raises RuntimeError: something survived SIGKILL.
    """
    first = members(leader, mark)
    process = leader.find() if leader else None
    if process is not None:
        _terminate([process], grace)
    _terminate(filter(_alive, [*first, *members(leader, mark)]), grace / 5)
    killed = 0
    deadline = time.monotonic() + 10
    left = [*filter(_alive, first), *members(leader, mark)]
    while left:
        for member in {m.pid: m for m in left}.values():
            killed += 1
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(signal.SIGKILL)
        wait_gone(left, 2)
        left = members(leader, mark)
        if left and time.monotonic() > deadline:
            raise RuntimeError(f"processes {[m.pid for m in left]} of {mark} survived SIGKILL")
    return killed


def _terminate(processes: Iterable[psutil.Process], seconds: float) -> None:
    """SIGTERM, and wait at most this long."""
    asked = list(processes) if seconds > 0 else []
    for process in asked:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    wait_gone(asked, seconds)


def wait_gone(processes: Iterable[psutil.Process], seconds: float) -> None:
    """Wait until none of them runs. A zombie does not: its parent may collect it when it likes."""
    left, deadline = list(processes), time.monotonic() + seconds
    while (left := [*filter(_alive, left)]) and time.monotonic() < deadline:
        time.sleep(0.05)


def platform_processes(root: Path) -> list[psutil.Process]:
    """Every live process that belongs to the platform of this home, whoever started it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            env = process.environ()
            if MARK in env and env.get(HOME) == str(root) and _alive(process):
                found.append(process)
    return found


def memory(process: psutil.Process) -> int:
    """Resident bytes of a process; 0 when it is gone."""
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def port_holder(port: int) -> str:
    """Who listens on a port, for a message; empty when that is not known."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return ""


def tail(path: Path, lines: int = 15, *, start: int = 0, most_bytes: int = 65536) -> str:
    """The last lines of a log file, none of them before byte ``start``; empty when there is none."""
    try:
        with path.open("rb") as source:
            source.seek(0, os.SEEK_END)
            source.seek(max(start, source.tell() - most_bytes))
            text = source.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
