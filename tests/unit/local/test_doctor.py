"""What the doctor finds on a machine that lacks things."""

from __future__ import annotations

from pathlib import Path

import pytest

from madhatter_provider.local import doctor
from madhatter_provider.local.doctor import Finding, examine
from madhatter_provider.local.home import LocalHome
from madhatter_provider.local.state import State, write_state


def _by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("JAVA_HOME", "MADHATTER_CACHE", "PUBSUB_EMULATOR_JAR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("madhatter_provider.local.pubsub._USUAL", ())
    apt = tmp_path / "bin" / "apt-get"
    apt.parent.mkdir()
    apt.touch(mode=0o755)
    found = _by_name(examine(LocalHome(tmp_path / ".madhatter", tmp_path)))
    assert found["Java 17+"].command == "apt-get install openjdk-17-jre-headless"
    assert found["Maven"].command == "apt-get install maven"
    assert found["Go"].command == "apt-get install golang-go"
    assert "google-cloud-cli-pubsub-emulator" in found["Pub/Sub emulator"].command
    missing = {name for name, finding in found.items() if not finding.ok}
    assert missing == {"Java 17+", "Maven", "Go", "Pub/Sub emulator"}
    assert all(found[name].need == "wanted" and found[name].without for name in missing)


def test_full_disk_and_missing_extra_are_fatal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_DISK_GIB", 10**9)
    monkeypatch.setattr(doctor, "_EXTRAS", {"local": "no-such-package"})
    found = _by_name(examine(LocalHome(tmp_path, tmp_path)))
    for name in ("disk", "extra local"):
        assert not found[name].ok
        assert found[name].need == "required"
        assert found[name].command


def test_port_held_by_a_stranger(tmp_path: Path) -> None:
    import socket

    home = LocalHome(tmp_path, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        write_state(home.state_file, State(ports={"kafka": port}))
        finding = _by_name(examine(home))[f"port {port}"]
    assert not finding.ok
    assert "kafka" in finding.found
