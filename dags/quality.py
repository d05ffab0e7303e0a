"""The deep gate: Great Expectations over all slices that are loaded but not yet verified, in one round."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.sdk import DAG
from streams import CONTRACTS, LANDING_ROOT, verified_asset

from madhatter_provider.operators.quality import QualityGateOperator, QualityVerdictOperator

EVERY = timedelta(minutes=float(os.environ.get("MADHATTER_QUALITY_MINUTES", "10")))

with DAG(
    "quality",
    schedule=EVERY,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=20)},
    tags=["quality"],
    doc_md=__doc__,
):
    gate = QualityGateOperator(
        task_id="gate",
        contracts=list(CONTRACTS.values()),
        verified={stream: verified_asset(stream) for stream in CONTRACTS},
        report_root=f"{LANDING_ROOT}/_reports",
    )
    # The gate publishes what passed; this turns red for what did not.
    QualityVerdictOperator(task_id="verdict", summary=gate.output)
