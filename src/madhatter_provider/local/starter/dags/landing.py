"""One DAG per data contract: slices of its topic, typed and checked, into Snowflake."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, Asset, AssetWatcher

from madhatter_provider.task_groups.land_stream import land_stream
from madhatter_provider.triggers.kafka_slice import KafkaSliceTrigger

CONTRACTS = Path(__file__).resolve().parent.parent / "include/contracts"
SUFFIX = ".odcs.yaml"
DAGS: dict[str, DAG] = {}

for contract in sorted(CONTRACTS.glob(f"*{SUFFIX}")):
    stream = contract.name.removesuffix(SUFFIX)
    # A run starts when so many messages wait, or when the oldest of them has waited so many seconds.
    trigger = KafkaSliceTrigger(stream, min_messages=10_000, max_wait=5)
    topic = Asset(f"topic_{stream}", watchers=[AssetWatcher(name=f"{stream}_slices", trigger=trigger)])
    with DAG(
        f"land_{stream}",
        schedule=[topic],
        start_date=datetime(2026, 1, 1),
        catchup=False,
        max_active_runs=2,
        default_args={"retries": 5, "retry_delay": timedelta(seconds=10)},
        tags=["landing"],
        doc_md=__doc__,
    ) as DAGS[stream]:
        land_stream(
            topic=stream,
            contract=str(contract),
            asset=topic,
            loaded=Asset(f"raw_{stream}"),  # schedule your DAGs on it: it is published when the checks passed
            landing_root=os.environ["MADHATTER_LANDING_ROOT"],
        )
