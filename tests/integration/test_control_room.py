"""The control room inside Airflow's API server: who may see it, and what it says when Snowflake is away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from madhatter_provider.control_room import app as control_room
from madhatter_provider.core.errors import SnowflakeUnavailable

pytestmark = pytest.mark.integration
USERS = ("admin", "viewer")


@pytest.fixture
def client(airflow_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    from airflow.api_fastapi.app import create_app, purge_cached_app

    passwords = tmp_path / "passwords.json"
    passwords.write_text(json.dumps({user: user for user in USERS}))
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "admin:admin,viewer:viewer")
    purge_cached_app()
    with TestClient(create_app(apps="core"), base_url="http://localhost") as test_client:
        yield test_client
    purge_cached_app()


def signed_in(client: TestClient, user: str) -> dict[str, str]:
    answer = client.post("/auth/token", json={"username": user, "password": user})
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def test_only_people_who_are_signed_in_see_it(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[dict[str, Any]] = [{"stream": "clicks", "rows_loaded": 7}]
    monkeypatch.setattr(control_room.LedgerReader, "streams", lambda _: rows)
    for path in ("/madhatter/", "/madhatter/api/streams"):
        assert client.get(path).status_code == 401
    viewer = signed_in(client, "viewer")
    assert client.get("/madhatter/api/streams", headers=viewer).json() == rows
    page = client.get("/madhatter/", headers=viewer)
    assert "<h1>Streams</h1>" in page.text
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    for path in ("/madhatter/docs", "/madhatter/openapi.json"):
        assert client.get(path, headers=viewer).status_code == 404


def test_snowflake_away_is_said_in_words(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise SnowflakeUnavailable("no answer in 10 s", where="account X", remedy="Look at its status page.")

    monkeypatch.setattr(control_room.LedgerReader, "streams", fail)
    answer = client.get("/madhatter/api/streams", headers=signed_in(client, "viewer"))
    assert answer.status_code == 503
    detail = answer.json()["detail"]
    assert detail == {"what": "no answer in 10 s", "where": "account X", "remedy": "Look at its status page."}


def test_it_is_in_the_menu_once(client: TestClient) -> None:
    plugins = client.get("/api/v2/plugins", headers=signed_in(client, "admin")).json()["plugins"]
    ours = [p for p in plugins if p["name"] == "madhatter"]
    assert [v["name"] for p in ours for v in p["external_views"]] == ["Streams"]
