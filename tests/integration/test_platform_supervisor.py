"""Starting and ending processes, with small ones: order, crashes, ports, leftovers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from madhatter_provider.core.errors import ServiceError
from madhatter_provider.local.home import LocalHome
from madhatter_provider.local.process import free_port, platform_processes
from madhatter_provider.local.service import Catalog, Service, Step, port_open, wait_until
from madhatter_provider.local.state import Record, State, read_state, write_state
from madhatter_provider.local.supervisor import Event, Supervisor

pytestmark = pytest.mark.integration

_SERVER = """
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), SimpleHTTPRequestHandler).serve_forever()
"""


class Small:
    """A supervisor over small services, and what it reported."""

    def __init__(self, root: Path) -> None:
        self.home = LocalHome(root / "home", root)
        self.catalog = Catalog()
        self.ports: dict[str, int] = {}
        self.events: list[Event] = []
        self.pinned: frozenset[str] = frozenset()

    def server(self, name: str, *needs: str) -> None:
        """Add a service that listens on a port of its name."""
        self.ports[name] = free_port(self.ports.values())
        self.script(
            name, _SERVER, *needs, ready=lambda _: port_open(self.ports[name]),
            argument=lambda: str(self.ports[name]), ports=(name,),
        )  # fmt: skip

    def script(
        self, name: str, code: str, *needs: str, ready: Callable[[float], bool] = lambda _: True,
        argument: Callable[[], str] = lambda: "", deadline: float = 30, grace: float = 5,
        ports: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """Add a service that runs this Python text."""
        text = textwrap.dedent(code)
        self.catalog.add(
            Service(
                name, "local", "1", ports, lambda: [sys.executable, "-c", text, argument()], ready, needs,
                deadline=deadline, grace=grace, remedy="Turn it off and on again.",
            )
        )  # fmt: skip

    def step(self, name: str, *needs: str) -> None:
        self.catalog.add(Step(name, lambda: "", needs))

    @property
    def supervisor(self) -> Supervisor:
        """As a command of its own would have it: all it knows is the record."""
        return Supervisor(
            self.home, self.catalog, self.ports, lambda: dict(os.environ), self.events.append,
            pinned=self.pinned,
        )  # fmt: skip

    def start(self, *names: str) -> list[tuple[str, str]]:
        """Start these (default: all); gives what was reported, without starts."""
        del self.events[:]
        self.supervisor.start(names or self.catalog.nodes)
        return [(event.what, event.name) for event in self.events if event.what != "starting"]

    @property
    def processes(self) -> list[psutil.Process]:
        """Every process of this platform."""
        return platform_processes(self.home.root)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    platform = Small(tmp_path)
    yield platform
    platform.supervisor.stop()
    assert platform.processes == []


def test_order_of_needs(small: Small) -> None:
    small.server("kafka")
    small.server("snowflake")
    small.step("topics", "kafka")
    small.server("airflow", "topics", "snowflake")
    order = [name for _, name in small.start()]
    assert order.index("kafka") < order.index("topics") < order.index("airflow")
    assert order.index("snowflake") < order.index("airflow")
    started = {name: record.started_at for name, record in read_state(small.home.state_file).services.items()}
    assert abs(started["kafka"] - started["snowflake"]) < 1, "independent services start side by side"


def test_second_start_does_nothing(small: Small) -> None:
    small.server("kafka")
    small.step("topics", "kafka")
    assert small.start() == [("ready", "kafka"), ("done", "topics")]
    assert small.start() == [("running", "kafka")]


def test_dead_service_comes_back_on_its_port_and_its_steps_are_repeated(small: Small) -> None:
    small.server("kafka")
    small.server("snowflake")
    small.step("topics", "kafka")
    small.step("sql", "snowflake")
    small.start()
    before = dict(small.ports)
    small.supervisor.kill("kafka", signal.SIGKILL)
    assert wait_until(lambda: not port_open(before["kafka"]), seconds=5)
    assert small.start() == [("running", "snowflake"), ("ready", "kafka"), ("done", "topics")]
    assert small.ports == before


def test_stop_ends_grandchildren_that_left_the_session(small: Small) -> None:
    small.script(
        "forker",
        """
        import subprocess, sys, time
        subprocess.Popen(["sleep", "300"], start_new_session=True)
        subprocess.Popen([sys.executable, "-c", "import os,time; os.fork(); time.sleep(300)"])
        time.sleep(300)
        """,
        ready=lambda _: len(small.processes) >= 4,
    )
    small.start()
    small.supervisor.stop()
    assert small.processes == []
    assert read_state(small.home.state_file).services == {}


def test_jobs_that_a_service_started_under_another_mark_are_ended_too(small: Small) -> None:
    """As the Dataflow service's jobs are, when the service itself was killed."""
    small.script(
        "launcher",
        """
        import os, subprocess, time
        env = {**os.environ, "MADHATTER_SERVICE": "job-1"}
        subprocess.Popen(["sleep", "300"], start_new_session=True, env=env)
        time.sleep(300)
        """,
        ready=lambda _: len(small.processes) >= 2,
    )
    small.start()
    small.supervisor.kill("launcher", signal.SIGKILL)
    assert wait_until(lambda: len(small.processes) == 1, seconds=5)
    small.supervisor.stop()
    assert small.processes == []


