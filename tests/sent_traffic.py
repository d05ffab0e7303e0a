"""Labelled traffic into a running platform, from a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from madhatter_provider.local.platform import Platform
from madhatter_provider.local.process import tail

REPOSITORY = Path(__file__).resolve().parents[1]


@contextmanager
def sent_traffic(
    platform: Platform, *, seconds: float, rate: float, seed: int, patience: float = 120
) -> Iterator[subprocess.Popen[bytes]]:
    """Send traffic while the block runs. It must end well, unless the block has ended it before.

    Labels go to ``labels-<seed>.ndjson``, counts to ``traffic-<seed>.json``, what it says to
    ``traffic-<seed>.log`` in the platform's home: a pipe that nobody reads would stop it when it is full.

    :param patience: seconds to wait for its end after the block, beside ``seconds``.
    """
    home = platform.home.root
    command = [
        sys.executable, "-m", "madhatter_provider.cli.main", "traffic", f"--seconds={seconds}",
        f"--rate={rate}", f"--seed={seed}", f"--labels={home}/labels-{seed}.ndjson",
        f"--summary={home}/traffic-{seed}.json",
    ]  # fmt: skip
    log = home / f"traffic-{seed}.log"
    with log.open("wb") as said:
        sender = subprocess.Popen(
            command, env=platform.env, cwd=REPOSITORY, stdout=said, stderr=subprocess.STDOUT
        )
    try:
        yield sender
        sender.wait(timeout=seconds + patience)
        assert sender.returncode in (0, -signal.SIGTERM), tail(log, 30)
    finally:
        sender.kill()
        sender.wait()
