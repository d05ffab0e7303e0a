"""Positions, claims and runs through Airflow's own REST API, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset
from fastapi.testclient import TestClient

from madhatter_provider.cli.airflow_state import AirflowState
from madhatter_provider.core.errors import ConfigurationError, TransientError
from madhatter_provider.core.slices.claims import Claim, ClaimRecord
from madhatter_provider.core.slices.offsets import OffsetRange, Slice

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

pytestmark = pytest.mark.integration
URL = "http://localhost"


@pytest.fixture
def server(
    run_dag: Callable[..., DagRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    """Airflow's API, with a DAG that ran once."""
    from airflow.api_fastapi.app import create_app, purge_cached_app

    with DAG("land_x", schedule=[Asset("topic_x")], start_date=datetime(2026, 1, 1)) as dag:
        EmptyOperator(task_id="nothing")
    run_dag(dag)
    passwords = tmp_path / "passwords.json"
    passwords.write_text(json.dumps({"admin": "secret", "viewer": "secret"}))
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "admin:admin,viewer:viewer")
    purge_cached_app()
    with TestClient(create_app(apps="core"), base_url=URL) as client:
        monkeypatch.setattr(httpx, "Client", lambda **_: client)
        yield client
    purge_cached_app()


def test_positions_claims_and_runs(server: TestClient) -> None:
    state = AirflowState(URL, "topic_x", user="admin", password="secret")
    assert state.dag_ids() == []
    assert state.record("land_x") is None
    owned = Slice("x", "epoch", (OffsetRange(0, 3, 9),))
    record = ClaimRecord("x", "epoch", {0: 9, 1: 0}, (Claim("r1", owned, Slice("x", "epoch")),))
    state.store("land_x", record)
    assert state.record("land_x") == record
    (run,) = server.get("/api/v2/dags/land_x/dagRuns").json()["dag_runs"]
    run_id = run["dag_run_id"]
    assert state.runs("land_x", [run_id, "gone/with: signs"]) == {run_id: "success", "gone/with: signs": None}
    assert state.runs("unknown", ["r1"]) == {"r1": None}

    with pytest.raises(ConfigurationError, match="knows no asset 'topic_y'"):
        AirflowState(URL, "topic_y", user="admin", password="secret").dag_ids()
    viewer = AirflowState(URL, "topic_x", user="viewer", password="secret")
    assert viewer.record("land_x") == record
    with pytest.raises(ConfigurationError, match="403"):
        viewer.store("land_x", record)
    with pytest.raises(ConfigurationError, match="refuses the login of admin"):
        AirflowState(URL, "topic_x", user="admin", password="wrong").dag_ids()
    with pytest.raises(ConfigurationError, match="No login"):
        AirflowState(URL, "topic_x").dag_ids()
    with pytest.raises(ConfigurationError, match="403"):
        AirflowState(URL, "topic_x", token="nonsense").dag_ids()


def test_an_airflow_that_does_not_answer_is_transient() -> None:
    with pytest.raises(TransientError, match="does not answer"):
        AirflowState("http://127.0.0.1:9", "topic_x", token="t").dag_ids()
