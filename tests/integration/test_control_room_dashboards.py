"""Dashboards, quality and cases as the control room's API tells them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from madhatter_provider.core.fraud.decisions import Decision, record_decision
from madhatter_provider.testing.snowflake import RunningSnowflake

from . import control_room_world as world
from .served_control_room import client_fixture, get, ledger_fixture, served_fixture

pytestmark = pytest.mark.integration
__all__ = ["client_fixture", "ledger_fixture", "served_fixture"]


def test_of_a_thousand_series_the_greatest_are_shown_and_the_file_has_all(
    client: TestClient, ledger: None, snowflake: RunningSnowflake
) -> None:
    feeds = [f"feed_{i:03d}" for i in range(240)]
    many = [world.loaded(f, 0, 0, rows_quarantined=i if i < 40 else 0) for i, f in enumerate(feeds)]
    world.record(snowflake.client(), many)
    found = get(client, "api/quality/charts?period=24h")
    assert found["has_period"]
    quarantined, gates = found["charts"]
    shown = {r["series"] for r in quarantined["rows"]}
    assert shown == set(feeds[28:40])  # those with the greatest shares
    assert quarantined["series_count"] == 242
    assert gates["series_count"] is None
    file = client.get(
        "/madhatter/api/dashboards/quality/quarantined.csv", headers=world.sign_in(client, "viewer")
    )
    assert len({line.split(",")[1] for line in file.text.splitlines()[1:]}) == 242


def test_tables_of_quality_are_cut_and_their_sums_are_not(
    client: TestClient, ledger: None, snowflake: RunningSnowflake
) -> None:
    sql, feeds = snowflake.client(), [f"feed_{i:03d}" for i in range(240)]
    world.record(sql, [world.loaded(f, 0, 0) for f in feeds])
    world.insert(sql, "RAW.QUARANTINE", [world.held(f, n) for f in feeds for n in (0, 1)])
    world.insert(sql, "OPS.QUALITY_RESULTS", [world.judged(f, "between", False) for f in feeds])
    found = get(client, "api/quality")
    assert found["rows"] == {"gates": 242, "failing": 240, "rounds": 240, "quarantined": 240}
    assert {len(found[table]) for table in found["rows"]} == {200}
    assert found["totals"] == {"failed_gates": 1, "not_yet": 87 + 3 + 240, "critical": 240, "held": 480}
    assert found["gates"][0]["stream"] == "clicks"  # the worst first
    assert not [name for name in found["gates"][0] if name.startswith("all_")]
    viewer = world.sign_in(client, "viewer")
    for table, rows in found["rows"].items():
        lines = client.get(f"/madhatter/api/quality/{table}.csv", headers=viewer).text.splitlines()
        assert len(lines) == rows + 1
        assert "ALL_" not in lines[0]
    get(client, "api/quality/nothing.csv", status=404)


def test_what_is_in_quarantine_and_its_messages(
    client: TestClient, ledger: None, snowflake: RunningSnowflake
) -> None:
    evil = f"=HYPERLINK({world.EVIL})"
    rows = [world.held("clicks", i) for i in range(60)]
    rows.append(world.held("clicks", 60, REASON=evil, RULE="decode", COLUMN=None, RAW=b"\xff\x00"))
    rows.append(world.held("clicks", 61, RULE="maximum", RAW=b"x" * 5000))
    world.insert(snowflake.client(), "RAW.QUARANTINE", rows)
    groups = get(client, "api/quality")["quarantined"]
    assert [(g["rule"], g["column_name"], g["rows_held"]) for g in groups] == [
        ("maximum", "price", 61), ("decode", None, 1),
    ]  # fmt: skip
    first = get(client, "api/quarantine?stream=clicks&rule=maximum&column=price")
    assert (first["total"], len(first["rows"]), first["rows"][0]["raw"]) == (61, 50, '{"price": 1}')
    last = get(client, "api/quarantine?stream=clicks&page=1")["rows"]
    assert [(r["raw"][:6], r["cut"]) for r in last[-2:]] == [("0xff00", False), ("xxxxxx", True)]
    file = client.get("/madhatter/api/quarantine.csv?stream=clicks", headers=world.sign_in(client, "viewer"))
    assert f"'{evil}" in file.text  # a spreadsheet sees text
    assert "x" * 5000 in file.text
    get(client, "api/quarantine?stream=nothing", status=404)


def test_reports_of_the_deep_gate_run_no_script(
    client: TestClient, ledger: None, snowflake: RunningSnowflake
) -> None:
    folder = snowflake.landing / "reports" / "clicks"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "round.html").write_text("<h1>Found</h1><script>alert(1)</script>")
    place = f"{snowflake.landing_root}/reports/clicks/round.html"
    results = [
        world.judged("clicks", "between", False, place),
        world.judged("clicks", "not_null", True, place),
    ]
    gone = [world.judged("searches", "between", True, f"{snowflake.landing_root}/reports/gone.html")]
    world.insert(snowflake.client(), "OPS.QUALITY_RESULTS", results + gone)
    found = get(client, "api/quality")
    assert [(r["stream"], r["expectation"]) for r in found["failing"]] == [("clicks", "between")]
    assert [(r["stream"], r["expectations"], r["failed"]) for r in found["rounds"]] == [
        ("clicks", 2, 1), ("searches", 1, 0),
    ]  # fmt: skip
    assert next(g for g in found["gates"] if g["stream"] == "clicks")["gate_fail"] == 1
    viewer = world.sign_in(client, "viewer")
    answer = client.get("/madhatter/report?stream=clicks&round_id=round+1", headers=viewer)
    assert "<h1>Found</h1>" in answer.text
    assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert client.get("/madhatter/report?stream=searches&round_id=round+1", headers=viewer).status_code == 404
    assert client.get("/madhatter/report?stream=clicks&round_id=another", headers=viewer).status_code == 404


def test_a_dashboard_with_a_mart_that_is_not_there_shows_the_others(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.yaml").write_text(OWN_DASHBOARD)
    (tmp_path / "broken.yaml").write_text("title: [")
    monkeypatch.setenv("AIRFLOW__MADHATTER__DASHBOARDS_FOLDER", str(tmp_path))
    world.fresh_room(client)
    pages = [p["path"] for p in get(client, "api/session")["pages"]]
    assert pages == ["streams", "own", "broken", "quality"]
    quality, missing = get(client, "api/dashboards/own")["charts"]
    assert (quality["fault"], quality["rows"]) == (None, [])
    assert missing["fault"]["what"].startswith("MARTS.NOT_THERE is not in Snowflake")
    assert get(client, "api/dashboards/broken", status=422)["detail"]["what"].startswith("No dashboard")
    get(client, "api/dashboards/nothing", status=404)
    file = client.get("/madhatter/api/dashboards/own/latest.csv", headers=world.sign_in(client, "viewer"))
    assert file.text.splitlines() == ["Stream,Expectation"]


OWN_DASHBOARD = """
title: Own
charts:
  - {id: latest, title: Latest, mart: QUALITY_LATEST, kind: table, fields: [STREAM, EXPECTATION]}
  - {id: missing, title: Missing, mart: NOT_THERE, kind: table, fields: [A]}
