"""The control room's API inside Airflow's API server: who may see and do what, and what it says when
something is away.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from madhatter_provider.testing.snowflake import RunningSnowflake

from . import control_room_world as world

pytestmark = pytest.mark.integration

WRITES = {"X-Requested-With": "madhatter"}


@pytest.fixture(scope="module")
def served(
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


@pytest.fixture
def client(served: TestClient, snowflake: RunningSnowflake) -> TestClient:
    """The same, over an empty ledger and with nothing remembered."""
    world.forget(snowflake.client())
    world.fresh_room(served)
    return served


@pytest.fixture
def ledger(client: TestClient, snowflake: RunningSnowflake) -> None:
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


def test_only_people_who_are_signed_in_see_it(client: TestClient, ledger: None) -> None:
    for path in ("streams", "api/session", "api/streams", "api/stream?name=clicks", "api/streams.csv"):
        assert client.get(f"/madhatter/{path}", headers={"Accept": "*/*"}).status_code == 401
    led = client.get("/madhatter/streams", headers={"Accept": "text/html"}, follow_redirects=False)
    assert led.status_code == 307
    assert "/auth/login" in led.headers["location"]
    viewer = world.sign_in(client, "viewer")
    page = client.get("/madhatter/streams", headers=viewer)
    assert page.status_code == 200
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    for path in ("docs", "openapi.json", "nothing"):
        assert client.get(f"/madhatter/{path}", headers=viewer).status_code == 404


def test_streams_are_counted_searched_and_paged(
    client: TestClient, ledger: None, snowflake: RunningSnowflake
) -> None:
    many = [world.loaded(f"feed_{i:03d}", 0, 0) for i in range(60)]
    world.record(snowflake.client(), many)
    first = get(client, "api/streams")
    assert (first["total"], first["totals"]["streams"], first["totals"]["problem"]) == (62, 62, 1)
    worst = first["streams"][0]
    assert (worst["stream"], worst["severity"]) == ("clicks", 2)
    assert [worst[k] for k in ("lost", "gaps", "failed_gates", "late")] == [1, 1, 1, 1]
    assert sum(worst["loads"]) > 0
    assert len(first["streams"]) == 50
    assert len(get(client, "api/streams?page=1")["streams"]) == 12
    assert get(client, "api/streams?search=FEED_00")["total"] == 10
    assert [s["stream"] for s in get(client, "api/streams?state=problem")["streams"]] == ["clicks"]
    assert get(client, "api/streams?search=%25")["streams"] == []
    get(client, "api/streams?sort=nonsense", status=422)
    csv = client.get("/madhatter/api/streams.csv", headers=world.sign_in(client, "viewer"))
    assert len(csv.text.splitlines()) == 63


def test_an_empty_ledger(client: TestClient) -> None:
    found = get(client, "api/streams")
    assert (found["total"], found["streams"], found["totals"]["streams"]) == (0, [], 0)
    get(client, "api/stream?name=clicks", status=404)


def test_a_stream_shows_what_is_wrong_and_where(client: TestClient, ledger: None) -> None:
    found = get(client, "api/stream?name=clicks")
    zero, one, two = found["partitions"]
    assert {m["kind"] for m in zero["marks"]} == {"loaded", "quarantined", "lost"}
    assert one["gaps"] == [{"start_offset": 900, "end_offset": 1000}]
    assert {m["kind"] for m in two["marks"]} >= {"claimed", "failed"}
    assert sorted(t["kind"] for t in found["troubles"]) == ["claimed", "failed", "lost"]
    assert found["runs"][0]["airflow_state"] is None  # this Airflow never had them
    assert found["minutes"]
    csv = client.get("/madhatter/api/stream/slices.csv?name=clicks", headers=world.sign_in(client, "viewer"))
    assert len(csv.text.splitlines()) == 90
    get(client, "api/stream?name=clicks&epoch=another", status=404)


def test_a_person_sees_only_the_streams_whose_dag_they_may_read(
    client: TestClient, ledger: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    def only_searches(_: object, *, details: Any = None, **__: Any) -> bool:
        return details is not None and details.id == "land_searches"

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", only_searches)
    monkeypatch.setattr(SimpleAuthManager, "get_authorized_dag_ids", lambda *_, **__: {"land_searches"})
    found = get(client, "api/streams", "admin")
    assert [s["stream"] for s in found["streams"]] == ["searches"]
    assert found["totals"]["problem"] == 0
    assert get(client, "api/stream?name=searches", "admin")["runs"]
    for path in ("stream?name=clicks", "stream/slices.csv?name=clicks", "stream/minutes.csv?name=clicks"):
        get(client, f"api/{path}", "admin", 404)
    assert get(client, "api/session", "admin")["may_replay"] is False


def test_who_may_replay(client: TestClient, ledger: None) -> None:
    body = {"stream": "searches", "start": "0", "end": "100", "reason": "rows are missing"}
    assert post(client, "api/replay/start", body, "viewer").status_code == 403
    assert client.post("/madhatter/api/replay/start", json=body, headers=WRITES).status_code == 401
    for headers in (
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"X-Requested-With": ""},
    ):
        assert post(client, "api/replay/start", body, "admin", **headers).status_code == 403
    assert get(client, "api/replay?stream=searches")["allowed"] is False
    assert get(client, "api/replay?stream=searches", "user")["allowed"] is True


def test_a_replay_is_started_as_the_person_who_asks(client: TestClient, ledger: None) -> None:
    body = {"stream": "searches", "start": "0:10", "end": "0:20", "reason": "rows are missing"}
    started = post(
        client, "api/replay/start", body, Origin="http://localhost", **{"Sec-Fetch-Site": "same-origin"}
    )
    assert started.status_code == 201, started.text
    run_id = started.json()["run_id"]
    assert get(client, f"api/replay/run?run_id={quote(run_id)}")["state"] == "queued"
    run = client.get(f"/api/v2/dags/replay/dagRuns/{run_id}", headers=world.sign_in(client, "admin")).json()
    assert run["triggering_user_name"] == "user"
    assert {k: run["conf"][k] for k in ("stream", "from", "to", "dry_run")} == {
        "stream": "searches", "from": "0:10", "to": "0:20", "dry_run": False,
    }  # fmt: skip
    get(client, "api/replay/run?run_id=unknown", status=404)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"start": None}, "No range to replay"),
        ({"of_run": "some_run"}, "Both a run and a range are given"),
        ({"stream": "feed"}, "does not replay stream 'feed'"),
    ],
)
def test_bad_replays_are_refused_in_words(
    client: TestClient, ledger: None, snowflake: RunningSnowflake, change: dict[str, Any], words: str
) -> None:
    world.record(snowflake.client(), [world.loaded("feed", 0, 0)])
    body = {"stream": "searches", "start": "0", "end": "100", "reason": "rows are missing"} | change
    answer = post(client, "api/replay/start", body)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]["what"]


def test_snowflake_away_is_said_and_the_last_answer_stays(
    client: TestClient, ledger: None, snowflake: RunningSnowflake, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = world.fresh_room(client).answers
    get(client, "api/streams")
    monkeypatch.setattr(answers, "_fresh", -1.0)
    monkeypatch.setattr(answers, "_ask", fail)
    get(client, "api/streams")  # asks again, in the background
    for _ in range(50):
        found = get(client, "api/streams")
        if found["fault"]:
            break
        time.sleep(0.05)
    assert found["fault"]["what"] == "no answer"
    assert found["total"] == 2
    detail = get(client, "api/stream?name=unseen", status=503)["detail"]
    assert (detail["what"], detail["where"], detail["remedy"]) == ("no answer", "account X", "Look there.")


def fail(statement: str, bindings: object) -> Any:
    from madhatter_provider.core.errors import SnowflakeUnavailable

    raise SnowflakeUnavailable("no answer", where="account X", remedy="Look there.")


def test_it_is_in_the_menu_once(client: TestClient) -> None:
    plugins = client.get("/api/v2/plugins", headers=world.sign_in(client, "admin")).json()["plugins"]
    ours = [p for p in plugins if p["name"] == "madhatter"]
    assert [v["name"] for p in ours for v in p["external_views"]] == ["Control room"]
