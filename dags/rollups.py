"""Sales by hour of event time: each loaded slice names the hours that it has touched, and each of those is
computed anew. A late payment opens its hour again.

Both DAGs start paused: every slice of payments would start two more runs.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import (
    DAG,
    Asset,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    PartitionedAssetTimetable,
    task,
)
from streams import CONTRACTS, raw_asset

STREAM = "transactions"
RAW = raw_asset(STREAM)
HOURS = Asset("touched_hours_of_sales", uri="x-madhatter://hours/sales")
TABLE = "MARTS.SALES_PER_HOUR"
SALES = """SELECT
  DATE_TRUNC('hour', EVENT_TIME), CURRENCY, MERCHANT_CATEGORY,
  COUNT_IF(STATUS = 'authorized'), COUNT_IF(STATUS = 'declined'),
  SUM(IFF(STATUS = 'authorized', AMOUNT, 0)), COUNT(DISTINCT CUSTOMER_ID), CURRENT_TIMESTAMP()
FROM CORE.TRANSACTIONS
WHERE EVENT_TIME >= {start} AND EVENT_TIME < {end}
GROUP BY DATE_TRUNC('hour', EVENT_TIME), CURRENCY, MERCHANT_CATEGORY"""
ARGUMENTS = {"retries": 5, "retry_delay": timedelta(seconds=10)}

with DAG(
    "touched_hours",
    # Each loaded slice; and every night all of the last two days, should an event have been lost.
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("30 3 * * *", timezone="UTC"), assets=[RAW]),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=2,
    is_paused_upon_creation=True,
    default_args=ARGUMENTS,
    tags=["marts"],
    doc_md=__doc__,
):

    @task(outlets=[HOURS])
    def name_hours(*, triggering_asset_events: Any, outlet_events: Any) -> list[str]:
        """Add one partition for every hour that the run's slices have touched."""
        from madhatter_provider.core.contracts.contract import load_contract
        from madhatter_provider.core.warehouse.rollups import hour_key, hours_loaded_since, hours_of_runs
        from madhatter_provider.hooks.snowflake_rest import SnowflakeRestHook

        contract = load_contract(CONTRACTS[STREAM])
        sources = [event.source_dag_run for event in triggering_asset_events.get(RAW, [])]
        runs = sorted({(run.dag_id, run.run_id) for run in sources if run is not None})
        if runs:
            query = hours_of_runs(contract, runs)
        else:
            query = hours_loaded_since(contract, datetime.now(UTC) - timedelta(days=2))
        keys = [hour_key(row["HOUR"]) for row in SnowflakeRestHook().execute(*query)]
        outlet_events[HOURS].add_partitions(keys)
        return keys

    name_hours()

with DAG(
    "sales_per_hour",
    schedule=PartitionedAssetTimetable(assets=HOURS),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=True,
    default_args=ARGUMENTS,
    tags=["marts"],
    doc_md=__doc__,
):
    # Two tasks that replace the same hour at the same time could both insert it.
    @task(max_active_tis_per_dag=1, outlets=[Asset("sales_per_hour", uri=f"x-snowflake://madhatter/{TABLE}")])
    def compute_hour(dag_run: Any = None) -> None:
        """Replace the hour's rows; a repetition changes nothing."""
        from madhatter_provider.core.warehouse.rollups import recompute_hour
        from madhatter_provider.hooks.snowflake_rest import SnowflakeRestHook

        statements = recompute_hour(TABLE, SALES, dag_run.partition_key)
        SnowflakeRestHook().client.transact(statements, repeatable=True)

    compute_hour()
