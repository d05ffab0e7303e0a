"""The detailed composition of ``land_stream``, every step a task, inside Airflow against real services."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, Asset
from confluent_kafka import Producer

from madhatter_provider.core.landing.manifest import Manifest
from madhatter_provider.local.oracle import judge_stream
from madhatter_provider.task_groups.land_stream import land_stream

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

pytestmark = pytest.mark.integration
MakeRow = Callable[..., bytes]
CONTRACT = Path(__file__).parents[2] / "include/contracts/searches.odcs.yaml"


def send(broker: str, topic: str, n: int, row: MakeRow, *, bad_every: int) -> None:
    producer = Producer({"bootstrap.servers": broker})
    for i in range(n):
        producer.produce(topic, b"oops" if i % bad_every == 0 else row(i), partition=i % 3)
    producer.flush()


@pytest.fixture
def dag(kafka_broker: str, topic: Any, snowflake: Any, monkeypatch: pytest.MonkeyPatch) -> DAG:
    connection = {"conn_type": "kafka", "extra": {"bootstrap.servers": kafka_broker}}
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(connection))
    name = topic(3)
    asset = Asset(f"topic_{name}")
    with DAG(
        f"land_{name}", schedule=[asset], start_date=datetime(2026, 1, 1), params={"topic": name}
    ) as made:
        land_stream(
            topic=name,
            contract=str(CONTRACT),
            asset=asset,
            loaded=Asset(f"raw_{name}"),
            landing_root=snowflake.landing_root,
            detailed=True,
            split=4,
        )
    return made


def states(run: DagRun) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for ti in run.get_task_instances():
        found.setdefault(ti.task_id.removeprefix("land."), []).append(str(ti.state))
    return found


def test_a_slice_is_split_landed_ingested_and_gated(
    dag: DAG,
    kafka_broker: str,
    snowflake: Any,
    run_dag: Callable[..., DagRun],
    search_row: Callable[..., bytes],
) -> None:
    topic = str(dag.params["topic"])
    send(kafka_broker, topic, 120, search_row, bad_every=40)
    assert states(run_dag(dag)) == {
        "claim": ["success"],
        "land": ["success"] * 4,
        "ingest": ["success"],
        "gate": ["success"],
    }
    verdict = judge_stream(kafka_broker, snowflake.client(), topic, "RAW.SEARCHES")
    assert verdict.ok, verdict
    assert (verdict.loaded, verdict.quarantined) == (117, 3)
    rows = snowflake.client().execute(
        "SELECT STATE, GATE, SUM(ROWS_LOADED) AS N, SUM(END_OFFSET - START_OFFSET) AS OFFSETS "
        "FROM OPS.SLICES WHERE TOPIC = ? GROUP BY STATE, GATE ORDER BY STATE",
        [topic],
    )
    found = [(r["STATE"], r["GATE"], int(r["N"]), int(r["OFFSETS"])) for r in rows]
    assert found == [("loaded", "pass", 117, 120)]
    # Each part has its own manifest; the ledger knows which.
    parts = snowflake.client().execute(
        "SELECT PARTITION_ID, START_OFFSET, MANIFEST_PATH FROM OPS.SLICES WHERE TOPIC = ?", [topic]
    )
    assert len({r["MANIFEST_PATH"] for r in parts}) == 4
    for part in parts:
        manifest = Manifest.from_json(json.loads((snowflake.landing / part["MANIFEST_PATH"]).read_bytes()))
        ranges = [(r.partition, r.start) for r in manifest.ranges]
        assert (part["PARTITION_ID"], part["START_OFFSET"]) in ranges


def test_a_slice_that_breaks_its_contract_ends_red_after_it_was_loaded(
    dag: DAG,
    kafka_broker: str,
    snowflake: Any,
    run_dag: Callable[..., DagRun],
    search_row: Callable[..., bytes],
) -> None:
    topic = str(dag.params["topic"])
    send(kafka_broker, topic, 30, search_row, bad_every=3)
    found = states(run_dag(dag))
    assert (found["ingest"], found["gate"]) == (["success"], ["failed"])
    assert judge_stream(kafka_broker, snowflake.client(), topic, "RAW.SEARCHES").ok