def test_orphans_of_a_killed_leader_are_ended_too(small: Small) -> None:
    small.script(
        "forker",
        "import os, time; os.fork(); time.sleep(300)",
        ready=lambda _: len(small.processes) >= 2,
    )
    small.start()
    small.supervisor.kill("forker", signal.SIGKILL)
    assert wait_until(lambda: len(small.processes) == 1, seconds=5), "the fork is an orphan now"
    small.supervisor.stop()
    assert small.processes == []


def test_service_that_ignores_sigterm_is_killed(small: Small) -> None:
    small.script(
        "stubborn",
        """
        import pathlib, signal, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pathlib.Path(sys.argv[1]).touch()
        time.sleep(300)
        """,
        argument=lambda: str(small.home.root / "deaf"),
        ready=lambda _: (small.home.root / "deaf").exists(),
        grace=0.5,
    )
    small.start()
    small.supervisor.stop()
    assert small.processes == []
    assert "1 of its processes had to be killed" in small.events[-1].text


def test_crash_on_start_shows_its_last_words_and_ends_the_others(small: Small) -> None:
    small.server("kafka")
    small.script("airflow", "raise SystemExit('database is on fire')", "kafka", ready=lambda _: False)
    with pytest.raises(ServiceError, match="airflow ended with code 1") as caught:
        small.start()
    assert "database is on fire" in caught.value.what
    assert caught.value.where.endswith("airflow.log")
    assert caught.value.remedy == "Turn it off and on again."
    assert small.processes == []


def test_last_words_are_of_this_start_only(small: Small) -> None:
    small.home.logs.mkdir(parents=True)
    (small.home.logs / "airflow.log").write_text("old trouble\n")
    small.script("airflow", "raise SystemExit('new trouble')", ready=lambda _: False)
    with pytest.raises(ServiceError, match="new trouble") as caught:
        small.start()
    assert "old trouble" not in caught.value.what


def test_never_ready_is_a_failure(small: Small) -> None:
    small.script("slow", "import time; time.sleep(300)", ready=lambda _: False, deadline=0.5)
    with pytest.raises(ServiceError, match="not ready within"):
        small.start()
    assert small.processes == []


def test_failed_restart_leaves_what_ran_before(small: Small) -> None:
    small.server("kafka")
    small.start()
    small.script("broken", "raise SystemExit(3)", ready=lambda _: False)
    with pytest.raises(ServiceError, match="code 3"):
        small.start()
    assert port_open(small.ports["kafka"])


def test_running_but_deaf_is_said(small: Small) -> None:
    deaf = small.home.root / "deaf"
    small.script("hangs", "import time; time.sleep(300)", ready=lambda _: not deaf.exists(), deadline=0.5)
    small.start()
    deaf.touch()
    with pytest.raises(ServiceError, match="does not answer") as caught:
        small.start()
    assert caught.value.remedy == "madhatter local restart hangs"


def test_failed_step_is_a_failure(small: Small) -> None:
    def fail() -> str:
        raise ServiceError("no such contract", where="contracts", remedy="write it")

    small.server("kafka")
    small.catalog.add(Step("topics", fail, ("kafka",)))
    with pytest.raises(ServiceError, match="no such contract"):
        small.start()
    assert small.processes == []


