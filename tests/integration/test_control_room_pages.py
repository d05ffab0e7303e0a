"""The control room's pages in a real Chromium: drawn, usable by keyboard and screen reader, harmless."""

from __future__ import annotations

import functools
import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from madhatter_provider.control_room.answers import SnowflakeClients
from madhatter_provider.control_room.broker import KafkaClients
from madhatter_provider.core.fraud.decisions import Decision, record_decision
from madhatter_provider.core.slices.claims import TopicBounds
from madhatter_provider.links.control_room import control_room_url
from madhatter_provider.testing.kafka import MakeTopic, RunningKafka
from madhatter_provider.testing.snowflake import RunningSnowflake

from . import control_room_world as world
from .control_room_browser import (
    Open,
    accessible,
    browser_fixture,
    drawn,
    ledger_fixture,
    replay_dag_fixture,
    site_fixture,
    watched_fixture,
)
from .control_room_marts import marts_fixture
from .replays import Stream, stream_fixture

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.integration
__all__ = [
    "browser_fixture", "ledger_fixture", "marts_fixture", "replay_dag_fixture", "site_fixture",
    "stream_fixture", "watched_fixture",
]  # fmt: skip


MODES = pytest.mark.parametrize("mode", ["light", "dark"])


def has_colours(page: Page, mode: str) -> bool:
    """Whether the page follows the wish of the browser."""
    return page.locator("html").evaluate("e => e.classList.contains('dark')") is (mode == "dark")


@MODES
@pytest.mark.parametrize(
    ("path", "marks"),
    [
        ("streams", ["table .spark path"]),
        (
            "stream?name=clicks",
            [".strip", "[data-figure=throughput] path.line", "[data-figure=runs] tbody tr"],
        ),
        ("quality", ["[data-figure=failing] tbody tr", "[data-figure=gates] path.line"]),
        ("quarantine?stream=clicks", ["table details"]),
    ],
)
def test_every_page_is_drawn_and_accessible(
    watched: Open, ledger: None, path: str, marks: list[str], mode: str
) -> None:
    page = watched(path, color_scheme=mode).page
    drawn(page, *marks)
    assert has_colours(page, mode)
    page.wait_for_selector(".live.on")
    assert page.title()
    accessible(page)


@MODES
@pytest.mark.parametrize(
    ("path", "lines", "bars", "tables"),
    [
        ("fraud", ["rate", "time_to_alert"], ["rules"], ["countries", "money", "cases"]),
        (
            "sales",
            ["sales", "payments", "funnel", "lift"],
            ["categories"],
            ["trending", "for_customers"],
        ),
        ("operations", ["errors", "latency"], ["freshness"], ["checks", "slo", "anomalies"]),
    ],
)
def test_every_dashboard_is_drawn_accessible_and_harmless(
    watched: Open,
    ledger: None,
    marts: None,
    snowflake: RunningSnowflake,
    path: str,
    lines: list[str],
    bars: list[str],
    tables: list[str],
    mode: str,
) -> None:
    world.asked_about(snowflake.client(), world.EVIL)
    page = watched(path, color_scheme=mode).page
    drawn(
        page,
        *(f"[data-figure={name}] path.line" for name in lines),
        *(f"[data-figure={name}] [data-bar]" for name in bars),
        *(f"[data-figure={name}] tbody tr" for name in tables),
    )
    assert has_colours(page, mode)
    page.wait_for_selector(".live.on")
    accessible(page)
    assert page.get_by_text(world.EVIL).count() > 1  # as text: a dialog or an error fails the test at its end
    assert page.locator("main img").count() == 0


