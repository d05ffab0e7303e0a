"""One landing DAG per contract: slices of the topic, typed and gated, into Snowflake."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG
from streams import CONTRACTS, LANDING_ROOT, raw_asset, topic_asset

from madhatter_provider.task_groups.land_stream import land_stream

for stream, contract in CONTRACTS.items():
    topic = topic_asset(stream)
    with DAG(
        f"land_{stream}",
        schedule=[topic],
        start_date=datetime(2026, 1, 1),
        catchup=False,
        # Two, so that an event that arrives while a run works is never left waiting for the next one.
        max_active_runs=2,
        default_args={"retries": 5, "retry_delay": timedelta(seconds=10)},
        tags=["landing", stream],
        doc_md=__doc__,
    ):
        land_stream(
            topic=stream, contract=contract, asset=topic, loaded=raw_asset(stream), landing_root=LANDING_ROOT
        )
