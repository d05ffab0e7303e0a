"""The control room in a real Chromium, and a replay DAG for it to start."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.testing import browser as chromium
from madhatter_provider.testing.browser import WatchedPage
from madhatter_provider.testing.snowflake import RunningSnowflake

from . import control_room_world as world
from .replays import Stream

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Open = Callable[..., WatchedPage]
SLOW = 20_000  # milliseconds; a busy machine is no defect


@pytest.fixture(scope="module", name="site")
def site_fixture(
    request: pytest.FixtureRequest,
    shared_snowflake: RunningSnowflake,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """Airflow's API server; its address."""
    folder = tmp_path_factory.mktemp("pages")
    with world.airflow(request, folder, shared_snowflake) as app, world.serving(app) as url:
        yield url


@pytest.fixture(scope="module", name="browser")
def browser_fixture() -> Iterator[Browser]:
    if why := chromium.missing():
        pytest.skip(why)
    with chromium.running_browser() as running:
        yield running


@pytest.fixture(name="watched")
def watched_fixture(site: str, browser: Browser, snowflake: RunningSnowflake) -> Iterator[Open]:
    """``watched(path, user="admin", **options)``: a page of the control room over an empty ledger. At the end
    nothing may have gone wrong in it, unless the test takes the errors away.
    """
    import httpx

    world.forget(snowflake.client())
    world.fresh_room(httpx.Client(base_url=site))
    pages: list[WatchedPage] = []

    def open_page(path: str, user: str = "admin", **options: Any) -> WatchedPage:
        one = WatchedPage(browser, site, (user, user), **options)
        pages.append(one)
        one.page.set_default_timeout(SLOW)
        one.open(f"madhatter/{path}")
        return one

    yield open_page
    for one in pages:
        one.close()
    assert [one.errors for one in pages] == [[] for _ in pages]
    assert [one.foreign for one in pages] == [[] for _ in pages]


@pytest.fixture(name="ledger")
def ledger_fixture(watched: Open, snowflake: RunningSnowflake) -> None:
    """Everything that can go wrong, and rows for every table."""
    sql = snowflake.client()
    good = [world.loaded("searches", p, i * world.STEP, minutes_ago=9 - i) for i in range(8) for p in (0, 1)]
    earlier = [world.loaded("searches", 2, 0, minutes_ago=130)]  # lines by the hour have two points
    world.record(sql, world.troubled("clicks") + good + earlier)
    world.insert(sql, "RAW.QUARANTINE", [world.held("clicks", i) for i in range(3)])
    world.insert(sql, "OPS.QUALITY_RESULTS", [world.judged("clicks", "between", False)])


def accessible(page: Page) -> None:
    """No finding of axe, the accessibility engine."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    words = [f"{v['id']}: {n['html'][:160]}" for v in found for n in v["nodes"][:3]]
    assert not words, words


def drawn(page: Page, *marks: str) -> None:
    """Wait until every one of these is there and can be seen: the page draws itself anew meanwhile."""
    for mark in marks:
        page.wait_for_function("m => document.querySelector(m)?.getBoundingClientRect().width > 20", arg=mark)


@pytest.fixture(name="replay_dag")
def replay_dag_fixture(
    watched: Open,
    stream: Stream,
    contracts: dict[str, Contract],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """A replay DAG that knows the test's own stream."""
    name = stream.contract.stream
    text = (world.ROOT / "include/contracts/searches.odcs.yaml").read_text()
    text = text.replace("- name: searches\n", f"- name: {name}\n")
    text = text.replace("value: searches\n", f"value: {stream.topic}\n").replace(
        "value: 10\n", "value: 100\n"
    )
    (tmp_path / f"{name}.odcs.yaml").write_text(text)
    file = tmp_path / "page_replay.py"
    file.write_text(REPLAY_DAG.format(name=name, folder=tmp_path, root=stream.snowflake.landing_root))
    world.store_dags(file)
    settings = dataclasses.replace(world.present_room().settings, replay_dag_id=f"replay_{name}")
    world.settle(settings)
    return world.dag_of(file, f"replay_{name}")


REPLAY_DAG = """
from airflow.sdk import DAG, Param
from madhatter_provider.operators.replay import ReplaySliceOperator

def text():
    return Param(None, type=["null", "string"])

with DAG(
    "replay_{name}",
    schedule=None,
    params={{
        "stream": Param("{name}", type="string", enum=["{name}"]),
        "from": text(), "to": text(), "of_run": text(), "topic_id": text(),
        "reason": Param(type="string", minLength=3), "dry_run": True, "allow_gone": False,
    }},
):
    ReplaySliceOperator(
        task_id="replay", contract="{folder}/{{{{ params.stream }}}}.odcs.yaml", landing_root="{root}",
        start="{{{{ params['from'] }}}}", end="{{{{ params['to'] }}}}", reason="{{{{ params.reason }}}}",
        plan_only="{{{{ params.dry_run }}}}",
    )
"""
