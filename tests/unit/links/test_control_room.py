"""Buttons of tasks that lead to the control room."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from airflow.sdk import BaseOperatorLink
from airflow.sdk.types import TaskInstanceKey

from madhatter_provider.links.control_room import QualityLink, ReplayLink, SliceLink
from madhatter_provider.operators.kafka import KafkaClaimSliceOperator
from madhatter_provider.operators.quality import QualityGateOperator
from madhatter_provider.operators.replay import ReplayQuarantineOperator, ReplaySliceOperator
from madhatter_provider.operators.slice_gate import SliceGateOperator
from madhatter_provider.operators.snowpipe import SnowpipeIngestOperator
from madhatter_provider.transfers.kafka_to_object_storage import KafkaToObjectStorageOperator
from madhatter_provider.transfers.kafka_to_snowflake import KafkaToSnowflakeOperator

KEY = TaskInstanceKey("land_a&b", "replay", "manual__2026-11-24T12:00:00+00:00", 1, -1)


@pytest.mark.parametrize(
    ("operator", "link"),
    [
        (KafkaClaimSliceOperator, SliceLink),
        (KafkaToObjectStorageOperator, SliceLink),
        (KafkaToSnowflakeOperator, SliceLink),
        (SnowpipeIngestOperator, SliceLink),
        (SliceGateOperator, SliceLink),
        (ReplaySliceOperator, ReplayLink),
        (ReplayQuarantineOperator, ReplayLink),
        (QualityGateOperator, QualityLink),
    ],
)
def test_operators_have_their_button(operator: Any, link: type[BaseOperatorLink]) -> None:
    assert [type(one) for one in operator.operator_extra_links] == [link]


def test_the_button_names_the_run() -> None:
    address = urlsplit(SliceLink().get_link(None, ti_key=KEY))  # type: ignore[arg-type]
    assert address.path == "/plugin/madhatter/madhatter/run"
    assert parse_qs(address.query) == {"dag_id": ["land_a&b"], "run_id": [KEY.run_id]}


def test_the_button_keeps_the_path_that_airflow_is_served_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.com/airflow/")
    address = QualityLink().get_link(None, ti_key=KEY)  # type: ignore[arg-type]
    assert address.startswith("/airflow/plugin/madhatter/madhatter/quality?")