def test_charts_are_drawn_and_are_tables_and_files_too(watched: Open, ledger: None) -> None:
    page = watched("stream?name=clicks").page
    card = page.locator("[data-figure=throughput]")
    line = card.locator("path.line")
    line.wait_for(state="attached")
    assert line.bounding_box()["height"] > 5  # type: ignore[index]
    card.locator(".plot").focus()
    page.keyboard.press("ArrowLeft")
    assert "row" in card.locator(".tip").inner_text()
    card.get_by_role("button", name="Throughput as a table").click()
    assert card.locator("tbody tr").count() > 10
    page.get_by_label("Period of throughput and freshness").select_option("24h")
    card.get_by_text("Rows loaded per 15 minutes, last 24 hours.").wait_for()
    assert "period=24h" in page.url
    with page.expect_download() as file:
        card.get_by_role("link", name="Throughput as CSV").click()
    assert file.value.path().read_text().startswith("LOADED_FROM,ROWS_LOADED")


def test_lines_of_a_dashboard_go_back_as_far_as_wished(watched: Open, ledger: None) -> None:
    page = watched("operations?period=7d").page
    assert page.get_by_label("Period of the lines over time").input_value() == "7d"
    page.get_by_text("Log lines with an error, of all, per minute. Here per hour.").wait_for()


def test_slices_are_read_by_keyboard(watched: Open, ledger: None) -> None:
    page = watched("stream?name=clicks").page
    strip = page.locator(".strip .track").first
    strip.focus()
    for _ in range(19):  # from the newest to the loss
        page.keyboard.press("ArrowLeft")
        if "Lost" in strip.locator("[aria-live]").inner_text():
            break
    assert "[1,200, 1,300)" in strip.locator(".tip").inner_text()
    page.keyboard.press("Enter")
    page.get_by_text("Partition 0: Lost: retention was faster.").wait_for()
    page.get_by_role("button", name="Replay this range …").click()
    assert page.locator("dialog input[name=from]").input_value() == "0:1200"


def test_buttons_of_tasks_lead_to_what_is_old_too(
    watched: Open, ledger: None, snowflake: RunningSnowflake
) -> None:
    sql = snowflake.client()
    world.insert(sql, "OPS.REPLAYS", [world.replayed("clicks", n) for n in range(12)])
    old = world.judged("clicks", "between", True) | {"ROUND_ID": "round 0", "CHECKED_AT": world.at(900)}
    world.insert(sql, "OPS.QUALITY_RESULTS", [old])
    one = watched("run?dag_id=land_clicks&run_id=asset_triggered__0")
    one.page.locator("[data-figure=runs] tr.marked").get_by_text("asset_triggered__0", exact=True).wait_for()
    page = one.open("madhatter/run?replay=R11")
    page.locator("[data-figure=replays] tr.marked").get_by_text("R11", exact=True).wait_for()
    page = one.open("madhatter/quality?round_id=round%200")
    page.locator("[data-figure=rounds] tr.marked").wait_for()
    assert page.locator("[data-figure=rounds] tbody tr").count() == 2
    one.open("madhatter/quality?round_id=skipped").get_by_text("no result of round skipped").wait_for()


def test_a_topic_that_is_gone_is_said(
    watched: Open,
    snowflake: RunningSnowflake,
    madhatter_kafka: RunningKafka,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", madhatter_kafka.airflow_connection)
    world.record(snowflake.client(), [world.loaded("deleted", 0, 0)])
    page = watched("streams").page
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="deleted"))
    row.get_by_text("The topic does not exist").wait_for()
    row.get_by_role("cell", name="unknown", exact=True).wait_for()
    row.get_by_role("link", name="deleted").click()
    page.locator(".notice").get_by_text("The topic does not exist").wait_for()


def test_the_page_goes_on_by_itself(watched: Open, ledger: None, snowflake: RunningSnowflake) -> None:
    page = watched("streams?search=late").page
    page.get_by_text("No stream matches").wait_for()
    world.record(snowflake.client(), [world.loaded("late_comer", 0, 0)])
    page.get_by_role("link", name="late_comer").wait_for()


