"""kill -9 of triggerers, schedulers, tasks and the broker under load: no message is lost, none is doubled.

The chaos proves its own liveness: every strike must end a process that was running, and there is a number of
strikes below which the test fails. ``MADHATTER_CHAOS_ROUNDS`` multiplies them.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.sent_traffic import sent_traffic

from madhatter_provider.local.platform import Platform

if TYPE_CHECKING:
    from tests.chaos.conftest import Loaded

pytestmark = pytest.mark.chaos

_ROUNDS = int(os.environ.get("MADHATTER_CHAOS_ROUNDS", "1"))
_STRIKES = {
    victim: _ROUNDS * n for victim, n in {"task": 10, "triggerer": 6, "scheduler": 5, "broker": 1}.items()
}
_PAUSE_SECONDS = 1.5
_RATE = 200.0
_MOST_SECONDS = 500.0 * _ROUNDS
_FEWEST_MESSAGES = 10_000 * _ROUNDS


def _kill(process: psutil.Process) -> bool:
    """SIGKILL; whether that ended a process that was running."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return True


def _leader(platform: Platform, name: str) -> psutil.Process | None:
    pid = next(service.pid for service in platform.services if service.name == name)
    return psutil.Process(pid) if pid else None


def _strike_triggerer(platform: Platform, rng: random.Random) -> bool:
    """The supervisor or its runner; without one of them the other ends."""
    leader = _leader(platform, "airflow-triggerer")
    if leader is None:
        return False
    runners = [
        child for child in leader.children() if child.children() or "runner" in " ".join(child.cmdline())
    ]
    return _kill(rng.choice([leader, *runners]))


def _strike_scheduler(platform: Platform, _: random.Random) -> bool:
    """Its executor's workers and their tasks are left without it, as after a crash."""
    leader = _leader(platform, "airflow-scheduler")
    return leader is not None and _kill(leader)


def _strike_task(platform: Platform, rng: random.Random) -> bool:
    """A process below one of the executor's workers: the one that runs the operator."""
    leader = _leader(platform, "airflow-scheduler")
    if leader is None:
        return False
    workers = [child for child in leader.children() if "LocalExecutor" in " ".join(child.cmdline())]
    tasks = [task for worker in workers for task in worker.children()]
    return bool(tasks) and _kill(rng.choice(tasks))


def _strike_broker(platform: Platform, _: random.Random) -> bool:
    """All of Kafka: producers, watchers and tasks lose it at once."""
    leader = _leader(platform, "kafka")
    return leader is not None and _kill(leader)


_VICTIMS = {
    "task": _strike_task,
    "triggerer": _strike_triggerer,
    "scheduler": _strike_scheduler,
    "broker": _strike_broker,
}


def test_nothing_is_lost_or_doubled(loaded: Loaded) -> None:
    rng = random.Random(9)
    plan = [victim for victim, times in _STRIKES.items() for _ in range(times)]
    rng.shuffle(plan)
    struck: Counter[str] = Counter()
    with sent_traffic(loaded.platform, seconds=_MOST_SECONDS, rate=_RATE, seed=9) as sender:
        for victim in plan:
            assert sender.poll() is None, "every strike falls into traffic"
            if _strike_when_there(loaded, victim, rng):
                struck[victim] += 1
                print(f"{struck.total()} of {len(plan)}: {victim}", flush=True)
            time.sleep(_PAUSE_SECONDS)
            loaded.revive()
        sender.terminate()
    ends, cleared = loaded.drain()
    verdicts = loaded.judge(ends)
    print(f"struck: {dict(struck)}; runs given up and cleared: {cleared}")
    for stream, v in verdicts.items():
        print(f"{stream}: {v}")
    assert struck == Counter(_STRIKES), "the chaos itself is alive"
    assert {stream: v for stream, v in verdicts.items() if not v.ok} == {}
    assert sum(v.produced for v in verdicts.values()) > _FEWEST_MESSAGES


def _strike_when_there(loaded: Loaded, victim: str, rng: random.Random) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if _VICTIMS[victim](loaded.platform, rng):
            return True
        time.sleep(0.05)
    return False
