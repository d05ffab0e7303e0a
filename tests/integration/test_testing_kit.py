"""The kit for users: the documented example as they run it, and what it says when it is used wrongly."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from madhatter_provider.testing.kafka import MockKafka

pytestmark = [pytest.mark.integration, pytest.mark.slow]
_PAGE = Path(__file__).parents[2] / "docs/how-to/testing-your-dags.md"
_FILE = re.compile(r"`([\w.]+\.(?:py|ini|yaml))`[^`]*?:\n\n```\w+\n(.*?)```", re.DOTALL)


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A project with the page's files; runs pytest in it."""
    for name, content in _FILE.findall(_PAGE.read_text()):
        (tmp_path / name).write_text(content)

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", *options]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240)

    return run


def test_the_documented_examples_pass(
    project: Callable[..., subprocess.CompletedProcess[str]],
    madhatter_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MADHATTER_CACHE", str(madhatter_cache))
    done = project("-rs")
    if "2 skipped" in done.stdout:
        pytest.skip(done.stdout)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_without_the_setting_no_airflow_is_touched(
    project: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_orders.py").write_text("def test_it(madhatter_run_dag):\n    raise SystemExit\n")
    done = project("test_orders.py")
    assert "madhatter_airflow = true" in done.stdout
    assert "1 error" in done.stdout


def test_the_mock_broker_takes_messages(
    madhatter_mock_kafka: MockKafka, madhatter_start_mock_kafka: Callable[[], MockKafka]
) -> None:
    assert madhatter_start_mock_kafka().bootstrap_servers != madhatter_mock_kafka.bootstrap_servers
    topic = madhatter_mock_kafka.create_topic("kit")
    assert madhatter_mock_kafka.send(topic, [{"a": 1}, b"raw", None]) == 3