def test_a_thousand_streams_are_paged_and_searched(watched: Open, snowflake: RunningSnowflake) -> None:
    world.record(snowflake.client(), [world.loaded(f"feed_{i:04d}", 0, 0) for i in range(1000)])
    page = watched("streams").page
    page.get_by_text(re.compile("1.50 of 1000")).wait_for()
    page.get_by_role("button", name="Next").click()
    page.get_by_text(re.compile("51.100 of 1000")).wait_for()
    lag = page.get_by_role("columnheader", name="Lag")
    name = page.get_by_role("columnheader", name="Stream")
    page.get_by_role("button", name="Stream", exact=True).focus()
    for expected, first in (("ascending", "feed_0000"), ("descending", "feed_0999")):
        page.keyboard.press("Enter")
        page.get_by_role("link", name=first).wait_for()
        assert (name.get_attribute("aria-sort"), lag.get_attribute("aria-sort")) == (expected, "none")
    assert "sort=stream&direction=desc" in page.url
    page.reload()
    page.get_by_role("link", name="feed_0999").wait_for()
    page.get_by_role("searchbox").fill("feed_099")
    page.get_by_role("link", name="feed_0990").wait_for()
    page.locator("tbody tr:nth-child(11)").wait_for(state="detached")
    assert page.locator("tbody tr").count() == 10
    assert "search=feed_099" in page.url
    one = watched("quality?round_id=linked")
    one.page.get_by_text("Here the worst 200 of 1,000; the CSV file has all.").wait_for()
    assert "1,000" in one.page.locator(".tile").filter(has_text="Not yet deep-gated").inner_text()
    for part, word in (("quality/charts", "charts"), ("round", "round")):
        refusal = {"status": 422, "json": {"detail": {"what": f"No {word} today"}}}
        one.page.route(f"**/api/{part}*", functools.partial(_refuse, refusal))
        one.page.get_by_text(f"No {word} today").wait_for()
    assert one.page.locator(".live.off").inner_text().startswith("Not all is live")
    assert one.page.locator("[data-figure=gates] tbody tr").count() == 200  # the tables stay
    one.errors.clear()  # the browser's own line about the answer 422


def _refuse(refusal: dict[str, Any], asked: Route) -> None:
    asked.fulfill(**refusal)


def test_nothing_there_yet(watched: Open) -> None:
    page = watched("streams").page
    page.get_by_text("The ledger is empty").wait_for()
    accessible(page)
    gone = watched("stream?name=deleted")
    gone.page.get_by_text("The ledger knows no stream 'deleted'").wait_for()
    gone.errors.clear()  # the browser's own line about the answer 404


def test_malicious_text_is_shown_and_never_run(watched: Open, snowflake: RunningSnowflake) -> None:
    evil, sql = world.EVIL, snowflake.client()
    world.record(sql, [world.loaded(evil, 0, 0, gate="fail", run_id=evil, rows_quarantined=5)])
    row = world.held(evil, 1, REASON=evil, RULE=evil, COLUMN=evil, RAW=evil.encode(), _TOPIC_ID=evil)
    world.insert(sql, "RAW.QUARANTINE", [row])
    world.insert(sql, "OPS.QUALITY_RESULTS", [world.judged(evil, evil, False) | {"OBSERVED": evil}])
    query = "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"
    for path in ("streams", f"stream?name={query}", "quality", f"quarantine?stream={query}"):
        one = watched(path)
        one.page.wait_for_selector(".live.on")
        one.page.get_by_text(evil).first.wait_for(state="attached")
        assert one.page.locator("main img").count() == 0


