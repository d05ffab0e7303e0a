"""Both compositions of ``land_stream``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import DAG, Asset

from madhatter_provider.task_groups.land_stream import land_stream

TOPIC, RAW = Asset("topic"), Asset("raw")


def build(**options: Any) -> DAG:
    with DAG("d", schedule=[TOPIC], start_date=datetime(2026, 1, 1)) as dag:
        land_stream(
            topic="t", contract="c.yaml", asset=TOPIC, loaded=RAW, landing_root="file:///x", **options
        )
    return dag


def test_one_task_by_default() -> None:
    dag = build(retries=4)
    (task,) = dag.tasks
    assert (task.task_id, task.max_active_tis_per_dag, task.retries) == ("land", 1, 4)
    assert task.inlets == [TOPIC]
    assert task.outlets == [RAW]


def test_every_step_as_a_task_on_demand() -> None:
    dag = build(detailed=True, split=4)
    order = {t.task_id: set(t.downstream_task_ids) for t in dag.tasks}
    assert order == {
        "land.claim": {"land.land"},
        "land.land": {"land.ingest", "land.gate"},
        "land.ingest": {"land.gate"},
        "land.gate": set(),
    }
    claim: Any = dag.get_task("land.claim")
    assert claim.split == 4
    assert dag.get_task("land.gate").outlets == [RAW]
    assert dag.get_task("land.claim").outlets == []
