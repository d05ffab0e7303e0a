"""Kafka's jars: fetched once, whole or absent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.local.kafka import KAFKA_VERSION, KafkaNode, has_kafka_jars, kafka_jars

_MAVEN = """#!/bin/sh
echo run >> "{count}"
for word in "$@"; do case "$word" in -DoutputDirectory=*) out="${{word#-DoutputDirectory=}}";; esac; done
mkdir -p "$out" && printf 12345 > "$out/kafka.jar"
exit {code}
"""


@pytest.fixture
def maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Maven that counts its runs in the file given back."""
    count = tmp_path / "runs"
    _install(tmp_path, count, 0)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return count


def _install(tmp_path: Path, count: Path, code: int) -> None:
    program = tmp_path / "bin" / "mvn"
    program.parent.mkdir(exist_ok=True)
    program.write_text(_MAVEN.format(count=count, code=code))
    program.chmod(0o755)


def test_fetched_once(tmp_path: Path, maven: Path) -> None:
    cache = tmp_path / "cache"
    assert not has_kafka_jars(cache)
    first = kafka_jars(cache)
    assert kafka_jars(cache) == first == cache / f"kafka-{KAFKA_VERSION}"
    assert maven.read_text().count("run") == 1
    assert has_kafka_jars(cache)
    assert list(cache.iterdir()) == [first]


@pytest.mark.parametrize("damage", ["truncated", "missing", "no listing"])
def test_damaged_copy_is_fetched_again(tmp_path: Path, maven: Path, damage: str) -> None:
    folder = kafka_jars(tmp_path / "cache")
    if damage == "truncated":
        (folder / "kafka.jar").write_text("1")
    elif damage == "missing":
        (folder / "kafka.jar").unlink()
    else:
        (folder / "jars.json").unlink()
    kafka_jars(tmp_path / "cache")
    assert (folder / "kafka.jar").read_text() == "12345"
    assert json.loads((folder / "jars.json").read_text()) == {"kafka.jar": 5}


def test_failed_fetch_leaves_nothing(tmp_path: Path, maven: Path) -> None:
    _install(tmp_path, maven, 1)
    with pytest.raises(ConfigurationError, match="Maven could not fetch Kafka"):
        kafka_jars(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_missing_maven_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError) as caught:
        kafka_jars(tmp_path / "cache")
    assert "apt-get install maven" in caught.value.remedy


def test_nothing_listens_nothing_answers(tmp_path: Path) -> None:
    assert KafkaNode("java", tmp_path, tmp_path, 1, 2).ready() is False