def test_snowflake_kafka_and_airflow_go_away_and_come_back_while_the_page_is_open(
    watched: Open,
    snowflake: RunningSnowflake,
    madhatter_kafka: RunningKafka,
    topic: MakeTopic,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", madhatter_kafka.airflow_connection)
    name = topic(partitions=1)
    madhatter_kafka.send(name, [{"n": n} for n in range(12)])
    bounds = KafkaClients("kafka_default").bounds([name])[name]
    assert isinstance(bounds, TopicBounds)
    world.record(snowflake.client(), [world.loaded(name, 0, 0, size=5, topic_id=bounds.topic_id)])
    monkeypatch.setattr(
        world.present_room().answers, "_ask", SnowflakeClients("snowflake_default", timeout=2.0).ask
    )
    one = watched("streams")
    page, live = one.page, one.page.locator(".live")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=name))
    row.get_by_role("cell", name="7", exact=True).wait_for()
    madhatter_kafka.stop(grace=0)
    snowflake.stop(grace=0)
    try:
        page.get_by_text("The page shows what was known at").wait_for()
        page.get_by_text("The lag is shown as of").wait_for()
        assert live.inner_text().startswith("Not live, as of")
        assert row.get_by_role("cell", name="7", exact=True).count() == 1  # what was known stays
        assert one.errors == []
    finally:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda service: service.start(), (madhatter_kafka, snowflake)))
    madhatter_kafka.send(name, [{"n": 12}])
    row.get_by_role("cell", name="8", exact=True).wait_for()
    page.locator(".notice").wait_for(state="detached")
    page.locator(".live.on").wait_for()
    one.context.set_offline(True)
    page.get_by_text("Airflow does not answer").wait_for()
    assert row.count() == 1
    one.context.set_offline(False)
    page.locator(".live.on").wait_for()
    page.locator(".notice").wait_for(state="detached")
    assert all("ERR_INTERNET_DISCONNECTED" in e for e in one.errors)
    one.errors.clear()
    # Patience forty times shorter: half a second.
    page.evaluate("wait = AbortSignal.timeout; AbortSignal.timeout = t => wait.call(AbortSignal, t / 40)")
    page.route("**/api/streams*", lambda _: None)  # a server that takes the question and says nothing
    page.get_by_text("Airflow has not answered within 20 s").wait_for()
    assert live.inner_text() == "Not live"
    page.unroute("**/api/streams*")
    page.locator(".live.on").wait_for()


def test_a_notification_leads_to_its_case(watched: Open, snowflake: RunningSnowflake) -> None:
    sql = snowflake.client()
    case_id, question = world.asked_about(sql, world.EVIL)
    one = watched("fraud")
    outer = one.open(control_room_url("fraud", case=case_id).lstrip("/"))
    frame = outer.frame_locator("iframe")
    chosen = frame.locator("[data-case]")
    chosen.get_by_text("A person is asked whether to block the account").wait_for()
    assert chosen.get_by_text(world.EVIL).count() == 2
    assert frame.locator("[data-figure=cases] tr.marked").count() == 1
    record_decision(sql, Decision(question, "blocked", world.EVIL, world.at(0), world.EVIL))
    chosen.get_by_text(f"decided by {world.EVIL}").wait_for()  # without a reload
    assert frame.locator("main img").count() == 0
    chosen.get_by_role("link", name="Question").click()
    outer.wait_for_url("**/dags/fraud_decisions/runs/asks/tasks/question.block/mapped/0/required_actions")
    one.errors.clear()  # Airflow's own lines: this Airflow has no such run


def test_the_case_is_drawn_and_accessible_and_one_that_is_not_there_is_said(
    watched: Open, snowflake: RunningSnowflake
) -> None:
    case_id, _ = world.asked_about(snowflake.client())
    page = watched(f"fraud?case={case_id}").page
    page.locator("[data-figure=case_steps] tbody tr").nth(2).wait_for()
    accessible(page)
    page.get_by_role("link", name="Close").click()
    page.locator("[data-figure=cases]").get_by_role("link", name=case_id).click()
    page.locator("[data-case]").wait_for()
    page = watched(f"fraud?case={quote(world.EVIL)}").page
    page.get_by_text(f"There is no case {world.EVIL}").wait_for()
    assert page.locator("main img").count() == 0
    page.locator("[data-figure=cases]").wait_for()


