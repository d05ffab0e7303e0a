"""A Kafka connection that is missing or wrong: said with its name, its address and the remedy."""

from __future__ import annotations

import json

import pytest

from madhatter_provider.core.errors import BrokerError, ConfigurationError
from madhatter_provider.hooks.kafka import KafkaSliceHook


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
