"""The examples of the pages on watching and waiting run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from madhatter_provider.sensors.kafka import KafkaWaitingSensor
from madhatter_provider.triggers.kafka_slice import KafkaSliceTrigger

DOCS = Path(__file__).parents[2] / "docs/how-to"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("block", blocks("sensors.md", "python"))
def test_a_sensor_can_be_made(block: str) -> None:
    names: dict[str, Any] = {}
    with DAG("waits", schedule=None) as dag:
        exec(block, names)
    (task,) = dag.tasks
    assert isinstance(task, KafkaWaitingSensor)
    assert task.deferrable


def test_the_watcher_can_be_made() -> None:
    names: dict[str, Any] = {}
    exec(blocks("watching.md", "python")[0], names)
    (watcher,) = names["topic"].watchers
    assert KafkaSliceTrigger(**names["trigger"].serialize()[1]).serialize() == names["trigger"].serialize()
    assert watcher.name == "clicks"


def test_options_of_the_table_exist() -> None:
    table = (DOCS / "watching.md").read_text().split("## Tuning\n")[1].split("\n\n")[0]
    options = set(re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE))
    assert options == KafkaSliceTrigger("t").serialize()[1].keys() - {"topic", "kafka_config_id"}


def test_the_connection_is_json() -> None:
    (extra,) = blocks("watching.md", "json")
    assert json.loads(extra)["security.protocol"] == "SASL_SSL"


def test_the_roll_up_replaces_its_hour() -> None:
    names: dict[str, Any] = {}
    exec(blocks("roll-ups.md", "python")[0], names)
    delete, insert = names["statements"]
    assert delete == (
        "DELETE FROM MARTS.CLICKS_PER_HOUR WHERE HOUR = '2026-11-24 06:00:00+00:00'::TIMESTAMP_TZ"
    )
    assert "EVENT_TIME < '2026-11-24 07:00:00+00:00'::TIMESTAMP_TZ" in insert
