"""The control room's API inside Airflow's API server, and questions to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from madhatter_provider.testing.snowflake import RunningSnowflake

from . import control_room_world as world

WRITES = {"X-Requested-With": "madhatter"}


@pytest.fixture(scope="module", name="served")
def served_fixture(
    request: pytest.FixtureRequest,
    shared_snowflake: RunningSnowflake,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[TestClient]:
    """Airflow's API server."""
    with (
        world.airflow(request, tmp_path_factory.mktemp("control-room"), shared_snowflake) as app,
        TestClient(app, base_url="http://localhost") as client,
    ):
        yield client


@pytest.fixture(name="client")
def client_fixture(served: TestClient, snowflake: RunningSnowflake) -> TestClient:
    """The same, over an empty ledger and with nothing remembered."""
    world.forget(snowflake.client())
    world.fresh_room(served)
    return served


@pytest.fixture(name="ledger")
def ledger_fixture(client: TestClient, snowflake: RunningSnowflake) -> None:
    """One stream with everything that can go wrong, one in order."""
    good = [world.loaded("searches", 0, i * world.STEP) for i in range(3)]
    world.record(snowflake.client(), world.troubled("clicks") + good)


def get(client: TestClient, path: str, user: str = "viewer", status: int = 200) -> Any:
    answer = client.get(f"/madhatter/{path}", headers=world.sign_in(client, user))
    assert answer.status_code == status, answer.text
    return answer.json()


def post(client: TestClient, path: str, body: Any, user: str = "user", **headers: str) -> Any:
    signed = world.sign_in(client, user)
    return client.post(f"/madhatter/{path}", json=body, headers=WRITES | signed | headers)
