"""What is refused where a DAG that claims is parsed."""

from __future__ import annotations

from datetime import datetime

import pytest
from airflow.sdk import DAG, Asset

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.decorators.kafka_slice import kafka_slice_task
from madhatter_provider.operators.kafka import KafkaClaimSliceOperator

TOPIC = Asset("topic")


def dag(name: str = "d") -> DAG:
    return DAG(name, schedule=[TOPIC], start_date=datetime(2026, 1, 1))


def test_two_tasks_of_a_dag_that_claim_from_one_asset_are_refused() -> None:
    @kafka_slice_task(topic="t", asset=TOPIC)
    def two(batches: object) -> None: ...

    with dag():
        KafkaClaimSliceOperator(task_id="one", topic="t", asset=TOPIC)
        KafkaClaimSliceOperator(task_id="other", topic="t", asset=Asset("another"))
        with pytest.raises(ConfigurationError, match="Two tasks claim from asset 'topic': one and two"):
            two()


def test_two_dags_on_one_asset_are_fine() -> None:
    for name in ("d", "e"):
        with dag(name):
            KafkaClaimSliceOperator(task_id="one", topic="t", asset=TOPIC)
