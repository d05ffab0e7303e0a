"""What ``madhatter init`` writes works as its README says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from madhatter_provider.local.service import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow]
Madhatter = Callable[..., str]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tmp_path / "shop"


@pytest.fixture
def madhatter(project: Path, madhatter_cache: Path) -> Iterator[Madhatter]:
    """Runs the command in the project, as a person would in a shell of their own."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MADHATTER_", "AIRFLOW", "SNOWFLAKE_"))}
    env |= {"MADHATTER_CACHE": str(madhatter_cache)}

    def run(*words: str | Path) -> str:
        where = project if project.is_dir() else None
        command = [sys.executable, "-m", "madhatter_provider.cli.main", *map(str, words)]
        done = subprocess.run(command, cwd=where, env=env, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("init", project)
    yield run
    run("local", "down")


def test_messages_in_rows_out(madhatter: Madhatter, project: Path) -> None:
    def rows(query: str) -> list[dict[str, Any]]:
        return list(json.loads(madhatter("local", "sql", "--json", query)))

    assert "Airflow: http://127.0.0.1:" in madhatter("local", "up")
    assert "15 messages to orders" in madhatter(
        "local", "send", "orders", "include/samples/orders.ndjson", "--repeat", "3"
    )
    done = wait_until(
        lambda: sum(r["ROWS_LOADED"] or 0 for r in rows("SELECT ROWS_LOADED FROM OPS.SLICES")) == 12,
        seconds=120,
        pause=1,
    )
    assert done, madhatter("local", "logs", "airflow-scheduler")
    assert "4 rows" in madhatter("local", "sql", "SELECT DISTINCT ORDER_ID FROM RAW.ORDERS")
    assert {r["RULE"] for r in rows("SELECT RULE FROM RAW.QUARANTINE")} == {"minimum"}


def test_its_own_test_passes(madhatter: Madhatter, project: Path, madhatter_cache: Path) -> None:
    env = {**os.environ, "MADHATTER_CACHE": str(madhatter_cache)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
