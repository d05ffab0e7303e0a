"""The detailed composition of ``land_stream``, every step a task, inside Airflow against real services."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, Asset
from confluent_kafka import Producer

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.landing.manifest import Manifest
from madhatter_provider.core.replay.job import Replaying
from madhatter_provider.core.replay.request import ReplayRequest
from madhatter_provider.core.replay.run import replay
from madhatter_provider.hooks.kafka import KafkaSliceHook
from madhatter_provider.hooks.object_store import open_store
from madhatter_provider.local.oracle import StreamVerdict, judge_stream
from madhatter_provider.task_groups.land_stream import land_stream

from .replays import stricter

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


def clear(dag: DAG, run: DagRun, *tasks: str) -> Any:
    """Clear single tasks of a run, as people do, and run them: ``dag.test()`` can only begin a run anew."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import clear_task_instances
    from airflow.sdk.definitions.dag import _run_task
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState, TaskInstanceState
    from sqlalchemy import select

    with create_session() as session:
        cleared: Any = session.scalar(select(DagRun).where(DagRun.run_id == run.run_id))
        mine = [ti for ti in cleared.get_task_instances(session=session) if ti.task_id in tasks]
        clear_task_instances(mine, session, DagRunState.RUNNING)
        session.commit()
        cleared.dag = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
        while cleared.state == DagRunState.RUNNING:
            session.expire_all()
            ready, _ = cleared.update_state(session=session)
            for ti in ready:
                ti.try_number += 1
                ti.state = TaskInstanceState.SCHEDULED
            session.commit()
            for ti in ready:
                _run_task(ti=ti, task=dag.task_dict[ti.task_id], run_triggerer=True)
        return cleared


def replay_more_strictly(broker: str, snowflake: Any, contract: Contract, topic: str) -> StreamVerdict:
    """Most of the rows go to quarantine."""
    contract = stricter(dataclasses.replace(contract, topic=topic, max_quarantine_percent=100.0))
    replay_id, store = topic.replace("-", "_").upper(), open_store(snowflake.landing_root)
    job = Replaying(contract, snowflake.client(), KafkaSliceHook(), store, replay_id)
    replay(job, ReplayRequest(start="0", end="40", reason="a stricter contract", who="tester"))
    return judge_stream(broker, snowflake.client(), topic, "RAW.SEARCHES")


def test_a_slice_is_split_landed_ingested_and_gated(
    dag: DAG,
    kafka_broker: str,
    snowflake: Any,
    contracts: dict[str, Contract],
    run_dag: Callable[..., DagRun],
    search_row: Callable[..., bytes],
) -> None:
    topic = str(dag.params["topic"])
    send(kafka_broker, topic, 120, search_row, bad_every=40)
    run = run_dag(dag)
    assert states(run) == {
        "claim": ["success"],
        "land": ["success"] * 4,
        "ingest": ["success"],
        "gate": ["success"],
    }
    verdict = judge_stream(kafka_broker, snowflake.client(), topic, "RAW.SEARCHES")
    assert verdict.ok, verdict
    assert (verdict.loaded, verdict.quarantined) == (117, 3)
    rows = snowflake.client().execute(
        "SELECT STATE, GATE, SUM(ROWS_LOADED) AS N, SUM(END_OFFSET - START_OFFSET) AS OFFSETS, "
        "COUNT_IF(CLAIMED_AT < LANDED_AT AND LANDED_AT < LOADED_AT) AS IN_ORDER "
        "FROM OPS.SLICES WHERE TOPIC = ? GROUP BY STATE, GATE ORDER BY STATE",
        [topic],
    )
    assert [tuple(r.values()) for r in rows] == [("loaded", "pass", 117, 120, 6)]
    # Each part has its own manifest; the ledger knows which.
    parts = snowflake.client().execute(
        "SELECT PARTITION_ID, START_OFFSET, MANIFEST_PATH FROM OPS.SLICES WHERE TOPIC = ?", [topic]
    )
    assert len({r["MANIFEST_PATH"] for r in parts}) == 4
    for part in parts:
        manifest = Manifest.from_json(json.loads((snowflake.landing / part["MANIFEST_PATH"]).read_bytes()))
        ranges = [(r.partition, r.start) for r in manifest.ranges]
        assert (part["PARTITION_ID"], part["START_OFFSET"]) in ranges
    # What a replay has decided is left alone, whichever task is cleared, also when Snowpipe has forgotten.
    judged = replay_more_strictly(kafka_broker, snowflake, contracts["searches"], topic)
    assert judged.ok
    assert (judged.loaded, judged.quarantined) == (19, 101)
    snowflake.client().execute("DROP PIPE RAW.SEARCHES_PIPE")
    snowflake.apply_sql({"searches": contracts["searches"]})
    for task in ("gate", "ingest"):
        assert states(clear(dag, run, f"land.{task}"))[task] == ["skipped"]
    assert judge_stream(kafka_broker, snowflake.client(), topic, "RAW.SEARCHES") == judged


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
