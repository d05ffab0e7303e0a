"""Keep the recommendations: learn from the sessions that new slices touch, make the lists of the customers
concerned anew, publish those that changed.

A run starts when clicks, searches and payments have all brought a slice, and every ten minutes for what is
left. What it has to do stands in tables: an event is only a hint, and a run that is lost is made good by the
next one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, CronTriggerTimetable, task
from streams import raw_asset

LISTS = Asset("recommendations", uri="x-snowflake://madhatter/MADHATTER/RECO/RECOMMENDATIONS")

with DAG(
    "recommendations",
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("*/10 * * * *", timezone="UTC"),
        assets=[raw_asset(stream) for stream in ("clicks", "searches", "transactions")],
    ),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=2,
    default_args={"retries": 5, "retry_delay": timedelta(seconds=10)},
    tags=["recommendations"],
    doc_md=__doc__,
):
    # One at a time: refreshes share the tables of the batch at hand.
    @task(max_active_tis_per_dag=1, outlets=[LISTS])
    def refresh_lists(*, run_id: Any = None) -> int:
        """Learn, compare, recommend, measure; a repetition changes nothing."""
        from madhatter_provider.core.recommendations.refresh import refresh
        from madhatter_provider.hooks.snowflake_rest import SnowflakeRestHook

        return refresh(SnowflakeRestHook(timeout=600).client, run_id)

    # One at a time: of two lists of a customer the newer one must be sent last.
    @task(max_active_tis_per_dag=1)
    def publish() -> int:
        """Send the changed lists to the topic, keyed by customer."""
        from madhatter_provider.core.recommendations.publication import publish_lists
        from madhatter_provider.hooks.kafka_publisher import KafkaPublishHook
        from madhatter_provider.hooks.snowflake_rest import SnowflakeRestHook

        return publish_lists(SnowflakeRestHook().client, KafkaPublishHook(timeout=60))

    refresh_lists() >> publish()
