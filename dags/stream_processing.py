"""Ensure that the streaming fraud job runs: cleaning, deduplication, enrichment, scoring, one-minute
aggregates.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.sdk import DAG, Param
from streams import FRAUD_JOB, GOOGLE_PROJECT, JOB_LOCATION, ROOT

from madhatter_provider.operators.dataflow import DataflowEnsureJobOperator

TEMPLATE = os.environ.get("MADHATTER_FRAUD_TEMPLATE", f"file://{ROOT}/include/beam/streaming_fraud")
# Empty where alerts go to Kafka alone.
ALERTS = os.environ.get("MADHATTER_ALERT_TOPIC", f"projects/{GOOGLE_PROJECT}/topics/fraud-alerts")
PROFILES = os.environ.get("MADHATTER_PROFILES", f"{ROOT}/.madhatter/profiles.ndjson")

with DAG(
    "stream_processing",
    schedule=timedelta(minutes=10),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=20)},
    params={"profiles": Param(PROFILES, type="string", title="Customer profiles (NDJSON)")},
    tags=["dataflow", "fraud"],
    doc_md=__doc__,
):
    DataflowEnsureJobOperator(
        task_id="streaming_fraud",
        job_name=FRAUD_JOB,
        template=TEMPLATE,
        project_id=GOOGLE_PROJECT,
        location=JOB_LOCATION,
        parameters={
            "profiles": "{{ params.profiles }}",
            **({"pubsub_topic": ALERTS} if ALERTS else {}),
            "alerts_topic": "fraud_alerts",
            "metrics_topic": "stream_metrics",
        },
        on_change="drain_and_replace",
    )
