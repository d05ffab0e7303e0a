"""``state.json``: the platform's processes and ports. Each change is written at once."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.local.home import LocalHome, write_atomic
from madhatter_provider.local.process import ProcessId

_VERSION = 1


@dataclass(slots=True)
class Record:
    """A process that was started. Times in Unix seconds; ``ready_seconds`` is None until it was ready."""

    pid: int
    create_time: float
    log: str
    kind: str
    version: str
    started_at: float
    ready_seconds: float | None = None

    @property
    def process(self) -> ProcessId:
        """The process's identity."""
        return ProcessId(self.pid, self.create_time)

    @property
    def alive(self) -> bool:
        """Whether that very process still runs. A number reused after a reboot does not count."""
        return self.process.find() is not None


@dataclass(slots=True)
class State:
    """Ports by name, processes by service, and the steps done since the last start of what they need."""

    ports: dict[str, int] = field(default_factory=dict)
    services: dict[str, Record] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)

    @property
    def alive(self) -> set[str]:
        """Services whose process runs."""
        return {name for name, record in self.services.items() if record.alive}


def read_state(path: Path) -> State:
    """The recorded state; empty when there is none.

    :raises ConfigurationError: the file is not ours.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["version"] != _VERSION:
            raise ValueError(f"version {raw['version']}")
        services = {name: Record(**record) for name, record in raw["services"].items()}
        return State(ports=dict(raw["ports"]), services=services, steps=list(raw["steps"]))
    except FileNotFoundError:
        return State()
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise ConfigurationError(
            f"The platform's record cannot be read: {err}", where=str(path),
            remedy="End the processes listed by `ps`, then delete the file.",
        ) from err  # fmt: skip


def write_state(path: Path, state: State) -> None:
    """Replace the recorded state."""
    write_atomic(path, json.dumps({"version": _VERSION, **asdict(state)}, indent=1) + "\n")


@contextmanager
def only_one(home: LocalHome) -> Iterator[None]:
    """Hold the platform's lock: two commands must not start or end services at the same time.

    :raises ConfigurationError: another command holds it.
    """
    home.root.mkdir(parents=True, exist_ok=True)
    with (home.root / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            raise ConfigurationError(
                "Another command is starting or ending this platform", where=str(home.root),
                remedy="Wait until it is done, or end it with Ctrl-C.",
            ) from err  # fmt: skip
        yield