"""


def test_a_dashboard_belongs_to_those_who_may_read_its_dag(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    def all_but_fraud(_: object, *, details: Any = None, **__: Any) -> bool:
        return details is not None and details.id != "fraud_response"

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", all_but_fraud)
    pages = [p["path"] for p in get(client, "api/session")["pages"]]
    assert "fraud" not in pages
    assert "sales" in pages
    get(client, "api/dashboards/fraud", status=404)
    get(client, "api/dashboards/fraud/cases.csv", status=404)


def test_a_case_is_told_with_its_alerts_and_what_was_done(
    client: TestClient, snowflake: RunningSnowflake
) -> None:
    sql = snowflake.client()
    case_id, question = world.asked_about(sql, world.EVIL)
    found = get(client, f"api/case?id={case_id}")
    assert (found["case"]["status"], found["case"]["reason"]) == ("asked", world.EVIL)
    assert [(a["alert_id"], a["order_state"]) for a in found["alerts"]] == [
        ("alert-2", "held"), ("alert-1", "held"),
    ]  # fmt: skip
    steps = {s["step"]: s for s in found["steps"]}
    assert (steps["opened"]["run_id"], steps["held"]["orders"]) == ("slice & run", 2)
    asked = steps["asked"]
    assert [asked[k] for k in ("dag_id", "run_id", "task_id", "map_index")] == [
        "fraud_decisions", "asks", "question.block", 0,
    ]  # fmt: skip
    record_decision(sql, Decision(question, "blocked", world.EVIL, world.at(0), "a note"))
    world.fresh_room(client)
    found = get(client, f"api/case?id={case_id}")
    steps = {s["step"]: s for s in found["steps"]}
    assert [steps["blocked"][k] for k in ("done_by", "note")] == [world.EVIL, "a note"]
    assert (steps["account blocked"]["done_by"], steps["orders cancelled"]["orders"]) == (world.EVIL, 2)
    assert {a["label"] for a in found["alerts"]} == {"fraud"}


def test_a_case_that_is_not_there_or_not_for_this_person(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for missing in ("C000009-20261124", quote(world.EVIL), quote("' OR 1=1 --")):
        assert get(client, f"api/case?id={missing}")["case"] is None
    get(client, f"api/case?id={'C' * 257}", status=422)
    assert client.get("/madhatter/api/case?id=C000009-20261124").status_code == 401
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", lambda *_, **__: False)
    refused = get(client, "api/case?id=C000009-20261124", status=404)["detail"]
    assert refused == "There is no dashboard 'fraud', or you may not read its DAG"
