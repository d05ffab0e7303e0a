"""Buttons of tasks that lead to the control room."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from airflow.sdk import BaseOperatorLink
from airflow.sdk.types import TaskInstanceKey

from madhatter_provider.control_room import plugin
from madhatter_provider.links.control_room import APP, VIEW, QualityLink, ReplayLink, SliceLink
from madhatter_provider.local.home import LocalHome
from madhatter_provider.local.services import PORTS
from madhatter_provider.local.site import Site
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
    assert address.startswith("/airflow/plugin/madhatter/airflow/madhatter/quality?")


def test_the_menu_keeps_that_path_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.com/airflow")
    (view,) = runpy.run_path(plugin.__file__)["MadHatterPlugin"].external_views
    assert (view["href"], view["icon"]) == ("/airflow/madhatter/streams", "/airflow/madhatter/static/hat.svg")


def test_notifications_of_the_local_platform_link_into_the_view(tmp_path: Path) -> None:
    environment = Site(LocalHome(tmp_path, tmp_path), dict.fromkeys(PORTS, 1)).env()
    assert urlsplit(environment["CASE_URL"]).path == f"{VIEW}{APP}/fraud"
