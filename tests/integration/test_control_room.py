"""The control room's API inside Airflow's API server: who may see and do what, and what it says when
something is away.
"""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from madhatter_provider.cli.replay import new_id
from madhatter_provider.control_room.broker import KafkaClients
from madhatter_provider.control_room.plugin import MadHatterPlugin
from madhatter_provider.core.replay.record import id_of_task
from madhatter_provider.core.slices.claims import TopicBounds
from madhatter_provider.testing.kafka import MakeTopic, RunningKafka
from madhatter_provider.testing.snowflake import RunningSnowflake

from . import control_room_world as world
from .served_control_room import WRITES, client_fixture, get, ledger_fixture, post, served_fixture

pytestmark = pytest.mark.integration
__all__ = ["client_fixture", "ledger_fixture", "served_fixture"]


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


def test_every_answer_needs_the_right_to_see_plugins(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_view", lambda *_, **__: False)
    headers = WRITES | world.sign_in(client, "admin")
    routes = [
        (method, r.path)
        for r in MadHatterPlugin.fastapi_apps[0]["app"]._app.routes
        if isinstance(r, APIRoute)
        for method in r.methods
    ]
    assert {"/api/streams", "/api/quarantine.csv", "/api/replay/start", "/report"} < {p for _, p in routes}
    answers = {p: client.request(m, f"/madhatter{p}", headers=headers).status_code for m, p in routes}
    assert answers == {path: 403 for _, path in routes}


def test_streams_are_counted_searched_and_paged(
    client: TestClient, ledger: None, snowflake: RunningSnowflake
) -> None:
    many = [world.loaded(f"feed_{i:03d}", 0, 0) for i in range(60)]
    world.record(snowflake.client(), many)
    first = get(client, "api/streams")
    assert (first["totals"]["streams"], first["totals"]["problem"]) == (62, 1)
    worst = first["streams"][0]
    assert (worst["stream"], worst["severity"]) == ("clicks", 2)
    assert [worst[k] for k in ("lost", "gaps", "failed_gates", "late")] == [1, 1, 1, 1]
    assert sum(worst["loads"]) > 0
    assert len(first["streams"]) == 50
    assert len(get(client, "api/streams?page=1")["streams"]) == 12
    assert get(client, "api/streams?search=FEED_00")["totals"]["streams"] == 10
    assert [s["stream"] for s in get(client, "api/streams?state=problem")["streams"]] == ["clicks"]
    assert get(client, "api/streams?search=%25")["streams"] == []
    for wrong in ("sort=nonsense", "direction=up", "state=bad"):
        get(client, f"api/streams?{wrong}", status=422)
    csv = client.get("/madhatter/api/streams.csv", headers=world.sign_in(client, "viewer"))
    lines = csv.text.splitlines()
    assert len(lines) == 63
    assert lines[0].endswith(",ROWS_BY_MINUTE")
    by_minute = {line.split(",")[0]: line.split(",")[-1].split(" ") for line in lines[1:]}
    again = get(client, "api/streams")["streams"][0]  # a minute may have ended meanwhile
    assert list(map(int, by_minute["clicks"])) in (worst["loads"], again["loads"])


def test_streams_are_sorted_over_all_pages(client: TestClient, snowflake: RunningSnowflake) -> None:
    many = [
        world.loaded(f"feed_{i:03d}", 0, 0, minutes_ago=1 + i / 10, size=100 + 10 * i, rows_quarantined=i % 7)
        for i in range(60)
    ]
    world.record(snowflake.client(), [*many, world.open_range("stuck", 0, 0, "claimed")])

    def first(query: str) -> str:
        found = get(client, f"api/streams?{query}")["streams"][0]["stream"]
        return str(found)

    assert first("sort=state") == "stuck"
    assert [first(f"sort=stream&direction={d}") for d in ("", "desc")] == ["feed_000", "stuck"]
    assert [first(f"sort=freshness&direction={d}") for d in ("", "asc")] == ["feed_059", "feed_000"]
    assert [first(f"sort=throughput&direction={d}") for d in ("", "asc")] == ["feed_059", "stuck"]
    assert [first(f"sort=quarantine&direction={d}") for d in ("", "asc")] == ["feed_006", "feed_000"]
    last = get(client, "api/streams?sort=freshness&page=1")
    assert last["streams"][-1]["stream"] == "stuck"  # never loaded: last, whichever way
    assert last["descending"] is True


def test_streams_are_sorted_by_lag(
    client: TestClient,
    snowflake: RunningSnowflake,
    madhatter_kafka: RunningKafka,
    topic: MakeTopic,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topics = [topic(partitions=2) for _ in range(3)]
    for name, messages in zip(topics, (5, 30, 0), strict=True):
        madhatter_kafka.send(name, [{"n": n} for n in range(messages)], partition=1)
    sql = snowflake.client()
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", madhatter_kafka.airflow_connection)
    epochs = {
        t: b.topic_id
        for t, b in KafkaClients("kafka_default").bounds(topics).items()
        if isinstance(b, TopicBounds)
    }
    rows = [world.loaded(t, 0, 0, size=1, topic_id=e) for t, e in epochs.items()]
    world.record(sql, [*rows, world.loaded("gone", 0, 0)])
    world.fresh_room(client)
    deadline = time.monotonic() + 30
    while (found := get(client, "api/streams?sort=lag"))["broker"]["pending"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    lags = [(s["stream"], s["lag"]) for s in found["streams"]]
    assert [name for name, _ in lags] == [topics[1], topics[0], topics[2], "gone"]
    assert lags[-1] == ("gone", None)
    assert found["streams"][-1]["topic_fault"]["what"].startswith("The topic does not exist")
    assert found["broker"]["as_of"]
    alone = get(client, "api/stream?name=gone")
    assert (alone["topic_fault"]["what"][:9], alone["broker"]["fault"]) == ("The topic", None)


def test_an_empty_ledger(client: TestClient) -> None:
    found = get(client, "api/streams")
    assert (found["streams"], found["totals"]["streams"]) == ([], 0)
    get(client, "api/stream?name=clicks", status=404)


def test_a_stream_shows_what_is_wrong_and_where(
    client: TestClient, ledger: None, snowflake: RunningSnowflake
) -> None:
    found = get(client, "api/stream?name=clicks")
    zero, one, two = found["partitions"]
    assert {m["kind"] for m in zero["marks"]} == {"loaded", "quarantined", "lost"}
    assert one["gaps"] == [{"start_offset": 900, "end_offset": 1000}]
    assert [p["rows_10m"] for p in found["partitions"]] == [593, 593, 493]
    newest = snowflake.client().execute(
        "SELECT MAX(LOADED_AT) AS T FROM OPS.SLICES WHERE STREAM = 'clicks' GROUP BY PARTITION_ID "
        "ORDER BY PARTITION_ID"
    )
    assert [datetime.fromisoformat(p["last_load"]) for p in found["partitions"]] == [r["T"] for r in newest]
    assert {m["kind"] for m in two["marks"]} >= {"claimed", "failed"}
    assert sorted(t["kind"] for t in found["troubles"]) == ["claimed", "failed", "lost"]
    assert found["runs"][0]["airflow_state"] is None  # this Airflow never had them
    assert found["loads"]
    csv = client.get("/madhatter/api/stream/slices.csv?name=clicks", headers=world.sign_in(client, "viewer"))
    assert len(csv.text.splitlines()) == 90
    get(client, "api/stream?name=clicks&epoch=another", status=404)


def test_throughput_and_freshness_of_a_period(client: TestClient, snowflake: RunningSnowflake) -> None:
    rows = [world.loaded("clicks", 0, i * 100, minutes_ago=m) for i, m in enumerate((6000, 600, 100, 10, 9))]
    world.record(snowflake.client(), rows)
    sums = {}
    for period in ("1h", "6h", "24h", "7d"):
        found = get(client, f"api/stream?name=clicks&period={period}")
        sums[period] = (found["bucket"], sum(m["rows_loaded"] for m in found["loads"]))
        starts = [datetime.fromisoformat(m["loaded_from"]) for m in found["loads"]]
        assert all(s.minute % found["bucket"] == 0 and s.second == 0 for s in starts)
    assert sums == {"1h": (1, 200), "6h": (5, 300), "24h": (15, 400), "7d": (60, 500)}
    get(client, "api/stream?name=clicks&period=1y", status=422)
    found = get(client, "api/dashboards/quality?period=24h")
    assert [c["bucket"] for c in found["charts"]] == [60, 60]  # never finer than the mart
    get(client, "api/dashboards/quality?period=1y", status=422)
    file = client.get(
        "/madhatter/api/stream/loads.csv?name=clicks&period=7d", headers=world.sign_in(client, "viewer")
    )
    assert len(file.text.splitlines()) >= 4


def test_a_person_sees_only_the_streams_whose_dag_they_may_read(
    client: TestClient, ledger: None, snowflake: RunningSnowflake, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    # Others work on the stream too: a second DAG, in a slice of its own and in one mark with the own DAG's;
    # and a replay.
    another = {"dag_id": "hidden_dag", "run_id": "hidden_run"}
    slices = [world.open_range("searches", p, 300, "claimed", **another) for p in (0, 1)]
    slices += [world.loaded("searches", 2, i, size=1) for i in range(1000)]
    slices.append(world.loaded("searches", 2, 1000, size=1, minutes_ago=60, **another))
    world.record(snowflake.client(), slices)
    by_task = ("ada, replay hidden_run", "replay hidden_run", "eve, land_searches own")
    replays = [(by, id_of_task("replay", by, "replay", -1)) for by in by_task]
    for n, (by, replay_id) in enumerate([*replays, ("Bob Barker", new_id())]):
        replay = world.replayed("searches", n, REQUESTED_BY=by, ID=replay_id)
        world.insert(snowflake.client(), "OPS.REPLAYS", [replay])

    world.insert(snowflake.client(), "OPS.QUALITY_RESULTS", [world.judged("searches", "not_null", True)])

    def only_searches(_: object, *, details: Any = None, **__: Any) -> bool:
        return details is not None and details.id == "land_searches"

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", only_searches)
    monkeypatch.setattr(SimpleAuthManager, "get_authorized_dag_ids", lambda *_, **__: {"land_searches"})
    found = get(client, "api/streams", "admin")
    assert [s["stream"] for s in found["streams"]] == ["searches"]
    assert found["totals"]["problem"] == 0
    stream = get(client, "api/stream?name=searches", "admin")
    assert {r["dag_id"] for r in stream["runs"]} == {"land_searches"}
    assert [r["requested_by"] for r in stream["replays"]] == ["ada", "", by_task[2], "Bob Barker"]
    assert {m["dag_id"] for p in stream["partitions"] for m in p["marks"]} == {"land_searches", None}
    assert len(stream["troubles"]) == 2
    assert "hidden" not in json.dumps(stream)
    get(client, "api/run?dag_id=hidden_dag&run_id=hidden_run", "admin", 404)
    for path in ("stream?name=clicks", "stream/slices.csv?name=clicks", "stream/loads.csv?name=clicks"):
        get(client, f"api/{path}", "admin", 404)
    assert get(client, "api/session", "admin")["may_replay"] is False
    quality = get(client, "api/quality", "admin")
    assert quality["totals"]["not_yet"] == 3 + 1001
    assert [(r["stream"], r["dag_id"]) for r in quality["rounds"]] == [("searches", None)]
    assert get(client, "api/quality/charts", "admin")["charts"] == []
    for path in ("dashboards/quality", "dashboards/quality/quarantined.csv"):
        get(client, f"api/{path}", "admin", 404)


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


def test_a_run_leads_to_its_stream(client: TestClient, ledger: None) -> None:
    found = get(client, "api/run?dag_id=land_searches&run_id=asset_triggered__100")
    assert found == {"stream": "searches", "epoch": "epoch-of-searches"}
    get(client, "api/run?dag_id=land_searches&run_id=skipped", status=404)
    get(client, "api/run?replay=R1", status=404)


def test_no_secret_is_in_any_answer(client: TestClient, ledger: None, snowflake: RunningSnowflake) -> None:
    key = "".join(snowflake.key.splitlines()[1:-1])[:60]
    paths = (
        "session",
        "streams",
        "stream?name=clicks",
        "quality",
        "replay?stream=clicks",
        "dashboards/fraud",
    )
    for path in paths:
        text = json.dumps(get(client, f"api/{path}", "admin"))
        assert key not in text.replace("\\n", "")
        assert "PRIVATE" not in text
        assert "user.p8" not in text


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
    assert found["totals"]["streams"] == 2
    detail = get(client, "api/stream?name=unseen", status=503)["detail"]
    assert (detail["what"], detail["where"], detail["remedy"]) == ("no answer", "account X", "Look there.")


def fail(statement: str, bindings: object) -> Any:
    from madhatter_provider.core.errors import SnowflakeUnavailable

    raise SnowflakeUnavailable("no answer", where="account X", remedy="Look there.")


def test_it_is_in_the_menu_once(client: TestClient) -> None:
    plugins = client.get("/api/v2/plugins", headers=world.sign_in(client, "admin")).json()["plugins"]
    ours = [p for p in plugins if p["name"] == "madhatter"]
    assert [v["name"] for p in ours for v in p["external_views"]] == ["MadHatter"]
