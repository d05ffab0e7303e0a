"""What one may do wrong on the command line: told what, where and the remedy, without a stack trace."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from madhatter_provider.cli.main import main
from madhatter_provider.local.platform import Platform

REPOSITORY = Path(__file__).parents[3]

Said = Callable[..., str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A platform's home of its own, inside this repository."""
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("MADHATTER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def said(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Said:
    """Run the command, which must fail; everything that it said, as one line."""

    def run(*arguments: object, code: int = 1) -> str:
        monkeypatch.setattr(sys, "argv", ["madhatter", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert ended.value.code == code
        assert "Traceback" not in out + err
        return " ".join((out + err).split())

    return run


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.mark.parametrize(
    ("command", "what", "where", "remedy"),
    [
        ("demo --break nonsense", "No stream is named 'nonsense'", "--break", "Choose of clicks,"),
        ("traffic --break nonsense", "Unknown stream 'nonsense'", "traffic --break", "Choose one of clicks,"),
        ("local restart nope", "No service is named 'nope'", "/home", "Choose of kafka,"),
        ("local up --only nope", "Not part of this platform: nope", "/home", "Choose of kafka,"),
        ("local up --port nope=1", "No port is named 'nope'", "--port", "Choose of kafka,"),
        ("local logs nope", "No log of 'nope'", "/home/logs", "madhatter local up"),
        ("sql apply --dry-run --landing-root /x", "not a URL", "'/x'", "Give file:///path,"),
        (
            "sql apply --dry-run --landing-root file:///x --include /nowhere",
            "No SQL file found", "/nowhere", "include/sql",
        ),
        (
            "sql apply --landing-root file:///x --account A --user U --private-key-file /nowhere",
            "Cannot read the private key", "/nowhere", "Set private_key_file",
        ),
        ("sql apply --landing-root file:///x", "SNOWFLAKE_ACCOUNT is not set", "", "Set it,"),
    ],
)  # fmt: skip
def test_names_and_paths(
    said: Said, monkeypatch: pytest.MonkeyPatch, command: str, what: str, where: str, remedy: str
) -> None:
    for name in [name for name in os.environ if name.startswith("SNOWFLAKE_")]:
        monkeypatch.delenv(name)
    text = said(*command.split())
    assert what in text
    assert where in text
    assert remedy in text


def test_port_taken(said: Said, taken: int) -> None:
    text = said("local", "up", "--only", "webhook", "--port", f"webhook={taken}")
    assert f"Port {taken} is taken by" in text
    assert "Where: port webhook" in text
    assert "Remedy: Choose another one." in text


def test_outside_of_a_project(said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("demo", "doctor", "local up", "local down"):
        text = said(*command.split())
        assert "No folder with include/contracts here or above" in text
        assert f"Where: {tmp_path}" in text
        assert "Remedy: Run the command inside a project; `madhatter init FOLDER` makes one." in text


def test_broken_contract(said: Said, tmp_path: Path) -> None:
    contracts = tmp_path / "contracts"
    shutil.copytree(REPOSITORY / "include" / "contracts", contracts)
    broken = contracts / "clicks.odcs.yaml"
    lines = len(broken.read_text().splitlines())
    with broken.open("a") as file:
        file.write("  - [\n")
    text = said("sql", "apply", "--landing-root", "file:///x", "--dry-run", "--contracts", contracts)
    assert "ContractError: Not valid YAML" in text
    assert f"Where: {broken}, line {lines + 2}, column 1" in text
    assert "Remedy: Mend it there." in text


def test_no_broker(said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("madhatter_provider.local.traffic.send._TIMEOUT_SECONDS", 0.5)
    text = said("traffic", "--bootstrap-servers", "127.0.0.1:1", "--labels", tmp_path / "labels")
    assert text.startswith("BrokerError: Kafka does not answer")
    assert "Where: 127.0.0.1:1" in text
    assert "Remedy: Start it: `madhatter local up`." in text


def test_a_place_that_cannot_be_written(said: Said, home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    text = said("demo", "--summary", tmp_path / "file" / "summary.json")
    assert "StorageError: " in text
    assert f"Where: {tmp_path}/file" in text
    assert "Remedy: A part of this path is a file" in text
    assert not home.exists(), "said before anything was started"


def test_full_disk(said: Said, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    text = said("demo", "--summary", "/dev/full")
    assert "StorageError: No space left on device" in text
    assert "Remedy: Free space there" in text


def test_summary_of_a_demo_that_could_not_begin(said: Said, tmp_path: Path) -> None:
    said("demo", "--break", "nonsense", "--summary", tmp_path / "summary.json")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["ok"] is False
    assert "No stream is named 'nonsense'" in summary["failures"][0]


def test_java_too_old(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = tmp_path / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "java"))
    told = {absent.name: absent for absent in Platform().catalog.absent}
    assert told["apache-kafka"].reason == "Java 11 is too old; librdkafka's mock broker stands in"
    assert told["pubsub"].reason == "Java 11 is too old; the alert leg is not run"
    assert "Install Java 17 or newer" in told["apache-kafka"].remedy
