"""The deep gate inside Airflow (``dag.test()``): real Great Expectations against the local Snowflake."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, Asset

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.landing.manifest import Manifest
from madhatter_provider.core.warehouse import ledger
from madhatter_provider.core.warehouse.ingest import ingest, ingests_of
from madhatter_provider.core.warehouse.ledger import LedgerRow
from madhatter_provider.hooks.snowflake_rest import SnowflakeRest
from madhatter_provider.hooks.snowpipe import SnowpipeHook
from madhatter_provider.operators.quality import QualityGateOperator, QualityVerdictOperator
from madhatter_provider.testing.snowflake import RunningSnowflake

from .conftest import INCLUDE, Lander, search

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

pytestmark = pytest.mark.integration
STREAMS = ("searches", "clicks", "transactions")


def click(i: int) -> bytes:
    row = {
        "event_id": f"{i:016d}",
        "event_time": "2026-11-24T06:00:00Z",
        "session_id": "s1234567",
        "customer_id": None,
        "device_id": "d1234567",
        "page_type": "home",
        "product_id": None,
        "referrer": "email",
        "country": "DE",
        "dwell_ms": 10,
    }
    return json.dumps(row).encode()


class Round:
    """Loads slices of several streams and runs the gate over them."""

    def __init__(
        self,
        server: RunningSnowflake,
        contracts: dict[str, Contract],
        run: Callable[..., DagRun],
        reports: Path,
    ):
        self.contracts, self._run, self._reports = contracts, run, reports
        self.sql: SnowflakeRest = server.client()
        self.landers = {s: Lander(contracts[s], server.landing_root) for s in STREAMS}

    def load(self, stream: str, values: list[bytes]) -> Manifest:
        """Land, load, and tell the ledger."""
        manifest, hook = self.landers[stream].land(values), SnowpipeHook("snowflake_default")
        for wanted in ingests_of([manifest], self.contracts[stream].table):
            ingest(hook, hook.client, wanted, poll_seconds=0.05, timeout=20)
        rows = [
            LedgerRow(
                stream=stream,
                topic_id=manifest.topic_id,
                partition_id=r.partition,
                start_offset=r.start,
                end_offset=r.end,
                state="loaded",
                rows_loaded=r.landed,
                gate="pass",
            )
            for r in manifest.ranges
        ]
        self.sql.execute(*ledger.record(rows))
        return manifest

    def run(self) -> DagRun:
        with DAG("quality_test", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
            gate = QualityGateOperator(
                task_id="gate",
                contracts=[str(INCLUDE / f"contracts/{s}.odcs.yaml") for s in STREAMS],
                verified={s: Asset(f"verified_{s}", uri=f"test://verified/{s}") for s in STREAMS},
                report_root=self._reports.as_uri(),
            )
            gate >> QualityVerdictOperator(task_id="verdict", summary=gate.output)
        self.dag = dag
        return self._run(dag)

    def gates(self, manifest: Manifest) -> list[str | None]:
        found = self.sql.execute(
            "SELECT DEEP_GATE FROM OPS.SLICES WHERE TOPIC_ID = ? ORDER BY START_OFFSET", [manifest.topic_id]
        )
        return [r["DEEP_GATE"] for r in found]


@pytest.fixture
def quality(
    snowflake: RunningSnowflake,
    contracts: dict[str, Contract],
    run_dag: Callable[..., DagRun],
    tmp_path: Path,
) -> Round:
    """A round of its own: whatever other tests left ungated is taken out of the ledger first."""
    snowflake.client().execute("DELETE FROM OPS.SLICES")
    return Round(snowflake, contracts, run_dag, tmp_path)


def published() -> set[str]:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return set(
            session.scalars(select(AssetModel.name).join(AssetEvent, AssetEvent.asset_id == AssetModel.id))
        )


def states(done: DagRun) -> dict[str, Any]:
    return {t.task_id: t.state for t in done.get_task_instances()}


def test_good_streams_are_verified_and_a_bad_one_is_held_back(quality: Round, tmp_path: Path) -> None:
    searches = [quality.load("searches", [search(i) for i in range(k, k + 10)]) for k in (0, 10)]
    clicks = quality.load("clicks", [click(i) for i in range(10)])
    quality.sql.execute(
        "UPDATE RAW.CLICKS SET REFERRER = 'word of mouth' WHERE _TOPIC_ID = ? AND _OFFSET = 3",
        [clicks.topic_id],
    )
    done = quality.run()
    assert states(done) == {"gate": "success", "verdict": "failed"}
    assert published() == {"verified_searches"}
    assert quality.gates(searches[0]) == ["pass", "pass"]
    assert quality.gates(clicks) == ["fail"]
    results = quality.sql.execute(
        "SELECT * FROM OPS.QUALITY_RESULTS WHERE ROUND_ID = ? AND NOT SUCCESS", [done.run_id]
    )
    assert [
        (r["STREAM"], r["EXPECTATION_ID"], r["SEVERITY"], r["ROWS_UNEXPECTED"], r["ROWS_CHECKED"])
        for r in results
    ] == [("clicks", "referrer.unknown", "critical", 1, 10)]
    pages = {p.parent.name: p.read_text() for p in tmp_path.rglob("*.html")}
    assert set(pages) == {"searches", "clicks"}
    assert "referrer" in pages["clicks"]
    assert "word of mouth" not in pages["clicks"], "a page must not show values of the data"


def test_nothing_new_is_skipped_and_empty_ranges_pass(quality: Round) -> None:
    assert states(quality.run()) == {"gate": "skipped", "verdict": "skipped"}
    empty = quality.load("searches", [b"{bad"])
    assert states(quality.run())["gate"] == "skipped"
    assert quality.gates(empty) == ["pass"]


def test_duplicates_warn_and_rows_loaded_twice_fail(quality: Round) -> None:
    warned = quality.load("searches", [search(i % 5) for i in range(10)])
    assert states(quality.run()) == {"gate": "success", "verdict": "success"}
    assert quality.gates(warned) == ["warn"]
    twice = quality.load("searches", [search(i) for i in range(5)])
    quality.sql.execute(
        "INSERT INTO RAW.SEARCHES SELECT * FROM RAW.SEARCHES WHERE _TOPIC_ID = ? AND _OFFSET = 12",
        [twice.topic_id],
    )
    assert states(quality.run())["verdict"] == "failed"
    assert quality.gates(twice) == ["warn", "fail"]


def test_a_try_that_died_after_the_judgement_still_publishes(quality: Round) -> None:
    loaded = quality.load("searches", [search(i) for i in range(5)])
    first = quality.run()
    assert quality.gates(loaded) == ["pass"]
    (gate,) = [t for t in first.get_task_instances() if t.task_id == "gate"]
    context: Any = {"run_id": first.run_id, "dag": quality.dag, "outlet_events": Events()}
    operator: Any = quality.dag.get_task("gate")
    again = operator.execute(context)
    assert again["searches"]["decision"] == "pass"
    assert context["outlet_events"].added == ["verified_searches"]
    assert gate.xcom_pull(task_ids="gate") == again


class Events:
    """Stands in for Airflow's outlet events."""

    def __init__(self) -> None:
        self.added: list[str] = []

    def __getitem__(self, alias: Any) -> Events:
        return self

    def add(self, asset: Asset, extra: dict[str, Any]) -> None:
        self.added.append(asset.name)


def test_a_missing_column_is_an_error_of_that_stream_only(quality: Round) -> None:
    searches, clicks = quality.load("searches", [search(1)]), quality.load("clicks", [click(1)])
    quality.sql.execute("ALTER TABLE RAW.CLICKS RENAME COLUMN DWELL_MS TO OTHER")
    try:
        done = quality.run()
    finally:
        quality.sql.execute("ALTER TABLE RAW.CLICKS RENAME COLUMN OTHER TO DWELL_MS")
    assert states(done) == {"gate": "success", "verdict": "failed"}
    assert (quality.gates(searches), quality.gates(clicks)) == (["pass"], [None])
    assert published() == {"verified_searches"}
