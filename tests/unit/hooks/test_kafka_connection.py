"""A Kafka connection that is missing or wrong: said with its name, its address and the remedy."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest

from madhatter_provider.core.errors import BrokerError, ConfigurationError
from madhatter_provider.hooks.kafka import KafkaSliceHook
from madhatter_provider.triggers import kafka_slice, offset_hub
from madhatter_provider.triggers.kafka_slice import KafkaSliceTrigger


@pytest.fixture(autouse=True)
def _connections(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = {"conn_type": "kafka", "extra": {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}}
    wrong = {"conn_type": "kafka", "extra": {"bootstrap.servers": "127.0.0.1:1", "no.such.option": "1"}}
    monkeypatch.delenv("AIRFLOW_CONN_KAFKA_DEFAULT", raising=False)
    monkeypatch.setenv("AIRFLOW_CONN_DEAD", json.dumps(dead))
    monkeypatch.setenv("AIRFLOW_CONN_WRONG", json.dumps(wrong))


def test_missing() -> None:
    with pytest.raises(ConfigurationError, match="no connection 'kafka_default'") as caught:
        KafkaSliceHook().bounds("clicks")
    assert "bootstrap.servers" in caught.value.remedy


def test_wrong_option() -> None:
    with pytest.raises(ConfigurationError, match=r"no\.such\.option") as caught:
        KafkaSliceHook("wrong").bounds("clicks")
    assert caught.value.where == "connection wrong (127.0.0.1:1), topic clicks"


def test_no_answer() -> None:
    with pytest.raises(BrokerError) as caught:
        KafkaSliceHook("dead", timeout=0.5).bounds("clicks")
    assert caught.value.where == "connection dead (127.0.0.1:1), topic clicks"
    assert "reachable" in caught.value.remedy


@pytest.mark.asyncio
async def test_the_watcher_waits_for_its_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not end: nobody would start it again."""
    monkeypatch.setattr(kafka_slice, "_FIRST_PAUSE_SECONDS", 0.01)
    watched: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def hub_for(config: dict[str, Any], _: float) -> Any:
        watched.set_result(config)
        raise asyncio.CancelledError

    monkeypatch.setattr(offset_hub, "hub_for", hub_for)
    trigger = KafkaSliceTrigger("clicks")
    run = asyncio.ensure_future(anext(trigger.run()))
    await asyncio.sleep(0.3)
    assert not run.done()
    assert "Cannot watch topic clicks" in caplog.text
    assert "no connection 'kafka_default'" in caplog.text
    added = {"conn_type": "kafka", "extra": {"bootstrap.servers": "there:9092"}}
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(added))
    found = await asyncio.wait_for(watched, 20)
    assert found["bootstrap.servers"] == "there:9092"
    with contextlib.suppress(asyncio.CancelledError):
        await run
