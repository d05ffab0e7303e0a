"""Store the closed hours of the marts that would take long over all events.

Without it the marts say the same, more and more slowly: what is not stored is computed when it is asked for.
What has to be stored stands in the ledger, so a run that is lost is made good by the next one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, task

with DAG(
    "marts",
    schedule=timedelta(minutes=15),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 5, "retry_delay": timedelta(seconds=10)},
    tags=["marts"],
    doc_md=__doc__,
):

    @task(max_active_tis_per_dag=1)
    def close() -> None:
        """Open the hours of late events, store every hour that has ended; a repetition changes nothing."""
        from madhatter_provider.core.warehouse.closed_hours import close_hours
        from madhatter_provider.hooks.snowflake_rest import SnowflakeRestHook

        SnowflakeRestHook(timeout=600).client.transact(close_hours(datetime.now(UTC)), repeatable=True)

    close()
