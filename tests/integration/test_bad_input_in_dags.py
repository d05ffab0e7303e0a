"""A landing DAG with something wrong in it: the task fails at once, without retries, and says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, Asset

from madhatter_provider.transfers.kafka_to_snowflake import KafkaToSnowflakeOperator

pytestmark = pytest.mark.integration

CLICKS = Path(__file__).parents[2] / "include" / "contracts" / "clicks.odcs.yaml"
Failed = Callable[..., str]


@pytest.fixture
def failed(run_dag: Callable[..., Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Failed:
    """Run a landing task, which must fail in its first try; what its log says."""

    def run(contract: Path = CLICKS, topic: str = "clicks") -> str:
        asset = Asset("topic_clicks", uri="x-kafka://madhatter/clicks")
        with DAG("land_clicks", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
            KafkaToSnowflakeOperator(
                task_id="land", topic=topic, asset=asset, contract=str(contract),
                landing_root=(tmp_path / "landing").as_uri(), retries=3, retry_delay=timedelta(0),
            )  # fmt: skip
        done = run_dag(dag)
        (task,) = done.get_task_instances()
        assert task.state == "failed"
        assert task.try_number == 1, "a retry would see the same thing"
        out, err = capfd.readouterr()
        return " ".join((out + err).split())

    return run


@pytest.fixture(autouse=True)
def _no_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_DEFAULT", "SNOWFLAKE_DEFAULT"):
        monkeypatch.delenv(f"AIRFLOW_CONN_{name}", raising=False)


@pytest.fixture
def with_snowflake(snowflake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection to Snowflake is there and right."""
    monkeypatch.setenv("AIRFLOW_CONN_SNOWFLAKE_DEFAULT", snowflake.airflow_connection)


def test_no_contract(failed: Failed, tmp_path: Path) -> None:
    text = failed(tmp_path / "clicks.odcs.yaml")
    assert "Cannot read the contract: No such file" in text
    assert "Remedy: Check the path." in text


def test_broken_contract(failed: Failed, tmp_path: Path) -> None:
    contract = tmp_path / "clicks.odcs.yaml"
    contract.write_text(CLICKS.read_text().replace("logicalType: timestamp", "logicalType: moment", 1))
    text = failed(contract)
    assert "logicalType 'moment' is unknown" in text
    assert f"Where: {contract} schema[0].properties" in text


def test_no_snowflake_connection(failed: Failed) -> None:
    text = failed()
    assert "There is no connection 'snowflake_default'" in text
    assert "Remedy: Add a connection of type snowflake" in text


@pytest.mark.usefixtures("with_snowflake")
def test_no_kafka_connection(failed: Failed) -> None:
    text = failed()
    assert "There is no connection 'kafka_default'" in text
    assert "Remedy: Add a connection of type kafka" in text


@pytest.mark.usefixtures("with_snowflake")
def test_unknown_topic(failed: Failed, kafka_broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = {"conn_type": "kafka", "extra": {"bootstrap.servers": kafka_broker}}
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(kafka))
    text = failed(topic="no_such_topic")
    assert "The topic does not exist" in text
    assert f"Where: connection kafka_default ({kafka_broker}), topic no_such_topic" in text
    assert "Remedy: Create it, or mend its name." in text
