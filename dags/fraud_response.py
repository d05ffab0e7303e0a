"""Open a case for every customer with new alerts, with what Snowflake knows of their history."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, task
from streams import topic_asset

from madhatter_provider.operators.kafka import KafkaClaimSliceOperator

STREAM = "fraud_alerts"
TOPIC = topic_asset(STREAM)

with DAG(
    "fraud_response",
    schedule=[TOPIC],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=2,
    default_args={"retries": 5, "retry_delay": timedelta(seconds=10)},
    tags=["fraud"],
    doc_md=__doc__,
):
    claimed = KafkaClaimSliceOperator(task_id="claim", topic=STREAM, asset=TOPIC)

    # One case is computed by one task at a time: two that overlap would count the same alerts.
    @task(max_active_tis_per_dag=1)
    def open_cases(slices: list[dict[str, Any]], run_id: Any = None) -> int:
        """Read the alerts of the run's slice and record their cases; a repetition changes nothing."""
        from madhatter_provider.core.fraud.cases import case_id, read_alerts, record_alerts, refresh_cases
        from madhatter_provider.core.slices.offsets import Slice
        from madhatter_provider.hooks.kafka import KafkaSliceHook
        from madhatter_provider.hooks.snowflake_rest import SnowflakeRestHook

        kafka, sql = KafkaSliceHook(), SnowflakeRestHook()
        batches = (batch for owned in slices for batch in kafka.read(Slice.from_json(owned)))
        alerts = read_alerts(value for batch in batches for value in batch.values)
        cases = sorted({case_id(a) for a in alerts})
        if cases:
            sql.execute(*record_alerts(alerts, run_id))
            sql.execute(*refresh_cases(cases, "fraud_response", run_id))
        return len(cases)

    open_cases(claimed.output)