def test_a_viewer_is_offered_no_replay(watched: Open, ledger: None) -> None:
    page = watched("stream?name=clicks", user="viewer").page
    page.wait_for_selector(".strip")
    assert page.get_by_role("button", name="Replay …").count() == 0


def test_a_replay_from_dry_run_to_new_rows(watched: Open, stream: Stream, replay_dag: Any) -> None:
    stream.send(40)
    stream.land("run_1")
    stream.delete([4, 5, 6])
    before = len(stream.rows())
    one = watched(f"stream?name={stream.contract.stream}", user="user")
    page = one.page
    page.get_by_text("lag 0").first.wait_for()  # the broker was asked
    page.get_by_role("button", name="Replay …").first.click()
    dialog = page.get_by_role("dialog")
    start = dialog.get_by_role("button", name="Start replay")
    dialog.get_by_label("From").fill("0:2,1:2")
    dialog.get_by_label("To, exclusive").fill("0:9999,1:10")
    dialog.get_by_label("Reason").fill("rows were deleted by hand")
    assert start.is_disabled()
    dialog.get_by_role("button", name="Dry run").click()
    dialog.get_by_text("goes beyond what was claimed").wait_for()
    assert start.is_disabled()
    dialog.get_by_label("To, exclusive").fill("0:10,1:10")
    dialog.get_by_role("button", name="Dry run").click()
    dialog.get_by_text("16 offsets from Kafka").wait_for()
    accessible(page)
    dialog.get_by_label("From").fill("0:3,1:2")  # another range: its plan was not seen
    assert start.is_disabled()
    dialog.get_by_role("button", name="Dry run").click()
    dialog.get_by_text("15 offsets from Kafka").wait_for()
    start.click()
    dialog.get_by_text("The replay was started").wait_for()
    dialog.get_by_text("queued").wait_for()
    run_id = dialog.locator("[data-started]").get_attribute("data-started")
    conf = world.run_conf(replay_dag.dag_id, run_id)
    assert (conf["from"], conf["to"], conf["dry_run"]) == ("0:3,1:2", "0:10,1:10", False)
    assert replay_dag.test(run_conf=conf).state == "success"
    assert (before, len(stream.rows())) == (31, 36)
    assert stream.conserved()
    one.errors.clear()  # the browser's own line about the answer 422


def test_a_range_of_another_epoch(watched: Open, stream: Stream, replay_dag: Any) -> None:
    stream.send(20)
    stream.land("run_1")
    old = world.loaded(
        stream.contract.stream, 0, 0, topic=stream.topic, topic_id="earlier-epoch", claimed_at=world.at(900)
    )
    world.record(stream.sql, [old])
    one = watched(f"stream?name={stream.contract.stream}&epoch=earlier-epoch", user="user")
    one.page.get_by_text("This is an earlier epoch of the topic").wait_for()
    one.page.get_by_role("button", name="Replay …").first.click()
    dialog = one.page.get_by_role("dialog")
    assert dialog.get_by_label("Epoch").input_value() == "earlier-epoch"
    dialog.get_by_label("From").fill("0:0")
    dialog.get_by_label("To, exclusive").fill("0:50")
    dialog.get_by_role("button", name="Dry run").click()
    dialog.get_by_text("50 gone").wait_for()
    dialog.get_by_label("Reason").fill("rows were deleted by hand")
    dialog.get_by_text("50 offsets are in no source any more").wait_for()
    start = dialog.get_by_role("button", name="Start replay")
    assert start.is_disabled()
    dialog.get_by_label("Replay the rest").check()
    dialog.get_by_role("button", name="Dry run").click()
    dialog.get_by_text("Nothing of the range can be replayed").wait_for()
    assert start.is_disabled()
    assert json.dumps(one.errors) == "[]"
