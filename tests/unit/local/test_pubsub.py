"""Finding the Pub/Sub emulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.local import pubsub


def _sdk(root: Path, *versions: str) -> None:
    folder = root / "platform" / "pubsub-emulator" / "lib"
    folder.mkdir(parents=True)
    for version in versions:
        (folder / f"cloud-pubsub-emulator-{version}-all.jar").touch()


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pubsub, "_USUAL", (str(tmp_path / "sdk"),))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("PUBSUB_EMULATOR_JAR", raising=False)


def test_newest_jar_by_number_not_by_letter(tmp_path: Path) -> None:
    _sdk(tmp_path / "sdk", "0.8.9", "0.8.20", "0.8.3")
    assert pubsub.emulator_version(pubsub.find_emulator_jar()) == "0.8.20"


def test_gcloud_is_asked(tmp_path: Path) -> None:
    _sdk(tmp_path / "far", "0.8.20")
    gcloud = tmp_path / "bin" / "gcloud"
    gcloud.parent.mkdir()
    gcloud.write_text(f"#!/bin/sh\necho {tmp_path / 'far'}\n")
    gcloud.chmod(0o755)
    assert pubsub.find_emulator_jar().is_relative_to(tmp_path / "far")


def test_named_jar_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _sdk(tmp_path / "sdk", "0.8.20")
    mine = tmp_path / "cloud-pubsub-emulator-9.9.9-all.jar"
    monkeypatch.setenv("PUBSUB_EMULATOR_JAR", str(mine))
    with pytest.raises(ConfigurationError, match="not a file"):
        pubsub.find_emulator_jar()
    mine.touch()
    assert pubsub.find_emulator_jar() == mine


def test_missing_says_how_to_get_it() -> None:
    with pytest.raises(ConfigurationError) as caught:
        pubsub.find_emulator_jar()
    assert "google-cloud-cli-pubsub-emulator" in caught.value.remedy