def test_taken_port_moves_on_first_start(small: Small) -> None:
    small.server("kafka")
    taken = small.ports["kafka"]
    with socket.create_server(("127.0.0.1", taken)):
        told = small.start()
    assert told == [("moved", "kafka"), ("ready", "kafka")]
    assert str(taken) in small.events[0].text
    assert small.ports["kafka"] != taken
    assert read_state(small.home.state_file).ports["kafka"] == small.ports["kafka"]


def test_port_that_others_know_does_not_move(small: Small) -> None:
    small.server("kafka")
    small.server("airflow", "kafka")
    small.start()
    small.supervisor.stop(["kafka"])
    with (
        socket.create_server(("127.0.0.1", small.ports["kafka"])),
        pytest.raises(ServiceError, match=rf"Port {small.ports['kafka']} .*taken by process {os.getpid()}"),
    ):
        small.start()
    assert port_open(small.ports["airflow"])


def test_port_that_a_person_chose_does_not_move(small: Small) -> None:
    small.server("kafka")
    small.pinned = frozenset({"kafka"})
    with (
        socket.create_server(("127.0.0.1", small.ports["kafka"])),
        pytest.raises(ServiceError, match="taken") as caught,
    ):
        small.start()
    assert "--port" in caught.value.remedy


def test_record_from_before_a_reboot_is_no_process_of_ours(small: Small) -> None:
    """The recorded number belongs to another process now; that one must not be touched."""
    small.server("kafka")
    innocent = subprocess.Popen(["sleep", "60"])
    try:
        record = Record(innocent.pid, time.time() - 86400, "x", "local", "1", time.time() - 86400)
        write_state(small.home.state_file, State(dict(small.ports), {"kafka": record}, []))
        assert small.start() == [("ready", "kafka")]
        small.supervisor.stop()
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


_DRIVER = """
import os, signal, sys
from pathlib import Path

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin deaf to it
from madhatter_provider.local.home import LocalHome
from madhatter_provider.local.service import Catalog, Service
from madhatter_provider.local.supervisor import Supervisor

root = Path(sys.argv[1])
catalog = Catalog()
for name in ("one", "two"):
    catalog.add(Service(name, "local", "1", (), lambda: ["sleep", "300"], lambda _: False))
supervisor = Supervisor(LocalHome(root, root), catalog, {}, lambda: dict(os.environ), lambda _: None)
try:
    supervisor.start(["one", "two"])
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.fixture
def starting(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that is busy starting two services that never get ready."""
    root = tmp_path / "home"
    driver = subprocess.Popen(
        [sys.executable, "-c", _DRIVER, str(root)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert wait_until(lambda: _recorded(root) == 2, seconds=20)
    yield driver, root
    driver.kill()
    driver.communicate()
    for process in platform_processes(root):
        process.kill()


def _recorded(root: Path) -> int:
    file = root / "state.json"
    return len(json.loads(file.read_text())["services"]) if file.exists() else 0


def test_ctrl_c_ends_what_was_started(starting: tuple[subprocess.Popen[str], Path]) -> None:
    driver, root = starting
    driver.send_signal(signal.SIGINT)
    out, _ = driver.communicate(timeout=30)
    assert out.strip() == "interrupted"
    assert platform_processes(root) == []


def test_killed_supervisor_leaves_a_record_that_down_can_use(
    starting: tuple[subprocess.Popen[str], Path],
) -> None:
    driver, root = starting
    driver.kill()
    driver.wait()
    assert len(platform_processes(root)) == 2
    catalog = Catalog()
    catalog.add(*(Service(n, "local", "1", (), lambda: ["true"], lambda _: True) for n in ("one", "two")))
    Supervisor(LocalHome(root, root), catalog, {}, lambda: {}, lambda _: None).stop()
    assert platform_processes(root) == []


def test_process_of_a_service_that_is_no_longer_known_is_ended(small: Small) -> None:
    small.script("old", "import time; time.sleep(300)")
    small.start()
    small.catalog.nodes.clear()
    small.supervisor.stop()
    assert small.processes == []
