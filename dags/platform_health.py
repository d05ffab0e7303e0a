"""The pipeline itself: what waits in the topics, the ledger, gates, quarantine, the streaming job, and
whether all changes of state were told to people. It sends what others could not.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.sdk import DAG
from streams import CONTRACTS, FRAUD_JOB, GOOGLE_PROJECT, JOB_LOCATION, ON_CALL_GUIDE

from madhatter_provider.notifications.health import HealthNotifier
from madhatter_provider.operators.health import HealthCheckOperator

# Each run wakes Snowflake's warehouse: every minute means that it never sleeps.
EVERY = timedelta(minutes=float(os.environ.get("MADHATTER_HEALTH_MINUTES", "1")))

with DAG(
    "platform_health",
    schedule=EVERY,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=10)},
    tags=["operations"],
    doc_md=__doc__,
):
    HealthCheckOperator(
        task_id="pipeline",
        measurements="OPS.PLATFORM_MEASUREMENTS",
        topics={stream: stream for stream in CONTRACTS},
        jobs=[FRAUD_JOB],
        project_id=GOOGLE_PROJECT,
        location=JOB_LOCATION,
        on_success_callback=HealthNotifier(guide=ON_CALL_GUIDE),
    )
